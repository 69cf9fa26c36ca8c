"""Our OVA as virt-v2v reads it: description, manifest and disk."""

from __future__ import annotations

import random
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast.disks.converting import run_convert
from holdfast.disks.formats.ova import MachineShape
from holdfast.disks.model.locator import Locator

MIB = 1 << 20
pytestmark = pytest.mark.skipif(shutil.which("virt-v2v") is None, reason="virt-v2v is not installed")


def made(folder: Path) -> Path:
    rng = random.Random(5)
    disk, path = folder / "web-1.raw", folder / "web-1.ova"
    with open(disk, "wb") as file:
        file.truncate(48 * MIB)
        for at in (0, 17 * MIB, 47 * MIB):
            file.seek(at)
            file.write(rng.randbytes(MIB))
    run_convert(Locator(str(disk)), Locator(str(path)), "ova", shape=MachineShape("web-1"))
    return path


def read_by_virt_v2v(path: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["virt-v2v", "-i", "ova", str(path), "--print-source"], capture_output=True, text=True, check=False, timeout=120
    )


def test_virt_v2v_reads_our_ova(tmp_path: Path) -> None:
    told = read_by_virt_v2v(made(tmp_path))

    assert told.returncode == 0, told.stderr
    assert "source name: web-1" in told.stdout
    assert "hypervisor type: vmware" in told.stdout
    assert "0 [scsi]" in told.stdout


def test_virt_v2v_checks_the_manifest_that_we_write(tmp_path: Path) -> None:
    path = made(tmp_path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    told = read_by_virt_v2v(path)

    assert told.returncode != 0
    assert "checksum" in told.stderr

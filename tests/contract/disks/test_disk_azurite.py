"""Page blobs of Azurite, an emulator that others wrote: `azurite-blob` on PATH, or its path in HOLDFAST_AZURITE."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fakes.processes import end
from holdfast.disks.errors import TargetHasContent
from holdfast.disks.formats.vhd import FOOTER_BYTES
from holdfast.disks.jobs import CopyJob, diff, run_copy
from holdfast.disks.model.locator import Locator

MIB = 1 << 20
SIZE = 12 * MIB
AZURITE = os.environ.get("HOLDFAST_AZURITE") or shutil.which("azurite-blob")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(AZURITE is None, reason="azurite-blob is neither on PATH nor named by HOLDFAST_AZURITE"),
]
# The emulator's account, the same in every installation of it and no secret.
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


@pytest.fixture(scope="module")
def azurite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of the account."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("azurite")
    words = ["--blobHost", "127.0.0.1", "--blobPort", str(port), "--location", str(folder), "--silent"]
    child = subprocess.Popen([str(AZURITE), *words, "--skipApiVersionCheck", "--disableTelemetry"])
    deadline = time.monotonic() + 60
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert child.poll() is None, "azurite ended"
                assert time.monotonic() < deadline, "azurite does not listen"
                time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/{ACCOUNT}"
    finally:
        end(child)


def blob(azurite: str, name: str) -> Locator:
    """A new page blob that fits a disk of SIZE with its footer, as a locator with a SAS."""
    from azure.storage.blob import BlobSasPermissions, BlobServiceClient, generate_blob_sas

    service = BlobServiceClient(azurite, credential=KEY)
    container = service.get_container_client("disks")
    if not container.exists():
        container.create_container()
    container.get_blob_client(name).create_page_blob(SIZE + FOOTER_BYTES)
    service.close()
    until = datetime.now(UTC) + timedelta(hours=1)
    may = BlobSasPermissions(read=True, write=True)
    sas = generate_blob_sas(ACCOUNT, "disks", name, account_key=KEY, permission=may, expiry=until)
    return Locator(f"{azurite}/disks/{name}?{sas}")


def disk(folder: Path, seed: int) -> Path:
    rng = random.Random(seed)
    path = folder / f"d{seed}.raw"
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for at in (0, 3 * MIB + 512, 9 * MIB, SIZE - 512):
            file.seek(at)
            file.write(rng.randbytes(min(MIB, SIZE - at)))
    return path


def test_disk_goes_up_and_comes_down_equal(azurite: str, tmp_path: Path) -> None:
    source, target = disk(tmp_path, 1), blob(azurite, "whole")
    up = run_copy(CopyJob(Locator(str(source)), target, digests=str(tmp_path / "L"), verify="full"))
    down = run_copy(CopyJob(target, Locator(str(tmp_path / "back.raw"))))

    assert (tmp_path / "back.raw").read_bytes() == source.read_bytes()
    assert up.written_bytes < SIZE // 2, "holes were sent"
    assert down.read_bytes < SIZE // 2, "holes were fetched"


def test_replica_is_brought_up_to_date_and_one_byte_is_found(azurite: str, tmp_path: Path) -> None:
    source, target, digests = disk(tmp_path, 2), blob(azurite, "replica"), str(tmp_path / "L")
    run_copy(CopyJob(Locator(str(source)), target, digests=digests))
    with open(source, "r+b") as file:
        file.seek(3 * MIB)
        file.write(bytes(MIB))  # was data in part, is zeros now
        file.seek(10 * MIB)
        file.write(b"one changed block".ljust(4096, b"."))
    report = run_copy(CopyJob(Locator(str(source)), target, base=digests))

    assert diff(Locator(str(source)), target).equal
    assert report.written_bytes <= 2 * 65536 + MIB
    with open(source, "r+b") as file:
        file.seek(SIZE - 1)
        file.write(b"!")
    assert [e.end for e in diff(Locator(str(source)), target).extents] == [SIZE]


def test_blob_with_content_is_refused_and_overwritten_on_demand(azurite: str, tmp_path: Path) -> None:
    source, other, target = disk(tmp_path, 3), disk(tmp_path, 4), blob(azurite, "taken")
    run_copy(CopyJob(Locator(str(source)), target))
    with pytest.raises(TargetHasContent):
        run_copy(CopyJob(Locator(str(other)), target))
    run_copy(CopyJob(Locator(str(other)), target, overwrite=True))

    assert diff(Locator(str(other)), target).equal

"""Block devices and full file systems, on loop devices: needs root, skips elsewhere."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from holdfast.cli.disk import app
from holdfast.disks.errors import WriteFailed
from holdfast.disks.writers.rawfile import RawFileWriter

MIB = 1 << 20


def disk(*words: object, expect: int = 0) -> dict[str, Any]:
    result = CliRunner().invoke(app, [*map(str, words), "--json"])
    assert result.exit_code == expect, result.output + repr(result.exception)
    return json.loads(result.output.splitlines()[-1])


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    attached: list[str] = []

    def attach(size: int) -> Path:
        backing = tmp_path / f"backing{len(attached)}"
        with open(backing, "wb") as file:
            file.truncate(size)
        done = subprocess.run(["losetup", "-f", "--show", str(backing)], capture_output=True, text=True, check=False)
        if os.geteuid() != 0 or done.returncode != 0:
            pytest.skip("no loop devices here")
        attached.append(done.stdout.strip())
        return Path(attached[-1])

    yield attach
    for device in attached:
        subprocess.run(["losetup", "-d", device], check=True)


def sample(tmp_path: Path, size: int) -> Path:
    rng = random.Random(1)
    path = tmp_path / "s.raw"
    with open(path, "wb") as file:
        file.truncate(size)
        for _ in range(10):
            file.seek(rng.randrange(size - MIB) // 512 * 512)
            file.write(rng.randbytes(rng.randrange(1, 1000) * 512))
    return path


def test_device_is_filled_updated_and_read_back(tmp_path: Path, loop: Callable[[int], Path]) -> None:
    device, source, listed = loop(24 * MIB), sample(tmp_path, 20 * MIB), tmp_path / "L"

    disk("copy", source, device, "--digests", listed)
    assert device.read_bytes()[: 20 * MIB] == source.read_bytes()
    with open(source, "r+b") as file:
        file.write(bytes(3 * MIB))
    report = disk("copy", source, device, "--base", listed, "--verify", "full")

    assert report["written_bytes"] == 0
    assert device.read_bytes() == source.read_bytes() + bytes(4 * MIB)
    disk("copy", device, tmp_path / "back.raw")
    assert (tmp_path / "back.raw").read_bytes() == device.read_bytes()


def test_device_with_content_is_refused_and_overwritten_wholly_on_demand(
    tmp_path: Path, loop: Callable[[int], Path]
) -> None:
    device, source = loop(24 * MIB), sample(tmp_path, 20 * MIB)
    device.write_bytes(b"old!" * (6 * MIB))

    for _ in range(2):
        refused = disk("copy", source, device, "--digests", tmp_path / "L", expect=4)
        assert refused["error"]["code"] == "disk.target_has_content"
    disk("copy", source, device, "--overwrite")

    assert device.read_bytes() == source.read_bytes() + bytes(4 * MIB)


def test_device_that_is_too_small_is_refused(tmp_path: Path, loop: Callable[[int], Path]) -> None:
    device, source = loop(8 * MIB), sample(tmp_path, 20 * MIB)

    assert disk("copy", source, device, expect=4)["error"]["code"] == "disk.target_too_small"


def test_mounted_device_and_attached_file_are_refused(tmp_path: Path, loop: Callable[[int], Path]) -> None:
    device, source = loop(24 * MIB), sample(tmp_path, 20 * MIB)
    assert (
        disk("copy", source, tmp_path / "backing0", "--to", "raw", "--overwrite", expect=4)["error"]["code"]
        == "disk.in_use"
    )
    subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
    (tmp_path / "mnt").mkdir()
    mounted = subprocess.run(["mount", str(device), str(tmp_path / "mnt")], check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        error = disk("copy", source, device, "--overwrite", expect=4)["error"]
    finally:
        subprocess.run(["umount", str(tmp_path / "mnt")], check=True)

    assert error["code"] == "disk.in_use"
    assert "mounted" in error["text"]


def test_full_file_system_says_so_and_the_same_command_finishes_when_there_is_room(
    tmp_path: Path, loop: Callable[[int], Path]
) -> None:
    rng = random.Random(2)
    device, source = loop(48 * MIB), tmp_path / "s.raw"
    source.write_bytes(rng.randbytes(30 * MIB))
    mount = tmp_path / "mnt"
    mount.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(device)], check=True)
    if subprocess.run(["mount", str(device), str(mount)], check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        (mount / "ballast").write_bytes(bytes(18 * MIB))
        words = ("copy", source, mount / "t.raw", "--digests", tmp_path / "L")
        assert disk(*words, expect=1)["error"]["code"] == "disk.no_space"
        assert not (mount / "t.raw").exists()
        (mount / "ballast").unlink()

        disk(*words)

        assert (mount / "t.raw").read_bytes() == source.read_bytes()
    finally:
        subprocess.run(["umount", str(mount)], check=True)


@pytest.fixture
def failing_device(tmp_path: Path) -> Iterator[tuple[Path, Callable[[], None]]]:
    """A device of 256 MiB that has room for 16, and what gives it room for all."""
    folder = tmp_path / "tight"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "holdfast-test", str(folder)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("nothing can be mounted here")
    try:
        with open(folder / "backing", "wb") as file:
            file.truncate(256 * MIB)
        done = subprocess.run(
            ["losetup", "-f", "--show", str(folder / "backing")], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("no loop devices here")
        device = done.stdout.strip()
        try:
            yield (
                Path(device),
                lambda: subprocess.run(["mount", "-o", "remount,size=512m", str(folder)], check=True) and None,
            )
        finally:
            subprocess.run(["losetup", "-d", device], check=True)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_write_back_that_fails_while_pages_are_let_go_is_told_by_the_flush(
    failing_device: tuple[Path, Callable[[], None]],
) -> None:
    device, give_room = failing_device
    data, witness = memoryview(random.Random(3).randbytes(MIB)), os.open(device, os.O_RDONLY)
    writer = RawFileWriter(str(device), 256 * MIB, fresh=False)
    try:
        for number in range(48):
            writer.write(number * MIB, data)
        with pytest.raises(OSError):  # the kernel has tried, and failed
            os.fdatasync(witness)
        give_room()
        for number in range(48, 256):
            writer.write(number * MIB, data)
        for start in range(0, 256, 16):  # waits for what failed, too, and lets it go
            writer.done_with(start * MIB, (start + 16) * MIB)

        with pytest.raises(WriteFailed):
            writer.flush()
    finally:
        os.close(witness)
        writer.abandon()


def test_device_is_mounted_in_another_namespace_and_refused(tmp_path: Path, loop: Callable[[int], Path]) -> None:
    device, source = loop(24 * MIB), sample(tmp_path, 20 * MIB)
    subprocess.run(["mkfs.ext4", "-q", str(device)], check=True)
    (tmp_path / "mnt").mkdir()
    inside = ["unshare", "-m", "sh", "-c", f"mount {device} {tmp_path}/mnt && echo ready && read line"]
    with subprocess.Popen(inside, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        if other.stdout.readline() != b"ready\n":
            pytest.skip("nothing can be mounted in a namespace here")

        error = disk("copy", source, device, "--overwrite", expect=4)["error"]

        other.stdin.close()
    assert error["code"] == "disk.in_use"
    subprocess.run(["e2fsck", "-fn", str(device)], check=True, capture_output=True)


@pytest.mark.parametrize("to", ["qcow2", "vhd-fixed", "vdi"])
def test_device_is_not_replaced_by_an_image(tmp_path: Path, loop: Callable[[int], Path], to: str) -> None:
    device, source = loop(24 * MIB), sample(tmp_path, 20 * MIB)

    error = disk("copy", source, device, "--to", to, "--overwrite", expect=2)["error"]

    assert "a device holds a raw disk" in str(error)
    assert device.is_block_device()


@pytest.mark.parametrize("kind", ["qcow2", "vmdk-stream", "ova", "vhdx"])
def test_device_is_not_replaced_by_a_converted_image(tmp_path: Path, loop: Callable[[int], Path], kind: str) -> None:
    device, source = loop(24 * MIB), sample(tmp_path, 20 * MIB)

    disk("convert", source, device, "--format", kind, "--overwrite", expect=2)

    assert device.is_block_device()


def test_smaller_source_leaves_nothing_of_the_larger_one_on_a_device(
    tmp_path: Path, loop: Callable[[int], Path]
) -> None:
    device, source, listed = loop(64 * MIB), sample(tmp_path, 20 * MIB), tmp_path / "L"
    source.write_bytes(random.Random(2).randbytes(20 * MIB))
    disk("copy", source, device, "--digests", listed)
    os.truncate(source, 5 * MIB + 512)

    disk("copy", source, device, "--base", listed)

    assert device.read_bytes() == source.read_bytes().ljust(64 * MIB, b"\0")
    disk("verify", device, "--digests", listed)

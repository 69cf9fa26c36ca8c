"""Sources and targets that are no disks, or that must not be written: refused before anything is changed."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from disk_pair import Pair

from holdfast.disks import converting
from holdfast.disks.converting import run_convert
from holdfast.disks.describing import describe
from holdfast.disks.errors import DiskNotFound, DiskUsage, HoldfastError, SameDisk, TargetInUse
from holdfast.disks.jobs import CopyJob, diff, digest, run_copy
from holdfast.disks.model.locator import Locator
from holdfast.disks.system.files import lock_for_writing

needs_qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-utils are not installed")
KINDS = ["folder", "pipe", "socket", "character device"]


def special(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.raw"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(str(path))
    else:
        path.symlink_to("/dev/zero")
    return path


def folder_in(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def copy(source: Path | str, target: Path | str, kind: str | None = None, **more: object) -> None:
    run_copy(CopyJob(Locator(str(source)), Locator(str(target), kind))._replace(**more))


def convert(source: Path | str, target: Path | str, kind: str, *, overwrite: bool = False) -> None:
    run_convert(Locator(str(source)), Locator(str(target)), kind, overwrite=overwrite)


@pytest.mark.parametrize("kind", KINDS)
def test_source_that_is_no_disk_is_refused(tmp_path: Path, kind: str) -> None:
    path = special(tmp_path, kind)
    disk = Locator(str(path))

    for act in (
        lambda: copy(path, tmp_path / "t.raw"),
        lambda: convert(path, tmp_path / "t.raw", "raw"),
        lambda: digest(disk, None),
        lambda: diff(disk, disk),
        lambda: describe(disk),
    ):
        with pytest.raises(DiskUsage, match=f"is a {kind}"):
            act()

    assert not list(tmp_path.glob("t.raw*"))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("format_", ["raw", "qcow2", "vmdk-stream"])
def test_target_that_is_no_disk_is_refused_and_stays(tmp_path: Path, kind: str, format_: str) -> None:
    pair = Pair(folder_in(tmp_path, "pair"), 1)
    path = special(tmp_path, kind)
    before = stat.S_IFMT(path.lstat().st_mode)

    with pytest.raises(DiskUsage, match=f"is a {kind}"):
        convert(pair.source, path, format_, overwrite=True)
    with pytest.raises(DiskUsage, match=f"is a {kind}"):
        copy(pair.source, path, format_.removesuffix("-stream"), overwrite=True)

    assert stat.S_IFMT(path.lstat().st_mode) == before
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, "pair"])


def test_missing_folder_is_named(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 2)
    nowhere = tmp_path / "nowhere" / "t.raw"

    for act in (
        lambda: copy(pair.source, nowhere),
        lambda: convert(pair.source, nowhere, "vmdk-stream"),
        lambda: digest(Locator(str(pair.source)), str(nowhere)),
    ):
        with pytest.raises(DiskNotFound, match=str(nowhere.parent)) as raised:
            act()
        assert nowhere.name not in str(raised.value)


def test_streams_are_read_and_written_by_convert_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, 3)
    monkeypatch.chdir(tmp_path)

    for act in (
        lambda: copy(pair.source, "-"),
        lambda: copy("-", "t2.raw"),
        lambda: digest(Locator("-"), None),
        lambda: diff(Locator(str(pair.source)), Locator("-")),
    ):
        with pytest.raises(DiskUsage, match="convert"):
            act()

    assert not Path("-").exists()


def test_source_is_not_appended_to_itself(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 12)
    before = pair.source.read_bytes()

    with pair.source.open("ab") as out, pytest.raises(SameDisk):
        run_convert(Locator(str(pair.source)), Locator("-"), "raw", out_fd=out.fileno())

    assert pair.source.read_bytes() == before


@pytest.mark.parametrize("kind", ["raw", "vhd-fixed", "qcow2", "vmdk-stream"])
def test_url_is_not_taken_for_a_file_and_its_secret_not_told(tmp_path: Path, kind: str) -> None:
    pair = Pair(tmp_path, 4)
    url = "https://account.invalid/disk?sig=SECRET"

    for act in (
        lambda: convert(pair.source, url, kind),
        lambda: digest(Locator(str(pair.source)), url),
        lambda: copy(pair.source, pair.target, digests=url, overwrite=True),
    ):
        with pytest.raises(DiskUsage) as raised:
            act()
        assert "SECRET" not in str(raised.value) + repr(vars(raised.value))


@pytest.mark.parametrize(
    "url", ["https:/host.invalid/x.raw?sig=SECRET", "nbd+unix:/x?tls-password=SECRET", "nbd:/?a=SECRET"]
)
def test_url_with_a_slash_too_few_does_not_tell_its_secret(tmp_path: Path, url: str) -> None:
    pair = Pair(tmp_path, 13)

    for act in (
        lambda: copy(url, tmp_path / "t2.raw"),
        lambda: copy(pair.source, url),
        lambda: convert(url, tmp_path / "t2.raw", "raw"),
        lambda: digest(Locator(url), None),
        lambda: describe(Locator(url)),
        lambda: copy(pair.source, pair.target, digests=url, overwrite=True),
    ):
        with pytest.raises(HoldfastError) as raised:
            act()
        assert "SECRET" not in str(raised.value) + repr(vars(raised.value))


@pytest.mark.parametrize("name", ["nbd.raw", "nbd-disk.img", "nbdkit.raw"])
def test_file_whose_name_begins_like_a_scheme_is_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    pair = Pair(folder_in(tmp_path, "pair"), 5)
    monkeypatch.chdir(tmp_path)

    copy(pair.source, name)

    assert diff(Locator(name), Locator(str(pair.source))).equal


def test_file_that_a_machine_uses_is_not_replaced(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 6)
    used = pair.target.read_bytes()
    pair.change(20)

    with pair.target.open("r+b") as machine:
        lock_for_writing(machine.fileno(), "machine")
        for act in (
            lambda: copy(pair.source, pair.target, overwrite=True),
            lambda: convert(pair.source, pair.target, "qcow2", overwrite=True),
            lambda: convert(pair.source, pair.target, "vmdk-stream", overwrite=True),
        ):
            with pytest.raises(TargetInUse):
                act()

    assert pair.target.read_bytes() == used


@pytest.mark.parametrize("there", [True, False], ids=["file", "nothing"])
def test_link_is_written_through(tmp_path: Path, there: bool) -> None:
    pair = Pair(tmp_path, 7)
    real, link = folder_in(tmp_path, "images") / "t.raw", tmp_path / "link.raw"
    if there:
        real.write_bytes(b"old")
    link.symlink_to(real)

    copy(pair.source, link, overwrite=there)

    assert link.is_symlink()
    assert real.read_bytes() == pair.source.read_bytes()


@needs_qemu
def test_backing_file_of_the_source_is_no_target(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 8)
    layer = tmp_path / "layer.qcow2"
    with pair.source.open("r+b") as file:
        file.truncate(10 << 20)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", pair.source, "-F", "raw", layer], check=True)
    before = pair.source.read_bytes()

    with pytest.raises(SameDisk):
        copy(layer, pair.source, overwrite=True, trust_backing=True)

    assert pair.source.read_bytes() == before


@needs_qemu
@pytest.mark.parametrize("kind", ["raw", "qcow2", "vhdx", "vhd-fixed", "vmdk-stream"])
def test_convert_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    pair = Pair(tmp_path, 9)
    before = sorted(tmp_path.iterdir())

    def failing(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(converting, "copy_disk", failing)
    monkeypatch.setattr(converting, "write_vmdk_stream", failing)

    with pytest.raises(KeyboardInterrupt):
        convert(pair.source, tmp_path / "x", kind)

    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("size", [2 << 20, (1 << 20) + 700])
def test_fixed_vhd_from_standard_input_keeps_every_byte_and_says_that_it_grows(
    tmp_path: Path, piped: Callable[[bytes], None], size: int
) -> None:
    data, made, same = os.urandom(size), tmp_path / "x.vhd", tmp_path / "same.raw"
    same.write_bytes(data)
    piped(data)

    report = run_convert(Locator("-"), Locator(str(made)), "vhd-fixed")

    assert diff(Locator(str(same)), Locator(str(made))).equal
    assert bool(report.notes) == bool(size % (1 << 20))


@pytest.fixture
def piped(tmp_path: Path) -> Iterator[Callable[[bytes], None]]:
    """Standard input, for descriptor 0 itself is read."""
    kept = os.dup(0)

    def put(data: bytes) -> None:
        path = tmp_path / "stdin"
        path.write_bytes(data)
        with path.open("rb") as file:
            os.dup2(file.fileno(), 0)

    yield put
    os.dup2(kept, 0)
    os.close(kept)


@pytest.mark.parametrize("kind", ["vdi", "vhdx", "vhd"])
def test_disk_of_no_bytes_is_refused_where_no_image_can_hold_it(tmp_path: Path, kind: str) -> None:
    empty = tmp_path / "empty.raw"
    empty.touch()

    with pytest.raises(DiskUsage, match="0 bytes"):
        convert(empty, tmp_path / "x", kind)

    assert list(tmp_path.iterdir()) == [empty]


def test_growth_of_a_copy_into_a_vhd_is_said(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 10)

    report = run_copy(CopyJob(Locator(str(pair.source)), Locator(str(tmp_path / "x.vhd"), "vhd-fixed")))

    assert any("grows" in note for note in report.notes)


def test_error_while_an_image_is_created_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, 11)
    before = sorted(tmp_path.iterdir())
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(HoldfastError):
        convert(pair.source, tmp_path / "x.vdi", "vdi")

    assert sorted(tmp_path.iterdir()) == before

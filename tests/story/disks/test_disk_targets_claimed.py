"""Targets that are written by one run at a time, and are what the list says they are."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from disk_pair import CHUNK, SIZE, Pair

from holdfast.core.units import MIB
from holdfast.disks import jobs
from holdfast.disks.converting import run_convert
from holdfast.disks.digests.listfile import DigestList
from holdfast.disks.digests.tree import Layout
from holdfast.disks.errors import DiskUsage, HoldfastError, ListMismatch, TargetHasContent, TargetInUse
from holdfast.disks.jobs import CopyJob, diff, digest, run_copy
from holdfast.disks.model.chunks import PAGE_BYTES
from holdfast.disks.model.locator import Locator
from holdfast.disks.system import naming
from holdfast.disks.system.claims import claim, claim_anew
from holdfast.disks.writers.qcow2file import Qcow2FileWriter
from holdfast.disks.writers.rawfile import RawFileWriter

needs_qemu = pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-nbd is not installed")


def first_copy_killed(pair: Pair, **more: Any) -> None:
    """All is written and recorded, and nothing has its name."""
    for made in (pair.listed, pair.target):
        made.unlink(missing_ok=True)

    def unnamed() -> None:
        setattr(RawFileWriter, "finish", lambda *_: os._exit(9))  # noqa: B010 - in a process of its own
        setattr(Qcow2FileWriter, "finish", lambda *_: os._exit(9))  # noqa: B010

    run = pair.run
    pair.run = lambda *args, **options: run(*args, **{**options, **more})  # type: ignore[method-assign]
    assert pair.run_and_die(unnamed) == 9
    pair.run = run  # type: ignore[method-assign]


@pytest.mark.parametrize("complete", [True, False])
@pytest.mark.parametrize("listed", [True, False], ids=["with a list", "without"])
def test_unfinished_copy_over_which_another_was_made_is_begun_again(
    tmp_path: Path, listed: bool, complete: bool
) -> None:
    pair = Pair(tmp_path, 1)
    first_copy_killed(pair)
    other = tmp_path / "other.raw"
    other.write_bytes(pair.rng.randbytes(SIZE))
    job = CopyJob(Locator(str(other)), Locator(str(pair.target)), digests=str(tmp_path / "L2") if listed else None)
    if complete:
        run_copy(job)
        pair.target.unlink()
    else:
        with pytest.raises(KeyboardInterrupt):
            run_copy(job, check=_interrupt)

    pair.run()

    pair.require_equal()


def _interrupt() -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize("killed", [True, False])
def test_what_was_read_for_a_digest_is_not_taken_for_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed: bool
) -> None:
    pair = Pair(tmp_path, 2)
    pair.listed.unlink()
    pair.target.unlink()
    if killed:
        pair.run = lambda **_: digest(Locator(str(pair.source)), str(pair.listed), chunk_bytes=CHUNK)  # type: ignore
        assert pair.run_and_die(lambda: None) == 0
        assert Path(f"{pair.listed}.unfinished").exists()
        del pair.run
    else:
        copy_disk = jobs.copy_disk

        def stopped(*args: Any, **more: Any) -> None:
            copy_disk(*args, **more)
            raise KeyboardInterrupt

        with monkeypatch.context() as broken:
            broken.setattr(jobs, "copy_disk", stopped)
            with pytest.raises(KeyboardInterrupt):
                digest(Locator(str(pair.source)), str(pair.listed), chunk_bytes=CHUNK)
        assert not Path(f"{pair.listed}.unfinished").exists()

    pair.run()

    pair.require_equal()


@needs_qemu
@pytest.mark.parametrize("to", ["qcow2", "vhd-fixed"])
def test_first_copy_in_another_format_than_the_unfinished_one_is_begun_again(tmp_path: Path, to: str) -> None:
    pair = Pair(tmp_path, 3)
    first_copy_killed(pair, target=Locator(str(pair.target), to), chunk_bytes=65536)

    report = pair.run(chunk_bytes=65536)

    assert not report.resumed
    assert pair.target.read_bytes() == pair.source.read_bytes()


def test_raw_disk_that_gets_a_footer_keeps_its_last_sector(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 4)
    with pair.source.open("r+b") as file:
        file.truncate(10 * MIB)
        file.seek(10 * MIB - 600)
        file.write(pair.rng.randbytes(600))
    pair.run()

    pair.run(target=Locator(str(pair.target), "vhd-fixed"))

    assert pair.target.stat().st_size == 10 * MIB + 512
    assert diff(Locator(str(pair.source)), Locator(str(pair.target), "vhd")).equal


FORMATS = ["raw", "vhd-fixed", "qcow2", "vdi", "vhdx"]


@needs_qemu
@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("listed", [True, False], ids=["with lists", "without"])
def test_second_run_into_a_target_is_refused_and_harms_nothing(tmp_path: Path, kind: str, listed: bool) -> None:
    pair = Pair(tmp_path, 5)
    other = tmp_path / "other.raw"
    other.write_bytes(pair.rng.randbytes(SIZE))
    target = Locator(str(tmp_path / f"image.{kind}"), kind)
    lists = [str(tmp_path / name) if listed else None for name in ("L1", "L2")]
    refused: list[str] = []

    def meanwhile() -> None:
        if refused:
            return
        with pytest.raises(TargetInUse):
            run_copy(CopyJob(Locator(str(other)), target, digests=lists[1], overwrite=True))
        with pytest.raises(TargetInUse):
            run_convert(Locator(str(other)), target, kind, overwrite=True)
        if kind == "qcow2":
            with pytest.raises(TargetInUse):
                run_convert(Locator(str(other)), target, kind, compress="zlib", overwrite=True)
        refused.append(kind)

    run_copy(CopyJob(Locator(str(pair.source)), target, digests=lists[0]), check=meanwhile)

    assert refused
    read_as = Locator(target.address, "vhd" if kind == "vhd-fixed" else kind)
    assert diff(Locator(str(pair.source)), read_as).equal


@needs_qemu
def test_second_stream_into_a_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, 6)
    target, refused = tmp_path / "image.vmdk", list[bool]()
    give_name = naming.give_name

    def meanwhile(unfinished: str, final: str, *, overwrite: bool) -> None:
        with pytest.raises(TargetInUse):
            run_convert(Locator(str(pair.target)), Locator(str(target)), "vmdk-stream", overwrite=True)
        refused.append(True)
        give_name(unfinished, final, overwrite=overwrite)

    monkeypatch.setattr("holdfast.disks.sequential.give_name", meanwhile)

    run_convert(Locator(str(pair.source)), Locator(str(target)), "vmdk-stream")

    assert refused
    assert diff(Locator(str(pair.source)), Locator(str(target), "vmdk")).equal


def test_complete_file_cannot_be_claimed_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path, 7)
    pair.listed.unlink()
    pair.target.unlink()
    refused: list[bool] = []

    def meanwhile(unfinished: str, final: str, *, overwrite: bool) -> None:
        with pytest.raises(TargetInUse):
            run_copy(CopyJob(Locator(str(pair.source)), Locator(str(pair.target))))
        refused.append(True)
        naming.give_name(unfinished, final, overwrite=overwrite)

    monkeypatch.setattr("holdfast.disks.writers.rawfile.give_name", meanwhile)

    pair.run()

    assert refused
    pair.require_equal()


def test_file_that_lost_its_name_before_it_was_locked_is_not_written_to(tmp_path: Path) -> None:
    path, moved = tmp_path / "t.raw", tmp_path / "complete.raw"
    path.write_bytes(b"old")

    def slow(fd: int, _: str) -> None:
        """Between opening and locking, the one who had the file gave it its name; another is begun."""
        if not moved.exists():
            path.rename(moved)
            path.write_bytes(b"new")

    fd = claim(str(path), slow)
    os.pwrite(fd, b"!", 0)
    os.close(fd)

    assert (moved.read_bytes(), path.read_bytes()) == (b"old", b"!ew")


@pytest.mark.parametrize("there", ["file", "link", "link to nothing"])
def test_new_file_is_another_than_what_was_left_under_its_name(tmp_path: Path, there: str) -> None:
    path, aside = tmp_path / "t.raw", tmp_path / "aside.raw"
    if there == "file":
        os.link(_written(path), aside)
    else:
        path.symlink_to(_written(aside) if there == "link" else aside)

    fd = claim_anew(str(path))
    os.pwrite(fd, b"new", 0)
    os.close(fd)

    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    assert not aside.exists() if there == "link to nothing" else aside.read_bytes() == b"left"


def _written(path: Path) -> Path:
    path.write_bytes(b"left")
    return path


@pytest.mark.parametrize("size", [5 * MIB, SIZE + 1])
def test_target_of_another_size_is_refused_also_while_its_list_is_unfinished(tmp_path: Path, size: int) -> None:
    pair = Pair(tmp_path, 8)
    pair.change(30)
    assert pair.run_and_die(lambda: None) == 0
    os.truncate(pair.target, size)

    with pytest.raises(ListMismatch, match=f"the target has {size}"):
        pair.run()


def test_target_that_was_not_resized_yet_is_gone_on_with(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 9)
    for size in (SIZE + MIB, SIZE - MIB, SIZE + 5):
        os.truncate(pair.source, size)

        def unopened() -> None:
            setattr(jobs, "open_writer", lambda *_, **__: os._exit(9))  # noqa: B010 - in a process of its own

        assert pair.run_and_die(unopened) == 9

    pair.run()

    pair.require_equal()


@pytest.mark.parametrize("when", ["before the second try", "while it runs"])
@pytest.mark.parametrize("kind", ["raw", "qcow2"])
def test_content_that_came_to_the_targets_name_is_not_replaced(tmp_path: Path, when: str, kind: str) -> None:
    pair = Pair(tmp_path, 10)
    pair.listed.unlink()
    pair.target.unlink()
    target = Locator(str(pair.target), kind)
    if when == "before the second try":
        first_copy_killed(pair, target=target, chunk_bytes=65536)
        pair.target.write_bytes(b"precious")

    def appear() -> None:
        assert when == "while it runs", "it was refused before anything was done"
        pair.target.write_bytes(b"precious")

    with pytest.raises(TargetHasContent):
        pair.run(appear, target=target, chunk_bytes=65536)

    assert pair.target.read_bytes() == b"precious"
    pair.target.unlink()
    pair.run(target=target, chunk_bytes=65536)
    assert diff(Locator(str(pair.source)), target).equal


@pytest.mark.parametrize("disk", ["source", "target", "target's unfinished file"])
@pytest.mark.parametrize("own", ["", ".unfinished", ".journal", ".resized"])
@pytest.mark.parametrize("linked", [False, True])
def test_list_whose_files_would_be_the_disk_is_refused(tmp_path: Path, disk: str, own: str, linked: bool) -> None:
    pair = Pair(tmp_path, 11)
    pair.listed = tmp_path / "list"
    path = {"source": pair.source, "target": pair.target}.get(disk, Path(f"{pair.target}.unfinished"))
    path.touch()
    ours = Path(f"{pair.listed}{own}")
    if linked:
        os.link(path, ours)
    else:
        ours.symlink_to(path)
    before = path.read_bytes()

    with pytest.raises(DiskUsage, match="is the disk itself"):
        run_copy(
            CopyJob(Locator(str(pair.source)), Locator(str(pair.target)), digests=str(pair.listed), overwrite=True)
        )

    assert path.read_bytes() == before


@pytest.mark.parametrize("own", ["", ".unfinished", ".journal", ".resized"])
def test_file_that_is_no_list_is_not_replaced_by_one(tmp_path: Path, own: str) -> None:
    pair = Pair(tmp_path, 12)
    foreign = tmp_path / f"thesis{own}"
    foreign.write_bytes(b"my work of years")

    with pytest.raises(DiskUsage, match="something else"):
        digest(Locator(str(pair.source)), str(tmp_path / "thesis"), overwrite=True)

    assert foreign.read_bytes() == b"my work of years"


def test_source_is_not_replaced_by_its_digests(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 13)

    with pytest.raises(DiskUsage):
        digest(Locator(str(pair.source)), str(pair.source), overwrite=True)

    assert pair.source.stat().st_size == SIZE


def test_list_under_two_names_is_followed_or_refused(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 14)
    listed, link = pair.listed, tmp_path / "link"
    link.symlink_to(listed)
    pair.listed = link
    os.truncate(pair.source, SIZE + MIB)

    pair.run()

    pair.listed = listed
    pair.require_equal()
    assert link.is_symlink()
    os.link(listed, tmp_path / "hard")
    with pytest.raises(ListMismatch, match="other names"):
        pair.run()


@pytest.mark.parametrize("resized", [False, True])
def test_page_of_the_list_that_became_a_hole_is_doubted(tmp_path: Path, resized: bool) -> None:
    pair = Pair(tmp_path, 15)
    listed = DigestList.open(str(pair.listed))
    at, geometry = Layout(listed.geometry).page_offset(0, 2), listed.geometry
    assert any(listed.page(2))
    listed.close()
    hole = bytearray(pair.listed.read_bytes())
    hole[at : at + PAGE_BYTES] = bytes(PAGE_BYTES)
    with pair.listed.open("r+b") as file:
        file.truncate(at)
        file.truncate(len(hole))
        file.seek(at + PAGE_BYTES)
        file.write(hole[at + PAGE_BYTES :])
    start, end = geometry.window(2)
    with pair.source.open("r+b") as file:
        file.seek(start)
        file.write(bytes(end - start))
        file.truncate(SIZE + (CHUNK if resized else 0))

    pair.run()

    pair.require_equal()


def test_chunks_that_a_new_image_cannot_take_are_refused(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 16)
    target = Locator(str(tmp_path / "t.qcow2"))

    with pytest.raises(DiskUsage, match="chunk_bytes"):
        run_copy(CopyJob(Locator(str(pair.source)), target, digests=str(tmp_path / "L2"), chunk_bytes=CHUNK))


def test_list_is_free_when_the_target_could_not_be_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, 17)
    pair.change(20)
    fsync = os.fsync

    def failing(fd: int) -> None:
        if Path(f"/proc/self/fd/{fd}").readlink() == pair.target:
            raise OSError(5, "Input/output error")
        fsync(fd)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", failing)
        with pytest.raises(HoldfastError, match="Input/output error"):
            pair.run()

    pair.run()

    pair.require_equal()

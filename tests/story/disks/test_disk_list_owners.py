"""Whose a list is: of one run at a time, and while a run is unfinished of the one target that it wrote to."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk_pair import CHUNK, Pair

from holdfast.disks.digests import book as book_module
from holdfast.disks.digests.binding import binding_of, same_binding
from holdfast.disks.digests.book import Book
from holdfast.disks.digests.listfile import DigestList, Header
from holdfast.disks.digests.names import journal_path
from holdfast.disks.errors import DiskNotFound, ListMismatch, TargetInUse
from holdfast.disks.jobs import digest
from holdfast.disks.model.locator import Locator

SETTLE = Book.settle


def before_its_name() -> None:
    """Die when all is settled but the first list's name. In a process of its own, as all that follow."""
    setattr(book_module, "publish", lambda *_: os._exit(9))  # noqa: B010
    setattr(Book, "settle", SETTLE)  # noqa: B010


def before_its_header() -> None:
    """Die when the tree is renewed and the header does not say so yet."""
    write = DigestList._write_header

    def writing(self: DigestList, header: Header) -> None:
        if header.settled:
            os._exit(9)
        write(self, header)

    setattr(DigestList, "_write_header", writing)  # noqa: B010
    setattr(Book, "settle", SETTLE)  # noqa: B010


def test_complete_first_list_without_a_name_is_not_taken_for_that_of_another_target(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 1)
    pair.listed.unlink()
    pair.target.unlink()
    assert pair.run_and_die(before_its_name) == 9
    pair.target = tmp_path / "another.raw"

    pair.run()

    pair.require_equal()


def test_target_of_a_run_that_did_not_end_cannot_be_exchanged(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 2)
    first, another = pair.target, tmp_path / "another.raw"
    another.write_bytes(first.read_bytes())
    pair.change(30)
    assert pair.run_and_die(lambda: None) == 0  # all is copied into the first, and nothing is settled
    before = another.read_bytes()

    pair.target = another
    with pytest.raises(ListMismatch, match=f"into {first}.*digest {another} {pair.listed} --overwrite"):
        pair.run()

    assert another.read_bytes() == before
    pair.target = first.rename(tmp_path / "renamed.raw")
    pair.run()
    pair.require_equal()


def test_target_can_be_another_after_a_run_that_wrote_nothing(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 3)
    another = tmp_path / "another.raw"
    another.write_bytes(pair.target.read_bytes())

    def stop() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pair.run(stop)
    pair.change(30)
    pair.target = another

    pair.run()

    pair.require_equal()


def test_file_is_known_by_what_it_is_and_not_by_its_inode_number_alone(tmp_path: Path) -> None:
    path = tmp_path / "t.raw"
    path.write_bytes(b"one")
    one = binding_of(Locator(str(path)), "raw")
    assert one is not None
    renamed = binding_of(Locator(str(path.rename(tmp_path / "other.raw"))), "raw")
    assert renamed is not None
    assert same_binding(one, renamed)

    assert same_binding(one, {**one, "device": one["device"] + 1}), "devices are counted anew when a machine starts"
    assert not same_binding(one, {**renamed, "device": one["device"] + 1})
    assert not same_binding(one, {**one, "inode": one["inode"] + 1})
    assert not same_binding(one, {**one, "generation": 1 + (one["generation"] or 0)})
    assert not same_binding(one, {**one, "format": "qcow2"})


def test_device_is_known_by_its_number_or_its_name() -> None:
    disk = {"format": "raw", "name": "/dev/sdb", "number": 2064}
    assert same_binding(disk, {**disk, "name": "/dev/disk/by-id/x"})
    assert same_binding(disk, {**disk, "number": 2080})
    assert not same_binding(disk, {**disk, "name": "/dev/sdc", "number": 2080})
    assert not same_binding(disk, {"format": "raw", "name": "/dev/sdb", "device": 1, "inode": 2, "generation": 3})


def test_url_is_known_by_its_path_and_export_without_its_secret() -> None:
    one, other = (
        binding_of(Locator(f"https://account.blob.example/disks/a?sig={sig}"), "page-blob") for sig in ("x", "y")
    )
    assert one is not None
    assert one == other
    assert "sig" not in str(one)
    exports = [binding_of(Locator(f"nbd+unix:///{export}?socket=/run/s"), "nbd") for export in ("a", "b")]
    assert exports[0] is not None
    assert exports[1] is not None
    assert not same_binding(exports[0], exports[1])


@pytest.mark.parametrize("first", [True, False], ids=["first copy", "copy from a base"])
@pytest.mark.parametrize("by", ["digest", "overwriting copy"])
def test_list_that_a_run_keeps_cannot_be_replaced(tmp_path: Path, first: bool, by: str) -> None:
    pair = Pair(tmp_path, 4)
    pair.change(30)
    if first:
        pair.listed.unlink()
        pair.target.unlink()
    other = Pair(_folder(tmp_path, "other"), 5)
    other.listed.unlink()
    other.listed = pair.listed
    refused: list[bool] = []

    def check() -> None:
        if refused:
            return
        with pytest.raises(TargetInUse):
            if by == "digest":
                digest(Locator(str(other.source)), str(pair.listed), chunk_bytes=CHUNK, overwrite=True)
            else:
                _overwriting(other)()
        refused.append(True)

    pair.run(check)

    assert refused
    pair.require_equal()


@pytest.mark.parametrize(
    ("name", "when"),
    [("write", None), ("finish", None), ("end", before_its_name)],
    ids=["while it writes", "before the target has its name", "before the list has its name"],
)
def test_overwriting_copy_that_is_killed_leaves_no_list_of_what_was_there(
    tmp_path: Path, name: str, when: Callable[[], None] | None
) -> None:
    from holdfast.disks.writers.rawfile import RawFileWriter

    pair = Pair(tmp_path, 6)
    pair.change(30)

    def dying() -> None:
        setattr(RawFileWriter, name, lambda *_: os._exit(9))

    run, pair.run = pair.run, _overwriting(pair)  # type: ignore[method-assign]
    assert pair.run_and_die(when or dying) == 9
    pair.run = run  # type: ignore[method-assign]

    assert not pair.listed.exists()
    _overwriting(pair)()
    pair.run()
    pair.require_equal()


def test_overwriting_copy_that_is_refused_keeps_the_list_of_what_is_there(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 7)
    with Path(f"{pair.target}.unfinished").open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TargetInUse):
            _overwriting(pair)()
    pair.change(20)

    pair.run(tracked=True)

    pair.require_equal()


def test_list_that_is_a_folder_is_refused(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 8)
    pair.listed = _folder(tmp_path, "lists")

    with pytest.raises(DiskNotFound):
        _overwriting(pair)()


@pytest.mark.parametrize("journal", [True, False], ids=["with its journal", "journal lost"])
def test_run_killed_while_it_settles_is_not_taken_for_the_state_that_changes_are_counted_from(
    tmp_path: Path, journal: bool
) -> None:
    """The tree vouches for the new pages already, and the chain would still name the state before."""
    pair = Pair(tmp_path, 9)
    original = pair.source.read_bytes()
    pair.change(30)
    assert pair.run_and_die(before_its_header) == 9
    pair.source.write_bytes(original)
    if not journal:
        Path(journal_path(str(pair.listed))).unlink()

    report = pair.run(tracked=True)

    assert "does not know its state" in report.notes[0]
    pair.require_equal()


def _folder(tmp_path: Path, name: str) -> Path:
    folder = tmp_path / name
    folder.mkdir()
    return folder


def _overwriting(pair: Pair) -> Callable[..., Any]:
    """The run that makes target and list anew, whatever there is."""
    from holdfast.disks.jobs import CopyJob, run_copy

    def run(**_: object) -> None:
        job = CopyJob(Locator(str(pair.source)), Locator(str(pair.target)), digests=str(pair.listed))
        report = run_copy(job._replace(chunk_bytes=CHUNK, overwrite=True, chain=f"run {pair.runs + 1}"))
        pair.copied, pair.runs, pair.root = pair.source.read_bytes(), pair.runs + 1, report.root

    return run

"""Copies that are killed, fail and forget at any call end equal after the same command is run again."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import shutil
from pathlib import Path

import pytest
from disk_fakes import CHUNK, Killed, MemorySource, MemoryTarget, Trouble, random_disk
from disk_replica import CHUNKS, Replica, actual_changes

from holdfast.disks.copying import copy_disk
from holdfast.disks.digests.book import Book
from holdfast.disks.digests.comparing import difference_of_lists
from holdfast.disks.errors import ChunkSizeMismatch, NoSpaceLeft, ReadFailed, SourceChanged, WriteFailed
from holdfast.disks.model.chunks import Geometry
from holdfast.disks.model.extents import Kind
from holdfast.disks.readers.protocol import ChangeList


@pytest.mark.parametrize("dirty", [False, True], ids=["new target", "target with old data"])
def test_first_copy_equals_source_and_list_describes_it(tmp_path: Path, dirty: bool) -> None:
    replica = Replica(tmp_path, 1, dirty=dirty)

    replica.run()

    assert replica.equal
    assert replica.run().changed_bytes == 0


@pytest.mark.parametrize("seed", [*range(12), *(pytest.param(n, marks=pytest.mark.slow) for n in range(12, 200))])
def test_copy_killed_at_any_call_then_repeated_is_equal(tmp_path: Path, seed: int) -> None:
    replica = Replica(tmp_path, seed, dirty=seed % 3 == 0)
    for _ in range(8):
        for _ in range(replica.rng.randrange(3)):
            with pytest.raises(Killed):
                replica.run(Trouble(replica.rng.randrange(1, 9), Killed()))
            if replica.rng.random() < 0.5:
                replica.change()

        replica.run()

        assert replica.equal
        replica.change()


@pytest.mark.parametrize("call", range(2, 12))
def test_source_reverted_after_a_kill_is_still_copied_faithfully(tmp_path: Path, call: int) -> None:
    replica = Replica(tmp_path, 5)
    replica.run()
    original = bytearray(replica.source)
    replica.change()
    with pytest.raises(Killed):
        replica.run(Trouble(call, Killed()))
        raise Killed  # a run with fewer calls than that is complete: then the revert is an ordinary change

    replica.source, replica.version = original, replica.version + 1
    replica.run()

    assert replica.equal


def test_without_the_unknown_mark_a_reverted_source_would_leave_stale_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control of the test above: take the mark away and the replica is wrong."""
    monkeypatch.setattr(Book, "mark", lambda *_: None)
    replica = Replica(tmp_path, 5)
    replica.run()
    original = bytearray(replica.source)
    replica.source = bytearray(replica.source)
    replica.source[:CHUNK] = b"B" * CHUNK
    replica.version += 1
    writes = Trouble(None)
    source = MemorySource(replica.source, replica.version)
    book = Book.continue_from(replica.list_path, Geometry(len(replica.source), CHUNK), source.traits.identity)
    target = MemoryTarget(replica.disk, reads_zero=False, trouble=writes)
    monkeypatch.setattr(Book, "record", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        copy_disk(source, target, book)
    book.abandon()
    monkeypatch.undo()
    monkeypatch.setattr(Book, "mark", lambda *_: None)

    replica.source, replica.version = original, replica.version + 1
    replica.run()

    assert not replica.equal


@pytest.mark.parametrize("call", range(1, 12))
@pytest.mark.parametrize(
    "error",
    [
        ReadFailed(name="s", offset=0, size_bytes=1, problem="I/O error"),
        WriteFailed(name="t", offset=0, size_bytes=1, problem="I/O error"),
    ],
    ids=["read", "write"],
)
def test_error_at_any_call_is_raised_and_the_repeat_is_equal(
    tmp_path: Path, call: int, error: ReadFailed | WriteFailed
) -> None:
    replica = Replica(tmp_path, 7)
    replica.run()
    replica.change()
    trouble = Trouble(call, error)
    if call <= 6:
        with pytest.raises(type(error)):
            replica.run(trouble)
    else:  # past the last call of such a run, or in its last flush
        with contextlib.suppress(ReadFailed, WriteFailed):
            replica.run(trouble)

    replica.run()

    assert replica.equal


@pytest.mark.parametrize("changed", [False, True], ids=["first copy", "update"])
def test_error_at_any_moment_of_either_end_then_repeated_is_equal(tmp_path: Path, changed: bool) -> None:
    """Every 29th call of a whole run, reads, writes and flushes as they come, fails in a run of its own."""
    for call in range(1, 700, 29):
        folder = tmp_path / str(call)
        folder.mkdir()
        replica = Replica(folder, 13)
        if changed:
            replica.run()
            replica.source, replica.version = random_disk(random.Random(99), CHUNKS, tail=777), 1
        about = {"name": "either end", "offset": 0, "size_bytes": 1, "problem": "I/O error"}
        trouble = Trouble(call, ReadFailed(**about) if call % 2 else WriteFailed(**about))
        with contextlib.suppress(ReadFailed, WriteFailed):
            replica.run(trouble)

        replica.run()

        assert replica.equal, f"call {call}"


def test_resumed_run_reads_only_what_was_not_done(tmp_path: Path) -> None:
    replica = Replica(tmp_path, 3)
    replica.run()
    replica.version += 1
    book = Book.continue_from(replica.list_path, Geometry(len(replica.source), CHUNK), {"version": replica.version})
    book.record({}, unchanged=[0, 1])
    book.abandon()

    report = replica.run()

    assert report.resumed
    assert report.skipped_bytes == 2 * 256 * CHUNK
    assert replica.last is not None
    assert replica.last.read_bytes <= (CHUNKS + 1 - 512) * CHUNK


def test_a_chunk_that_became_zero_is_cleared_not_sent(tmp_path: Path) -> None:
    replica = Replica(tmp_path, 9)
    replica.source[: 10 * CHUNK] = b"x" * (10 * CHUNK)
    replica.run()
    replica.source = bytearray(replica.source)
    replica.source[2 * CHUNK : 5 * CHUNK] = bytes(3 * CHUNK)
    replica.version += 1

    report = replica.run()

    assert replica.equal
    assert (report.written_bytes, report.zeroed_bytes) == (0, 3 * CHUNK)


def test_source_that_changes_while_it_is_read_is_told(tmp_path: Path) -> None:
    source = MemorySource(bytearray(b"x" * CHUNK), 0)
    target = MemoryTarget(bytearray(CHUNK), reads_zero=True)
    source.version = 1

    with pytest.raises(SourceChanged):
        copy_disk(source, target)


@pytest.mark.parametrize("seed", range(5))
def test_change_tracking_copies_exactly_and_survives_kills(tmp_path: Path, seed: int) -> None:
    replica = Replica(tmp_path, seed)
    replica.run()
    for _ in range(6):
        before, since = replica.source, f"state-{replica.version}"
        replica.change()
        extents = actual_changes(before, replica.source, replica.rng)
        changes = ChangeList(since, f"state-{replica.version}", extents, "test")
        if replica.rng.random() < 0.5:
            with pytest.raises(Killed):
                replica.run(Trouble(replica.rng.randrange(1, 4), Killed()), changes)

        report = replica.run(changes=changes)

        assert replica.equal
        assert "own list of changes" in report.why
        assert replica.target is not None
        touched = {n for e in extents for n in range(e.start // CHUNK, -(-e.end // CHUNK))}
        assert {e.start // CHUNK for e in replica.target.written} <= touched or report.resumed


@pytest.mark.parametrize("short", [False, True], ids=["nothing taken", "a part taken"])
@pytest.mark.parametrize("sync", [False, True], ids=["write", "sync"])
def test_full_file_system_under_the_list_is_told_and_the_list_stays_true(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool, sync: bool
) -> None:
    """At each of its writes and syncs in turn; each time the source then goes back to what it was."""
    replica = Replica(tmp_path, 13)
    replica.run()
    pwrite, fdatasync, calls = os.pwrite, os.fdatasync, [0]
    full = OSError(errno.ENOSPC, "no space left")

    def writing(fd: int, data: memoryview | bytes, offset: int) -> int:
        calls[0] -= not sync
        if sync or calls[0] > 0:
            return pwrite(fd, data, offset)
        if short and calls[0] == 0:
            return pwrite(fd, memoryview(data)[: len(data) // 2], offset)
        raise full

    def syncing(fd: int) -> None:
        calls[0] -= sync
        if calls[0] <= 0 and sync:
            raise full
        fdatasync(fd)

    told = 0
    for call in range(1, 40):
        original = bytearray(replica.source)
        replica.change()
        calls[0] = call
        with monkeypatch.context() as trouble:
            trouble.setattr(os, "pwrite", writing)
            trouble.setattr(os, "fdatasync", syncing)
            try:
                replica.run()
            except NoSpaceLeft as error:
                told += str(tmp_path) in str(error)
        replica.source, replica.version = original, replica.version + 1

        replica.run()

        assert replica.equal
        if told < call - 1:
            break  # a run has no more of them
    assert told > 3


@pytest.mark.parametrize("tracked", [False, True], ids=["run that read everything", "run that was told changes"])
def test_what_a_killed_run_wrote_is_found_by_changes_counted_from_the_state_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    """The source goes back to that state, so that nothing is listed as changed, while the target is ahead of it."""
    replica = Replica(tmp_path, 11)
    replica.run()
    original, since = bytearray(replica.source), f"state-{replica.version}"
    replica.change()
    extents = actual_changes(original, replica.source, replica.rng)

    def killed(book: Book, _chain: str) -> None:
        book.abandon()
        raise Killed

    with monkeypatch.context() as dying:
        dying.setattr(Book, "settle", killed)
        with pytest.raises(Killed):
            replica.run(changes=ChangeList(since, f"state-{replica.version}", extents, "test") if tracked else None)

    replica.source, replica.version = original, replica.version + 1
    report = replica.run(changes=ChangeList(since, f"state-{replica.version}", [], "test"))

    assert replica.equal
    assert "own list of changes" in report.why


def test_changes_of_another_chain_are_not_believed(tmp_path: Path) -> None:
    replica = Replica(tmp_path, 2)
    replica.run()
    replica.change()

    report = replica.run(changes=ChangeList("another-state", "new", [], "test"))

    assert replica.equal
    assert "everything is read" in report.why
    assert any("chain is broken" in note for note in report.notes)


@pytest.mark.parametrize("rounds", [30, pytest.param(1000, marks=pytest.mark.slow)])
def test_replica_equals_its_source_after_each_of_many_rounds(tmp_path: Path, rounds: int) -> None:
    replica = Replica(tmp_path, 42)
    for _ in range(rounds):
        replica.run()
        assert replica.equal
        replica.change()


def test_lists_of_two_states_tell_what_differs(tmp_path: Path) -> None:
    replica = Replica(tmp_path, 11)
    replica.run()
    before = bytearray(replica.source)
    shutil.copy(replica.list_path, tmp_path / "older")
    replica.change()
    replica.run()

    found = difference_of_lists(str(tmp_path / "older"), replica.list_path)

    assert {n for e in found for n in range(e.start // CHUNK, -(-e.end // CHUNK))} == {
        n
        for n in range(CHUNKS + 1)
        if before[n * CHUNK : (n + 1) * CHUNK] != replica.source[n * CHUNK : (n + 1) * CHUNK]
    }
    for extent in found:
        assert any(replica.source[extent.start : extent.end]) == (extent.kind is Kind.DATA)


def test_lists_of_different_chunks_are_not_compared(tmp_path: Path) -> None:
    for name, chunk in (("a", CHUNK), ("b", 2 * CHUNK)):
        Book.begin(str(tmp_path / name), Geometry(CHUNK * 9, chunk), None).settle(None)

    with pytest.raises(ChunkSizeMismatch):
        difference_of_lists(str(tmp_path / "a"), str(tmp_path / "b"))

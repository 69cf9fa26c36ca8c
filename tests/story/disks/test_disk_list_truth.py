"""Odd orders of runs, kills and refusals after which a list could claim what its target does not hold."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from disk_pair import CHUNK, SIZE, Pair

from holdfast.core.units import MIB
from holdfast.disks import helped, jobs
from holdfast.disks.digests import book as book_module
from holdfast.disks.digests.book import Book
from holdfast.disks.digests.journal import Journal
from holdfast.disks.errors import DisksDiffer, ReadFailed, TargetHasContent, TargetInUse
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.system import files
from holdfast.disks.writers.rawfile import RawFileWriter


@pytest.fixture(autouse=True, params=[True, False], ids=["helpers", "threads"])
def _helped(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helped, "_WORTH_BYTES", 0)
    monkeypatch.setattr(helped, "can_fork", lambda: request.param)
    monkeypatch.setattr(files, "_DYING_S", 0.0)  # many runs here are refused


def replace(name: str, function: Callable[..., Any]) -> Callable[[], None]:
    """Exchange a method of Book, in a process that ends with it."""
    return lambda: setattr(Book, name, function)


@pytest.mark.parametrize("between", ["refused", "interrupted", "killed"])
def test_state_of_a_killed_run_is_found_even_if_a_run_in_between_did_nothing(tmp_path: Path, between: str) -> None:
    """Run 1 records state B and dies; the source goes back; run 2 only begins; run 3 is told that nothing changed."""
    pair = Pair(tmp_path, 1)
    original = pair.source.read_bytes()
    pair.change(30)
    assert pair.run_and_die(lambda: None) == 0  # it dies when all is recorded and nothing is settled
    pair.source.write_bytes(original)
    if between == "refused":
        with pair.target.open("rb") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            with pytest.raises(TargetInUse):
                pair.run(tracked=True)
    elif between == "interrupted":

        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            pair.run(stop)
    else:
        assert pair.run_and_die(replace("doubtful_windows", lambda *_: os._exit(9)), tracked=True) == 9

    pair.run_when_free(tracked=True)

    pair.require_equal()


def test_windows_found_wrong_twice_are_copied_by_the_next_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, 2)
    with pair.source.open("r+b") as file:
        file.seek(MIB + 8192)
        file.write(pair.rng.randbytes(CHUNK))
    write = RawFileWriter.write

    def wrong(self: RawFileWriter, offset: int, data: memoryview) -> None:
        if offset <= MIB + 8192 < offset + len(data):
            data = memoryview(bytes(len(data)))
        write(self, offset, data)

    with monkeypatch.context() as broken:
        broken.setattr(RawFileWriter, "write", wrong)
        with pytest.raises(DisksDiffer):
            pair.run(verify="full")

    pair.run()

    pair.require_equal()


def test_repair_that_was_killed_is_gone_on_with(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 3)
    with pair.source.open("r+b") as file:
        file.seek(MIB + 8192)
        file.write(pair.rng.randbytes(CHUNK))

    def broken() -> None:
        write, repair, wrong = RawFileWriter.write, jobs._repair, [True]

        def writing(self: RawFileWriter, offset: int, data: memoryview) -> None:
            hit = offset <= MIB + 8192 < offset + len(data)
            write(self, offset, memoryview(bytes(len(data))) if wrong[0] and hit else data[:100] if hit else data)
            if hit and not wrong[0]:
                os._exit(9)  # a helper's end ends nothing; then its parent does it

        def repairing(*args: Any) -> None:
            wrong[0] = False
            repair(*args)

        setattr(RawFileWriter, "write", writing)  # noqa: B010 - in a process of its own
        setattr(jobs, "_repair", repairing)  # noqa: B010

    run = pair.run
    pair.run = lambda *args, **more: run(*args, verify="full", **more)  # type: ignore[method-assign]
    assert pair.run_and_die(broken) == 9
    pair.run = run  # type: ignore[method-assign]

    pair.run_when_free()

    pair.require_equal()


def test_repair_copies_what_differs_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, 4)
    pair.change(20)
    copied: list[int] = []
    copy, read_back = jobs.copy_disk, jobs._read_back

    def copying(*args: Any, **more: Any) -> Any:
        report = copy(*args, **more)
        copied.append(report.written_bytes)
        return report

    def found(*args: Any) -> Any:
        bad, read = read_back(*args)
        chunk = Path(pair.source).read_bytes()[3 * MIB : 3 * MIB + CHUNK]
        assert chunk.strip(b"\0"), "the chunk has data"
        return ([jobs.Extent(3 * MIB, 3 * MIB + CHUNK)] if len(copied) == 1 else bad), read

    with pair.source.open("r+b") as file:
        file.seek(3 * MIB)
        file.write(pair.rng.randbytes(CHUNK))
    monkeypatch.setattr(jobs, "copy_disk", copying)
    monkeypatch.setattr(jobs, "_read_back", found)

    pair.run(verify="full")

    pair.require_equal()
    assert copied[1] == CHUNK


def test_first_list_killed_between_its_end_and_its_name_gets_its_name(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 5)
    for made in (pair.listed, pair.target):
        made.unlink()

    def no_name() -> None:
        setattr(book_module, "publish", lambda *_: os._exit(9))  # noqa: B010 - in a process of its own
        setattr(Book, "settle", SETTLE)  # noqa: B010

    assert pair.run_and_die(no_name) == 9
    assert not pair.listed.exists()

    pair.run_when_free()

    pair.require_equal()


SETTLE = Book.settle


@pytest.mark.parametrize("older", [False, True], ids=["nothing there", "an older file there"])
def test_first_copy_whose_unfinished_target_was_deleted_is_begun_again(tmp_path: Path, older: bool) -> None:
    pair = Pair(tmp_path, 6)
    for made in (pair.listed, pair.target):
        made.unlink()

    if older:
        pair.target.write_bytes(pair.rng.randbytes(SIZE))

    def unfinished() -> None:
        setattr(RawFileWriter, "finish", lambda *_: os._exit(9))  # noqa: B010 - in a process of its own

    run = pair.run
    pair.run = lambda *args, **more: run(*args, overwrite=True, **more)  # type: ignore[method-assign]
    assert pair.run_and_die(unfinished) == 9
    pair.run = run  # type: ignore[method-assign]
    Path(f"{pair.target}.unfinished").unlink()
    if older:
        with pytest.raises(TargetHasContent):
            pair.run_when_free()

    pair.run(overwrite=True)

    pair.require_equal()


def test_second_run_over_a_list_is_refused_and_changes_nothing_of_it(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 7)
    original = pair.source.read_bytes()
    pair.change(40)
    refused: list[bool] = []

    def check() -> None:
        if not refused:
            with pair.source.open("r+b") as file:
                file.truncate(SIZE + MIB)  # the second run would begin a list of another size
            with pytest.raises(TargetInUse):
                pair.run()
            with pair.source.open("r+b") as file:
                file.truncate(SIZE)
            refused.append(True)

    with contextlib.suppress(Exception):  # the source has changed while it was read
        pair.run(check)
    assert refused
    pair.source.write_bytes(original)

    pair.run()

    pair.require_equal()


@pytest.mark.parametrize("tracked", [False, True], ids=["all is looked at", "changes are told"])
def test_disk_that_shrank_for_a_refused_run_and_grew_again_is_cleared_where_it_was(
    tmp_path: Path, tracked: bool
) -> None:
    pair = Pair(tmp_path, 8)
    whole = pair.source.read_bytes()
    os.truncate(pair.source, 2 * MIB)
    with pair.target.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TargetInUse):
            pair.run()
    pair.source.write_bytes(whole[: 2 * MIB] + bytes(SIZE - 2 * MIB))
    if tracked:
        pair.source.write_bytes(whole)

    pair.run(tracked=tracked)

    pair.require_equal()


def test_window_that_is_done_and_unknown_is_not_skipped(tmp_path: Path) -> None:
    """The word that it was marked again can be lost with the journal's tail; the mark itself is durable."""
    pair = Pair(tmp_path, 11)
    pair.change(40)

    def lost_word() -> None:
        record = Book.record

        def dying(self: Book, pages: Any, unchanged: Any = ()) -> None:
            record(self, pages, unchanged)
            if pages:
                self.digests.put(min(pages), self.digests.unknown_page(min(pages)))
                with open(pair.target, "r+b") as file:
                    file.seek(min(pages) * MIB)
                    file.write(b"half written")
                os._exit(9)

        setattr(Book, "record", dying)  # noqa: B010 - in a process of its own

    assert pair.run_and_die(lost_word) == 9

    pair.run_when_free()

    pair.require_equal()


def test_news_of_another_source_is_durable_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", synced.append)
    journal = Journal(str(tmp_path / "j"), 10, "id", 1)
    journal.start({"of": "A"})
    journal.finish([1, 2])
    journal.start({"of": "A"})
    assert synced == []

    journal.start({"of": "B"})

    assert len(synced) == 1
    assert list(journal.done) == []
    assert list(journal.stale) == [1, 2]
    journal.close()


def test_pipes_that_hold_little_stop_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a user gets who has many pipes open already (`pipe-user-pages-soft`)."""
    pipe = os.pipe

    def small() -> tuple[int, int]:
        ends = pipe()
        fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
        return ends

    pair = Pair(tmp_path, 9)
    pair.change(150)
    monkeypatch.setattr(os, "pipe", small)
    signal.alarm(60)  # a test that waits for ever ends all the same
    try:
        pair.run()
    finally:
        signal.alarm(0)

    pair.require_equal()


def test_parent_that_ignores_the_end_of_its_children_is_served_as_well(tmp_path: Path) -> None:
    pair = Pair(tmp_path, 10)
    pair.change(30)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        pair.run()
    finally:
        signal.signal(signal.SIGCHLD, before)

    pair.require_equal()


def _resize(pair: Pair) -> None:
    size = pair.source.stat().st_size + pair.rng.choice([-1, 1]) * pair.rng.randrange(1, 2 * MIB)
    os.truncate(pair.source, max(MIB + 5, size))


def _broken_run(pair: Pair, how: str, tracked: bool) -> None:
    """A run that is refused, stopped, killed or fails; whether it comes so far is left to chance."""
    rng = pair.rng
    if how == "refused":
        with pair.target.open("rb") as held, contextlib.suppress(TargetInUse):
            fcntl.flock(held, fcntl.LOCK_EX)
            pair.run_when_free(tracked=tracked, patience_s=0)
        return
    moment, turns = rng.randrange(SIZE), [rng.randrange(1, 8)]

    def trouble() -> None:
        read, write, check_mark = RawFileReader.read_into, RawFileWriter.write, Book.mark

        def reading(self: RawFileReader, offset: int, buffer: memoryview) -> None:
            if offset <= moment < offset + len(buffer):
                raise ReadFailed(name=self.path, offset=moment, size_bytes=1, problem="medium error")
            read(self, offset, buffer)

        def writing(self: RawFileWriter, offset: int, data: memoryview) -> None:
            if offset <= moment < offset + len(data):
                write(self, offset, data[: len(data) // 2])
                os.kill(os.getpid(), signal.SIGKILL)
            write(self, offset, data)

        def marking(self: Book, chunks: Any) -> None:
            check_mark(self, chunks)
            turns[0] -= 1
            if turns[0] == 0:
                os._exit(9)

        kind, name, function = {
            "cannot read": (RawFileReader, "read_into", reading),
            "killed in a write": (RawFileWriter, "write", writing),
            "killed after a mark": (Book, "mark", marking),
            "killed at its end": (RawFileWriter, "finish", lambda *_: os._exit(9)),
        }[how]
        setattr(kind, name, function)

    pair.run_and_die(trouble, tracked=tracked)


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 100))])
def test_target_is_right_after_any_order_of_sources_sizes_and_broken_runs(tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path, seed)
    rng = pair.rng
    others = [tmp_path / "other.raw", pair.source]
    others[0].write_bytes(pair.source.read_bytes())
    states = [pair.source.read_bytes()]
    for _ in range(12):
        for _ in range(rng.randrange(1, 4)):
            pair.source = rng.choice(others)
            change = rng.choice(["change", "change", "back", "size", "none"])
            if change == "change":
                pair.change(rng.randrange(1, 20))
            elif change == "back":
                pair.source.write_bytes(rng.choice(states))
            elif change == "size":
                _resize(pair)
            states.append(pair.source.read_bytes())
            how = rng.choice(
                ["refused", "cannot read", "killed in a write", "killed after a mark", "killed at its end"]
            )
            _broken_run(pair, how, rng.random() < 0.5)

        pair.run_when_free(tracked=rng.random() < 0.5)

        pair.require_equal()

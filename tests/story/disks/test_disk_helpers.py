"""A run shared with helper processes is as right as any other, whoever of them fails or dies, and when."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from disk_pair import CHUNK, SIZE, Pair

from fakes.processes import children
from holdfast.core.units import MIB
from holdfast.disks import helped, helpers
from holdfast.disks.digests.book import Book
from holdfast.disks.errors import ReadFailed, WriteFailed
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.writers.rawfile import RawFileWriter


@pytest.fixture(autouse=True)
def helping(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, Any]]]:
    """Helpers for the smallest disk; what they were asked, and none is left at the end."""
    before = children()
    given: list[tuple[int, Any]] = []
    give = helpers.Helpers.give

    def noting(self: helpers.Helpers, number: int, job: helpers.Message) -> None:
        given.append((number, job))
        give(self, number, job)

    monkeypatch.setattr(helped, "_WORTH_BYTES", 0)
    monkeypatch.setattr(helped, "can_fork", lambda: True)  # threads of other tests may still be about
    monkeypatch.setattr(helpers.Helpers, "give", noting)
    yield given
    assert children() <= before


@pytest.fixture(params=[False, True], ids=["all is looked at", "changes are told"])
def tracked(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def test_target_and_list_are_right_after_each_of_many_runs(
    tmp_path: Path, helping: list[tuple[int, Any]], tracked: bool
) -> None:
    pair = Pair(tmp_path, 1)
    for _ in range(12):
        pair.change(pair.rng.randrange(1, 25))
        helping.clear()

        report = pair.run(tracked=tracked)

        pair.require_equal()
        assert helping
        assert report.why.startswith("the source's own list" if tracked else "digests")
    assert pair.run().changed_bytes == 0


def test_every_helper_gets_work(tmp_path: Path, helping: list[tuple[int, Any]]) -> None:
    pair = Pair(tmp_path, 2)
    pair.run()

    assert {number for number, _ in helping} == set(range(min(8, os.cpu_count() or 1)))


def test_counts_are_those_of_a_run_without_helpers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    reports = []
    for helps in (True, False):
        folder = tmp_path / str(helps)
        folder.mkdir()
        pair = Pair(folder, 3)
        pair.change(20)
        monkeypatch.setattr(helped, "can_fork", lambda helps=helps: helps)
        reports.append(pair.run(tracked=tracked))
    shared, alone = reports

    assert shared.root == alone.root
    assert (shared.changed_bytes, shared.written_bytes) == (alone.changed_bytes, alone.written_bytes)
    assert shared.zeroed_bytes == alone.zeroed_bytes
    again = 0 if tracked else shared.written_bytes  # what was found is read once more
    assert shared.read_bytes == alone.read_bytes + again


def test_where_nearly_all_has_changed_the_rest_is_left_to_threads(
    tmp_path: Path, helping: list[tuple[int, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(helped, "_JUDGED_BYTES", MIB)
    monkeypatch.setattr(helped, "_MOST_HELPERS", 1)  # more have more in hand when it is judged
    pair = Pair(tmp_path, 12)
    pair.source.write_bytes(pair.rng.randbytes(SIZE))
    helping.clear()

    report = pair.run()

    pair.require_equal()
    looks = [job for _, job in helping if job[0] == helped._LOOK]
    assert 2 <= len(looks) <= 6
    assert report.read_bytes == SIZE + len(looks) * MIB


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(n, marks=pytest.mark.slow) for n in range(8, 120))])
def test_helper_killed_at_any_job_costs_nothing_but_time(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch, tracked: bool
) -> None:
    pair = Pair(tmp_path, seed)
    pair.change(30)
    left = [pair.rng.randrange(1, 25) for _ in range(pair.rng.randrange(1, 4))]  # jobs until one dies, as often as that
    give = helpers.Helpers.give

    def giving(self: helpers.Helpers, number: int, job: helpers.Message) -> None:
        give(self, number, job)
        if left:
            left[-1] -= 1
            if left[-1] == 0:
                left.pop()
                os.kill(self._helpers[number].pid, signal.SIGKILL)

    monkeypatch.setattr(helpers.Helpers, "give", giving)

    pair.run(tracked=tracked)

    pair.require_equal()


def test_without_any_helper_the_run_is_done_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pair = Pair(tmp_path, 4)
    pair.change(20)

    def refused() -> int:
        raise BlockingIOError(11, "no more processes")

    monkeypatch.setattr(os, "fork", refused)
    pair.run()

    pair.require_equal()


@pytest.mark.parametrize("what", ["read", "write"])
def test_error_has_its_type_and_the_repeat_goes_on_from_there(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path, 5)
    pair.run()
    pair.change(3)
    bad = 7 * MIB
    with pair.source.open("r+b") as file:
        file.seek(bad)
        file.write(pair.rng.randbytes(CHUNK))
    read, write = RawFileReader.read_into, RawFileWriter.write

    def reading(self: RawFileReader, offset: int, buffer: memoryview) -> None:
        if what == "read" and offset <= bad < offset + len(buffer):
            raise ReadFailed(name=self.path, offset=bad, size_bytes=CHUNK, problem="medium error")
        read(self, offset, buffer)

    def writing(self: RawFileWriter, offset: int, data: memoryview) -> None:
        if what == "write" and offset <= bad < offset + len(data):
            raise WriteFailed(name=self.path, offset=bad, size_bytes=CHUNK, problem="medium error")
        write(self, offset, data)

    with monkeypatch.context() as broken:
        broken.setattr(RawFileReader, "read_into", reading)
        broken.setattr(RawFileWriter, "write", writing)
        with pytest.raises(ReadFailed if what == "read" else WriteFailed, match=str(bad)):
            pair.run()

    assert pair.run().skipped_bytes > 0
    pair.require_equal()


def test_what_fails_in_a_helper_alone_is_done_by_the_one_who_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = Pair(tmp_path, 6)
    pair.change(30)
    ours, read = os.getpid(), RawFileReader.read_into

    def reading(self: RawFileReader, offset: int, buffer: memoryview) -> None:
        if os.getpid() != ours and offset // MIB % 2:
            raise MemoryError
        read(self, offset, buffer)

    monkeypatch.setattr(RawFileReader, "read_into", reading)
    pair.run()

    pair.require_equal()


@pytest.mark.parametrize("turn", range(1, 9))
def test_interrupt_leaves_no_helper_and_a_true_list(tmp_path: Path, turn: int) -> None:
    pair = Pair(tmp_path, 7)
    pair.change(60)
    turns = [turn]

    def check() -> None:
        turns[0] -= 1
        if turns[0] == 0:
            raise KeyboardInterrupt

    before = children()
    with pytest.raises(KeyboardInterrupt):
        pair.run(check)
    assert children() <= before

    pair.run()

    pair.require_equal()


@pytest.mark.parametrize("call", ["mark", "marked", "record", "recorded", "settle"])
@pytest.mark.parametrize("back", [False, True], ids=["same source", "source put back"])
def test_run_killed_around_each_step_of_the_book_then_repeated_is_equal(
    tmp_path: Path, call: str, back: bool, tracked: bool
) -> None:
    pair = Pair(tmp_path, 8)
    original = pair.source.read_bytes()
    pair.change(40)

    def die_at_it() -> None:
        name = {"marked": "mark", "recorded": "record"}.get(call, call)
        method = getattr(Book, name)

        def dying(self: Book, chunks: Any, *more: Any) -> Any:
            result = method(self, chunks, *more) if call.endswith("ed") else None
            if chunks:
                time.sleep(0.05 if call == "marked" else 0)  # helpers may write by now; nothing waits for it
                os._exit(9)
            return result if call.endswith("ed") else method(self, chunks, *more)

        setattr(Book, name, dying)

    assert pair.run_and_die(die_at_it, tracked=tracked) == 9
    if back:
        pair.source.write_bytes(original)

    pair.run_when_free(tracked=tracked)

    pair.require_equal()


def test_first_copy_that_was_killed_is_gone_on_with_and_nothing_is_read_twice(
    tmp_path: Path, helping: list[tuple[int, Any]]
) -> None:
    pair = Pair(tmp_path, 10)
    whole = pair.run().read_bytes
    for made in (pair.listed, pair.target):
        made.unlink()
    helping.clear()

    def die_at_the_end() -> None:
        setattr(Book, "record", lambda *_: os._exit(9))  # noqa: B010 - in a process of its own

    assert pair.run_and_die(die_at_the_end) == 9
    report = pair.run_when_free()

    pair.require_equal()
    assert report.resumed
    assert helping
    assert report.read_bytes == whole


@pytest.mark.parametrize("seed", [*range(6), *(pytest.param(n, marks=pytest.mark.slow) for n in range(6, 100))])
def test_run_killed_at_random_moments_then_repeated_is_equal(tmp_path: Path, seed: int) -> None:
    pair = Pair(tmp_path, seed)
    states = [pair.source.read_bytes()]
    for _ in range(4):
        pair.change(40)
        after_s = pair.rng.random() * 0.06

        def die_later(after_s: float = after_s) -> None:
            threading.Timer(after_s, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()

        pair.run_and_die(die_later, tracked=pair.rng.random() < 0.4)
        if pair.rng.random() < 0.4:
            pair.source.write_bytes(pair.rng.choice(states))
        states.append(pair.source.read_bytes())

        pair.run_when_free(tracked=pair.rng.random() < 0.4)

        pair.require_equal()


def test_helpers_end_with_the_process_that_forked_them(tmp_path: Path) -> None:
    """Killed with -9 while they are at work, it takes them along at once, and the target is free."""
    pair = Pair(tmp_path, 9)
    pair.change(60)
    told = tmp_path / "pids"

    def die_with_helpers_at_work() -> None:
        ours, read = os.getpid(), RawFileReader.read_into

        def reading(self: RawFileReader, offset: int, buffer: memoryview) -> None:
            if os.getpid() != ours:
                time.sleep(40)  # a source that hangs
            read(self, offset, buffer)

        def die() -> None:
            children = Path(f"/proc/{ours}/task/{ours}/children")
            while not told.exists() or len(told.read_text().split()) < min(8, os.cpu_count() or 1):
                told.write_text(children.read_text())
            os.kill(ours, signal.SIGKILL)

        setattr(RawFileReader, "read_into", reading)  # noqa: B010 - in a process of its own
        threading.Thread(target=die, daemon=True).start()

    assert pair.run_and_die(die_with_helpers_at_work) == -signal.SIGKILL
    pids = [int(pid) for pid in told.read_text().split()]
    until = time.monotonic() + 20
    while any(_lives(pid) for pid in pids):
        assert time.monotonic() < until
        os.sched_yield()

    pair.run()
    pair.require_equal()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_with_threads_does_not_fork() -> None:
    assert helpers.can_fork() == (threading.active_count() == 1)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        assert not helpers.can_fork()
    finally:
        stop.set()
        thread.join()

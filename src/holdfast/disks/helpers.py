"""Helpers: forked processes that do jobs for this one. Each has all that was open here, and an interpreter of its own.

Threads that call short C functions pass the interpreter's lock between them every few microseconds and wait for each
other; processes do not. A helper decides nothing: it gets a job, does it and answers. A job that fails, or whose helper
is gone, comes back without an answer, and is done by whoever gave it, where an error has its type and its place.
"""

from __future__ import annotations

import fcntl
import marshal
import os
import select
import signal
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from holdfast.disks.system import linux

__all__ = ["Helpers", "can_fork"]

Message = tuple[Any, ...]  # of numbers, bytes, tuples and lists: what `marshal` takes

_JOBS_AHEAD = 3  # so that a helper need not wait while we wait for a disk
# What so many jobs and their answers can take together: with pipes that hold less, both sides could wait to be read.
_PIPE_BYTES = 64 * 1024
_SIZE_BYTES = 4
_PATIENCE_MS = 500


def can_fork() -> bool:
    """A fork takes only the thread that asks for it; what the others hold would be held for ever."""
    return threading.active_count() == 1


class Helpers:
    """Up to `count` helpers that do `work`, and `farewell` before they go; fewer, or none, if the system forks no more.

    Use as a context. At its end they are gone: nobody but us writes to what they wrote to. What they were doing when an
    error ended it may be half done.
    """

    def __init__(self, count: int, work: Callable[[Message], Message], farewell: Callable[[], None]) -> None:
        self._helpers: dict[int, _Helper] = {}
        self._poll = select.poll()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        try:
            # none of them runs what our caller does about a signal, and none of ours stops us half-way
            signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
            for number in range(count):
                helper = _Helper(work, farewell, list(self._helpers.values()), before)
                self._helpers[number] = helper
                self._poll.register(helper.answers, select.POLLIN)
        except OSError:
            pass  # those that there are must do
        finally:
            self._unblock(before)

    def _unblock(self, signals: set[int]) -> None:
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        except BaseException as exc:  # a signal came meanwhile, and this is what its handler raises
            self.__exit__(type(exc))
            raise

    def __enter__(self) -> Helpers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        helpers, self._helpers = list(self._helpers.values()), {}
        for helper in helpers:
            helper.dismiss(at_once=kind is not None)
        for helper in helpers:
            helper.bury()

    def __contains__(self, number: int) -> bool:
        return number in self._helpers

    def __len__(self) -> int:
        return len(self._helpers)

    @property
    def busy(self) -> bool:
        return any(helper.jobs for helper in self._helpers.values())

    def free(self) -> list[int]:
        """Those who can take a job, as often as they can take one; those with little to do first."""
        return [
            number
            for jobs in range(_JOBS_AHEAD)
            for number, helper in self._helpers.items()
            if len(helper.jobs) <= jobs < helper.most_jobs
        ]

    def give(self, number: int, job: Message) -> None:
        helper = self._helpers[number]
        helper.jobs.append(job)
        with suppress(BrokenPipeError):  # its end is noticed where answers are awaited
            _send(helper.requests, job)

    def wait(self) -> list[tuple[int, Message, Message | None]]:
        """Jobs that have come back, as (helper, job, answer); none if nothing does for a while."""
        if not self.busy:
            return []
        ready = {fd for fd, _ in self._poll.poll(_PATIENCE_MS)}
        back: list[tuple[int, Message, Message | None]] = []
        for number, helper in list(self._helpers.items()):
            if helper.answers not in ready:
                continue
            answer = _receive(helper.answers)
            if answer is not None:
                back.append((number, helper.jobs.popleft(), answer or None))
                continue
            back += [(number, job, None) for job in helper.jobs]
            self._poll.unregister(helper.answers)
            helper.dismiss(at_once=True)
            helper.bury()
            del self._helpers[number]
        return back


class _Helper:
    """One of them: its process, the pipes to it, and what it was asked and has not answered."""

    def __init__(
        self,
        work: Callable[[Message], Message],
        farewell: Callable[[], None],
        others: list[_Helper],
        signals: set[int],
    ) -> None:
        self.jobs: deque[Message] = deque()
        ours, parent = list[int](), os.getpid()
        try:
            ours += os.pipe()
            ours += os.pipe()
            self.pid = os.fork()
        except OSError:
            for fd in ours:
                os.close(fd)
            raise
        requests, self.requests, self.answers, answers = ours
        if self.pid:
            os.close(requests)
            os.close(answers)
            size = min(fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ) for fd in (self.requests, self.answers))
            self.most_jobs = _JOBS_AHEAD if size >= _PIPE_BYTES else 1
            return
        theirs = [self.requests, self.answers, *(fd for other in others for fd in (other.requests, other.answers))]
        _serve(requests, answers, theirs, parent, signals, work, farewell)

    def dismiss(self, *, at_once: bool) -> None:
        os.close(self.requests)
        if at_once:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def bury(self) -> None:
        os.close(self.answers)
        with suppress(ChildProcessError):  # where SIGCHLD is ignored, the system buries; it waits for that all the same
            os.waitpid(self.pid, 0)


def _serve(
    requests: int,
    answers: int,
    theirs: list[int],
    parent: int,
    signals: set[int],
    work: Callable[[Message], Message],
    farewell: Callable[[], None],
) -> NoReturn:
    """A helper's life. It leaves by `_exit` alone: nothing of the program that it was forked from is run to its end."""
    try:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # who gives the jobs decides what becomes of them
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, signals)
        linux.die_with_parent(signal.SIGKILL)
        for fd in theirs:
            os.close(fd)
        while os.getppid() == parent:
            job = _receive(requests)
            if job is None:
                farewell()
                break
            try:
                answer = work(job)
            except Exception:  # noqa: BLE001 - told by an empty answer: the job is done again where errors are raised
                answer = ()
            _send(answers, answer)
    finally:
        os._exit(0)


def _send(fd: int, message: Message) -> None:
    body = marshal.dumps(message)
    data = memoryview(len(body).to_bytes(_SIZE_BYTES, "little") + body)
    while data:
        data = data[os.write(fd, data) :]


def _receive(fd: int) -> Message | None:
    """None at the end, also if it comes in the middle of a message."""
    head = _exactly(fd, _SIZE_BYTES)
    body = _exactly(fd, int.from_bytes(head, "little")) if head else None
    return None if body is None else tuple(marshal.loads(body))


def _exactly(fd: int, size: int) -> bytes | None:
    data = b""
    while len(data) < size:
        more = os.read(fd, size - len(data))
        if not more:
            return None
        data += more
    return data

"""What `holdfast disk` says, where it may be said to nobody, and how it is told to stop.

Imported by every small copy, so it imports nothing that is not there already.
"""

from __future__ import annotations

import errno
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

__all__ = ["UNREAD_EXIT", "OutputGone", "StoppedBySignal", "note", "orderly_stop", "tell"]

UNREAD_EXIT = 141  # what a shell shows for a program that SIGPIPE ended: nobody reads on
_ORDERLY = (signal.SIGTERM, signal.SIGHUP)


class OutputGone(Exception):
    """Standard output takes no more. `unread`: it is closed; else it is full, or its device fails."""

    def __init__(self, cause: OSError) -> None:
        self.unread = cause.errno in (errno.EPIPE, errno.EBADF)
        self.problem = cause.strerror or str(cause)
        super().__init__(self.problem)


class StoppedBySignal(KeyboardInterrupt):
    """SIGTERM or SIGHUP came. Whatever is tidied up at Ctrl-C is tidied up for this, too: it is one."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def tell(text: str) -> None:
    """The answer, on standard output. It has gone out when this returns. Raises OutputGone."""
    try:
        print(text, flush=True)
    except OSError as exc:
        raise OutputGone(exc) from exc


def note(text: str) -> None:
    """Beside the answer, on standard error. What nobody can hear there is not said, and that is no failure."""
    if sys.stderr is not None:  # without it, print would say it on standard output
        with suppress(OSError):
            print(text, file=sys.stderr, flush=True)


@contextmanager
def orderly_stop() -> Iterator[None]:
    """While this is open SIGTERM and SIGHUP raise StoppedBySignal in the main thread, once: what comes after it does
    not disturb the tidying up, but for Ctrl-C.

    A signal that is ignored (nohup) or that somebody else handles stays as it is; so do all outside the main thread.
    Forked helpers inherit this; there it ends them, as the signal itself would (`disks/helpers.py`).
    """
    stopped = False

    def stop(number: int, _frame: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise StoppedBySignal(number)

    ours = [number for number in _ORDERLY if signal.getsignal(number) is signal.SIG_DFL]
    try:
        for number in ours:
            signal.signal(number, stop)
    except ValueError:  # not the main thread: its signals are not ours to handle
        ours = []
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)

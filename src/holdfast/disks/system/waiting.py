"""Waiting for the end of a thread, through interrupts."""

from __future__ import annotations

import threading

__all__ = ["wait_for"]


def wait_for(ended: threading.Event) -> None:
    """Wait until a thread says that it ends, and raise a KeyboardInterrupt that comes meanwhile only then.

    Not with `join`: interrupted, it takes a thread that still runs for one that has ended (Python 3.11).
    """
    try:
        ended.wait()
    except KeyboardInterrupt:
        ended.wait()
        raise

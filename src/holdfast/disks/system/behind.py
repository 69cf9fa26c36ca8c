"""Letting written pages go: a thread behind a file's writers.

Writers only ask for write-back, which waits for nothing. The thread waits until the device has taken a range and drops
its pages. So a copy neither fills memory with dirty pages that one sync at the end must wait for, nor pushes out the
pages that others work with, and no writer spends its time on that: done by the writers themselves it costs a quarter
of a copy (docs/decisions/0024-disks-without-native-code.md).
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections import deque

from holdfast.core.units import MIB
from holdfast.disks.system import linux
from holdfast.disks.system.waiting import wait_for

__all__ = ["WriteBehind"]

_LARGE_BYTES = 512 * 1024
# Ranges younger than this are left to the device alone: dropped at once, the thread would wait for each of them.
_YOUNG_BYTES = 96 * MIB
# What may be on its way in all before writers wait: more than a fast device leaves behind, and a bound for dirty pages.
_MOST_BYTES = 192 * MIB


class WriteBehind:
    """The tail of written ranges of one open file. `done` may be called by several threads, `close` once.

    It works on a descriptor of its own: the kernel tells a failed write-back once to each open file description, to
    whoever asks first. Told to us, who only wait, it would be missing where it matters, in the writer's fdatasync.
    """

    def __init__(self, fd: int) -> None:
        self._fd = _own(fd)
        self._ranges: deque[tuple[int, int, int]] = deque()  # start, end, written bytes
        self._fresh_bytes = self._bytes = 0
        self._closing = False
        self._change = threading.Condition()
        self._ended: threading.Event | None = None  # the thread's, when there is one

    def wrote(self, offset: int, size: int) -> None:
        """Large writes go to the device at once: it never idles, and less is dirty at a time."""
        if self._fd is not None and size >= _LARGE_BYTES:
            linux.start_writeback(self._fd, offset, size)
        with self._change:
            self._fresh_bytes += size

    def wrote_elsewhere(self, size: int) -> None:
        """Another process has written so much."""
        with self._change:
            self._fresh_bytes += size

    def done(self, start: int, end: int) -> None:
        """What was written of the range is written for good. Waits only where the device is far behind."""
        if self._fd is None:
            return
        linux.start_writeback(self._fd, start, end - start)
        with self._change:
            written, self._fresh_bytes = self._fresh_bytes, 0  # by all threads: their sum counts, not whose it is
            self._ranges.append((start, end, written))
            self._bytes += written
            if self._bytes <= _YOUNG_BYTES:
                return
            if self._ended is None:
                ended = threading.Event()
                threading.Thread(target=self._run, args=(self._fd, ended), name="disk-behind", daemon=True).start()
                self._ended = ended
            self._change.notify_all()
            self._change.wait_for(lambda: self._closing or self._bytes <= _MOST_BYTES)

    def _run(self, fd: int, ended: threading.Event) -> None:
        try:
            self._follow(fd)
        finally:
            ended.set()

    def _follow(self, fd: int) -> None:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._closing or self._bytes > _YOUNG_BYTES)
                if self._closing:
                    return
                start, end, written = self._ranges.popleft()
            _let_go(fd, start, end)
            with self._change:
                self._bytes -= written
                self._change.notify_all()

    def close(self, *, synced: bool) -> None:
        """End the thread. `synced`: what is left is durable and is let go too."""
        with self._change:
            self._closing = True
            self._change.notify_all()
        if self._ended is not None:
            wait_for(self._ended)
        if self._fd is None:
            return
        try:
            for start, end, _ in self._ranges if synced else ():
                _let_go(self._fd, start, end)
        finally:
            os.close(self._fd)


def _own(fd: int) -> int | None:
    """Another open file description of the same file; None, so that pages stay until the kernel wants them, where there
    is no /proc or the file may be written but not read."""
    try:
        return os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None


def _let_go(fd: int, start: int, end: int) -> None:
    """Wait for the device and drop the pages. Advice: where it cannot be followed, nothing is lost but memory."""
    linux.wait_writeback(fd, start, end - start)
    with contextlib.suppress(OSError):
        linux.let_go(fd, start, end - start)

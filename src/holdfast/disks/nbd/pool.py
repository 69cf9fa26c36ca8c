"""Connections to one export, one for each thread that asks, where the server lets several see one state."""

from __future__ import annotations

import threading
import time

from holdfast.core.units import MIB
from holdfast.disks.errors import WireBroken
from holdfast.disks.nbd.connection import Connection, Request
from holdfast.disks.nbd.wire import NbdAddress

__all__ = ["ConnectionPool"]

_FLUSH_LIMIT_S = 900.0  # a server behind a slow device may write back for minutes; a dead one says nothing for ever
_LOOK_S = 0.05

# A server that takes its buffers from glibc (qemu-nbd does) gives each large one back to the kernel after use, and the
# next one is a page fault for every 4 KiB: half of what such a server costs (2.5 GiB of writes: 590,000 faults, 2.6 s
# of its processor time; without them 15,000 and 1.5 s). glibc stops that for good once it has freed one that was larger
# (the dynamic thresholds of mallopt(3), at most 32 MiB): it then keeps twice that size. So one large read is asked.
_STRETCH_BYTES = 31 * MIB  # just below the 32 MiB with its alignment; twice that is more than our requests in flight
_STRETCH_AFTER_BYTES = 4 * MIB  # the sooner the fewer faults (after 32 MiB: 45,000), but not for a look at some blocks
_PROBE_BYTES = 64 * 1024


class ConnectionPool:
    """Threads keep the connection that they got, so a connection is rarely waited for.

    A server that does not say CAN_MULTI_CONN gets one connection for all threads: two could see two states of the
    export, and many such servers take no second client at all.
    """

    def __init__(self, address: NbdAddress, name: str, contexts: tuple[str, ...] = ()) -> None:
        self._address, self.name, self._contexts = address, name, contexts
        self._local = threading.local()
        self._all: list[tuple[Connection, threading.Lock]] = []
        self._lock = threading.Lock()
        self._shared: tuple[Connection, threading.Lock] | None = None
        self._moved_bytes, self._stretched = 0, False
        self._hole: int | None = None
        held = self.mine()
        self.first = held[0]
        if not self.first.facts.multi_conn:
            self._shared = held

    def mine(self) -> tuple[Connection, threading.Lock]:
        """This thread's connection and its lock, which a flush from another thread takes too."""
        if self._shared is not None:
            return self._shared
        held: tuple[Connection, threading.Lock] | None = getattr(self._local, "held", None)
        if held is None:
            held = (Connection(self._address, self.name, contexts=self._contexts), threading.Lock())
            self._local.held = held
            with self._lock:
                self._all.append(held)
        return held

    def note_empty(self, start: int, end: int) -> None:
        """The server says, or the caller knows, that this range reads zeros."""
        begin = (end - _STRETCH_BYTES) // MIB * MIB  # its end, for that is written last
        if self._hole is None and begin >= start:
            self._hole = begin

    def moving(self, connection: Connection, size_bytes: int) -> None:
        """Say that bytes are about to be read or written; the caller holds the connection's lock.

        Once they are many, the server is brought to keep its buffers, by a read of a hole, where it answers such reads
        in some bytes. Where it sends data for them nothing more is asked: 31 MiB can take a slow server a minute.
        """
        if self._stretched:
            return
        facts = connection.facts
        with self._lock:
            self._moved_bytes += size_bytes
            hole = self._hole
            if self._stretched or hole is None or self._moved_bytes < _STRETCH_AFTER_BYTES:
                return
            self._stretched = True
        if facts.maximum_block >= _STRETCH_BYTES <= facts.size_bytes and connection.read_away(hole, _PROBE_BYTES) == 0:
            connection.read_away(hole, _STRETCH_BYTES)

    def _everyone(self) -> list[tuple[Connection, threading.Lock]]:
        with self._lock:
            return list(self._all)

    def flush(self) -> None:
        """Return when everything written before the call is durable. Others write on meanwhile.

        Raises the first error of any write so far, also if it was raised before: what failed stays failed.
        """
        marked = []
        for connection, lock in self._everyone():
            with lock:
                marked.append((connection, lock, connection.mark()))
        for connection, lock, mark in marked:
            _pump(connection, lock, mark)
            connection.raise_write_error()
        if not self.first.facts.can_flush:
            return
        asked: list[tuple[Connection, threading.Lock, Request, int]] = []
        for connection, lock, _ in marked[:1] if self.first.facts.multi_conn else marked:
            with lock:
                asked.append((connection, lock, connection.begin_flush(), connection.mark()))
        for connection, lock, request, mark in asked:
            _pump(connection, lock, mark, request)
            if request.error is not None:
                raise request.error

    def close(self) -> None:
        for connection, lock in self._everyone():
            with lock:
                connection.close()


def _pump(connection: Connection, lock: threading.Lock, mark: int, request: Request | None = None) -> None:
    """Take answers until `request`, or all up to the mark, are there; the connection's own thread may take some too.

    The lock is held only while an answer is being received, so that its thread can send meanwhile.
    """
    deadline = time.monotonic() + _FLUSH_LIMIT_S
    while True:
        with lock:
            while not (request.done if request is not None else connection.answered(mark)):
                connection.require_whole()
                if not connection.readable(0):
                    break
                connection.take_answer()
            else:
                return
        if not connection.readable(_LOOK_S) and time.monotonic() > deadline:
            raise WireBroken(name=connection.name, problem=f"no answer to a flush for {_FLUSH_LIMIT_S:g} s")

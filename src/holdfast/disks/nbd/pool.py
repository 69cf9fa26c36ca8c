"""Connections to one export, one for each thread that asks. What is written is flushed on all of them."""

from __future__ import annotations

import threading

from holdfast.disks.nbd.connection import Connection
from holdfast.disks.nbd.wire import NbdAddress

__all__ = ["ConnectionPool"]


class ConnectionPool:
    """Threads keep the connection that they got, so a connection is never shared while requests are in flight."""

    def __init__(self, address: NbdAddress, name: str, contexts: tuple[str, ...] = ()) -> None:
        self._address, self._name, self._contexts = address, name, contexts
        self._local = threading.local()
        self._all: list[tuple[Connection, threading.Lock]] = []
        self._lock = threading.Lock()
        self.first = self.mine()[0]

    def mine(self) -> tuple[Connection, threading.Lock]:
        """This thread's connection and its lock, which a flush from another thread takes too."""
        held: tuple[Connection, threading.Lock] | None = getattr(self._local, "held", None)
        if held is None:
            held = (Connection(self._address, self._name, contexts=self._contexts), threading.Lock())
            self._local.held = held
            with self._lock:
                self._all.append(held)
        return held

    def everyone(self) -> list[tuple[Connection, threading.Lock]]:
        with self._lock:
            return list(self._all)

    def close(self) -> None:
        for connection, lock in self.everyone():
            with lock:
                connection.close()

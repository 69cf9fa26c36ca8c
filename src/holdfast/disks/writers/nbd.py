"""An NBD export as a target: any format that the server behind it writes."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.units import MIB
from holdfast.disks.errors import TargetTooSmall, WriteFailed
from holdfast.disks.nbd.pool import ConnectionPool
from holdfast.disks.nbd.wire import parse_address
from holdfast.disks.readers.nbd import NbdReader
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.writers.protocol import TargetTraits

__all__ = ["NbdWriter"]

_ZEROS = memoryview(bytes(MIB))


class NbdWriter:
    """Writes in each thread's own connection; answers are awaited late, so a reader works on meanwhile.

    `flush` settles every connection before it asks the server to flush: a server may forget what it has acknowledged
    until then. `on_finish` gives the image behind the server its name; `on_close` ends the server.
    """

    def __init__(
        self,
        url: str,
        name: str,
        size_bytes: int,
        *,
        reads_zero: bool = False,
        lanes: int = 2,
        on_finish: Callable[[], None] = lambda: None,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_finish, self._on_close = on_finish, on_close
        self._url = url
        self._pool = ConnectionPool(parse_address(url), name)
        facts = self._pool.first.facts
        if facts.read_only:
            self._pool.close()
            raise WriteFailed(name=name, offset=0, size_bytes=size_bytes, problem="the export is read-only")
        if facts.size_bytes < size_bytes:
            self._pool.close()
            raise TargetTooSmall(name=name, actual_bytes=facts.size_bytes, needed_bytes=size_bytes)
        self.size_bytes = facts.size_bytes
        self._can_zero = facts.can_write_zeroes
        remote = url.startswith("nbd://")
        self.traits = TargetTraits(
            name=name, reads_zero=reads_zero, granularity=facts.minimum_block, lanes=lanes, remote=remote
        )

    def write(self, offset: int, data: memoryview) -> None:
        connection, lock = self._pool.mine()
        with lock:
            connection.write(offset, data)

    def write_zeros(self, offset: int, size_bytes: int) -> None:
        connection, lock = self._pool.mine()
        with lock:
            if self._can_zero:
                connection.write_zeroes(offset, size_bytes)
                return
            at, end = offset, offset + size_bytes
            while at < end:
                count = min(end - at, len(_ZEROS))
                connection.write(at, _ZEROS[:count])
                at += count

    def done_with(self, start: int, end: int) -> None:
        pass

    def flush(self) -> None:
        everyone = self._pool.everyone()
        for connection, lock in everyone:
            with lock:
                connection.settle()
        for connection, lock in everyone:
            with lock:
                connection.flush()

    def read_back(self) -> Reader:
        self.flush()
        return NbdReader(self._url, self.traits.name)

    def finish(self) -> None:
        try:
            self.flush()
            self._pool.close()
        finally:
            self._on_close()
        self._on_finish()

    def abandon(self) -> None:
        self._pool.close()
        self._on_close()

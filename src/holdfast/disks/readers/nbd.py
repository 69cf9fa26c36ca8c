"""An NBD export as a source: data and holes by block status, changes by a dirty bitmap."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from holdfast.disks.errors import DiskUsage
from holdfast.disks.model.extents import Extent, merged
from holdfast.disks.nbd import wire
from holdfast.disks.nbd.pool import ConnectionPool
from holdfast.disks.nbd.wire import parse_address
from holdfast.disks.readers.protocol import ChangeList, SourceTraits

__all__ = ["NbdReader"]

ALLOCATION = "base:allocation"


class NbdReader:
    """Reads in each thread's own connection, several requests in flight.

    `on_close` ends the server behind it, where we started one. `identity` is the caller's: NBD itself cannot tell one
    state of an export from another.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        bitmap: str | None = None,
        identity: dict[str, Any] | None = None,
        lanes: int = 2,
        on_close: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_close = on_close
        self._bitmap = f"qemu:dirty-bitmap:{bitmap}" if bitmap else None
        contexts = (ALLOCATION, self._bitmap) if self._bitmap else (ALLOCATION,)
        self._pool, self._owns = ConnectionPool(parse_address(url), name, contexts), True
        if self._bitmap and self._bitmap not in self._pool.first.contexts:
            self._pool.close()
            raise DiskUsage(field="bitmap", problem=f"{name} exports no dirty bitmap named {bitmap}")
        self.size_bytes = self._pool.first.facts.size_bytes
        remote = url.startswith("nbd://")
        self.traits = SourceTraits(name=name, lanes=lanes, identity=identity, remote=remote)

    @classmethod
    def over(cls, pool: ConnectionPool) -> NbdReader:
        """A reader of an export whose connections belong to somebody else, who closes them."""
        reader = cls.__new__(cls)
        reader._on_close, reader._bitmap, reader._pool, reader._owns = lambda: None, None, pool, False
        reader.size_bytes = pool.first.facts.size_bytes
        reader.traits = SourceTraits(name=pool.name)
        return reader

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        at, end = start, min(end, self.size_bytes)
        connection, lock = self._pool.mine()
        if ALLOCATION not in connection.contexts:
            if at < end:
                yield Extent(at, end)
            return
        while at < end:
            with lock:
                found = connection.status(at, end - at, ALLOCATION)
            for begin, stop, flags in found:
                if flags & wire.STATE_ZERO:
                    self._pool.note_empty(begin, stop)
                else:
                    yield Extent(begin, min(stop, end))
                at = stop

    def changes(self, since: str, now: str) -> ChangeList:
        """What the dirty bitmap says. The caller knows which states the bitmap lies between."""
        assert self._bitmap is not None
        connection, lock = self._pool.mine()
        at, found = 0, []
        while at < self.size_bytes:
            with lock:
                told = connection.status(at, self.size_bytes - at, self._bitmap)
            found += [Extent(begin, stop) for begin, stop, flags in told if flags & wire.STATE_DIRTY]
            at = told[-1][1]
        return ChangeList(since, now, merged(found), "dirty bitmap")

    def read_into(self, offset: int, buffer: memoryview) -> None:
        connection, lock = self._pool.mine()
        with lock:
            self._pool.moving(connection, len(buffer))
            connection.read_into(offset, buffer)

    def done_with(self, start: int, end: int) -> None:
        pass

    def identity_now(self) -> dict[str, Any] | None:
        return self.traits.identity

    def close(self) -> None:
        if self._owns:
            self._pool.close()
        self._on_close()

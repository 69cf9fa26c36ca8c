"""An NBD export as a target: any format that the server behind it writes."""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.units import MIB
from holdfast.disks.errors import TargetHasContent, TargetTooSmall, WriteFailed
from holdfast.disks.model.chunks import CHUNK_BYTES
from holdfast.disks.nbd.pool import ConnectionPool
from holdfast.disks.nbd.wire import parse_address
from holdfast.disks.readers.nbd import ALLOCATION, NbdReader
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.scanning import pieces
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.linux import is_zero
from holdfast.disks.writers.protocol import TargetTraits

__all__ = ["NbdWriter"]

_ZEROS = memoryview(bytes(MIB))


class NbdWriter:
    """Writes in each thread's own connection; answers are awaited late, so a reader works on meanwhile.

    `flush` waits for the answers of what was written before it, then asks the server to flush, for a server may forget
    what it has acknowledged until then; other threads write on meanwhile. A write that failed fails every later flush.

    `reads_zero`: the caller knows that the export is new. `fresh`: it wants a target that holds nothing; an export with
    data is refused, unless `overwrite`. What was found to be empty is not cleared once more.
    `on_finish` ends the server and completes the image behind it; `on_abandon` ends it.
    """

    def __init__(
        self,
        url: str,
        name: str,
        size_bytes: int,
        *,
        reads_zero: bool = False,
        fresh: bool = False,
        overwrite: bool = False,
        lanes: int = 2,
        on_finish: Callable[[], None] = lambda: None,
        on_abandon: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_finish, self._on_abandon = on_finish, on_abandon
        self._pool = ConnectionPool(parse_address(url), name, (ALLOCATION,))
        try:
            facts = self._pool.first.facts
            if facts.read_only:
                raise WriteFailed(name=name, offset=0, size_bytes=size_bytes, problem="the export is read-only")
            if facts.size_bytes < size_bytes:
                raise TargetTooSmall(name=name, actual_bytes=facts.size_bytes, needed_bytes=size_bytes)
            if fresh and not reads_zero:
                reads_zero = self._is_empty(look_inside=not overwrite)
                if not reads_zero and not overwrite:
                    raise TargetHasContent(name=name)
            if reads_zero:
                self._pool.note_empty(0, facts.size_bytes)
        except BaseException:
            self._pool.close()
            raise
        self.size_bytes = facts.size_bytes
        self._can_zero = facts.can_write_zeroes
        self.traits = TargetTraits(
            name=name,
            reads_zero=reads_zero,
            # Pieces of a cluster cost a server that allocates clusters more than the zeros around them.
            granularity=max(facts.minimum_block, CHUNK_BYTES),
            lanes=lanes,
            remote=url.startswith("nbd://"),
        )

    def _is_empty(self, *, look_inside: bool) -> bool:
        """Whether the export reads zeros all over: by what it says of its blocks or, with `look_inside`, their bytes.

        A server that says nothing is all data.
        """
        reader = NbdReader.over(self._pool)
        buffer: Buffer | None = None
        for extent in reader.extents(0, reader.size_bytes):
            if not look_inside:
                return False
            buffer = buffer or Buffer(MIB)
            for start, end in pieces([extent], buffer.size):
                reader.read_into(start, buffer.view[: end - start])
                if not is_zero(buffer.address, end - start):
                    return False
        return True

    def write(self, offset: int, data: memoryview) -> None:
        connection, lock = self._pool.mine()
        with lock:
            self._pool.moving(connection, len(data))
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
        self._pool.flush()

    def read_back(self) -> Reader:
        self.flush()
        return NbdReader.over(self._pool)

    def finish(self) -> None:
        try:
            self.flush()
            self._pool.close()
        except BaseException:
            self._on_abandon()
            raise
        self._on_finish()

    def abandon(self) -> None:
        try:
            self._pool.close()
        finally:
            self._on_abandon()

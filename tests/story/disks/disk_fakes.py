"""Disks in memory that fail and forget on demand, for whole copies without files."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

from holdfast.disks.errors import ReadFailed, WriteFailed
from holdfast.disks.model.extents import Extent
from holdfast.disks.readers.protocol import SourceTraits
from holdfast.disks.writers.protocol import TargetTraits

CHUNK = 4096


class Killed(BaseException):
    """The process is gone: nothing after this has any effect."""


class Trouble:
    """Counts calls; at the n-th it raises, and from then on if it is a kill."""

    def __init__(self, at: int | None = None, error: BaseException | None = None) -> None:
        self.at, self.error, self.calls, self.dead = at, error, 0, False
        self._lock = threading.Lock()

    def step(self) -> None:
        with self._lock:
            if self.dead:
                raise Killed
            self.calls += 1
            if self.at is not None and self.calls >= self.at and self.error is not None:
                if isinstance(self.error, Killed):
                    self.dead = True
                elif self.calls > self.at:
                    return
                raise self.error


class MemorySource:
    """A source whose holes are its zero blocks of 512 bytes. Its identity is its version."""

    def __init__(self, data: bytearray, version: int = 0, trouble: Trouble | None = None) -> None:
        self.data, self.version, self.trouble = data, version, trouble or Trouble()
        self.size_bytes = len(data)
        self.traits = SourceTraits(name="memory source", lanes=2, identity={"version": version})
        self.read_bytes = 0

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        begin = -1
        for at in range(start // 512 * 512, end, 512):
            if any(self.data[at : at + 512]):
                begin = at if begin < 0 else begin
            elif begin >= 0:
                yield Extent(begin, at)
                begin = -1
        if begin >= 0:
            yield Extent(begin, end)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self.trouble.step()
        if offset + len(buffer) > self.size_bytes:
            raise ReadFailed(name="memory source", offset=offset, size_bytes=len(buffer), problem="past the end")
        buffer[:] = self.data[offset : offset + len(buffer)]
        self.read_bytes += len(buffer)

    def done_with(self, start: int, end: int) -> None:
        pass

    def identity_now(self) -> dict[str, Any]:
        return {"version": self.version}

    def close(self) -> None:
        pass


class MemoryTarget:
    """A target that keeps acknowledged writes apart until flush; `lose` drops any part of what was not flushed."""

    def __init__(self, disk: bytearray, *, reads_zero: bool, trouble: Trouble | None = None) -> None:
        self.durable, self.trouble = disk, trouble or Trouble()
        self.size_bytes = len(disk)
        self.traits = TargetTraits(name="memory target", reads_zero=reads_zero, lanes=2)
        self._pending: list[tuple[int, bytes]] = []
        self._lock = threading.Lock()
        self.written: list[Extent] = []

    def write(self, offset: int, data: memoryview) -> None:
        self.trouble.step()
        if offset + len(data) > self.size_bytes:
            raise WriteFailed(name="memory target", offset=offset, size_bytes=len(data), problem="past the end")
        with self._lock:
            self._pending.append((offset, bytes(data)))
            self.written.append(Extent(offset, offset + len(data)))

    def write_zeros(self, offset: int, size_bytes: int) -> None:
        self.write(offset, memoryview(bytes(size_bytes)))

    def done_with(self, start: int, end: int) -> None:
        pass

    def flush(self) -> None:
        self.trouble.step()
        with self._lock:
            pending, self._pending = self._pending, []
            for offset, data in pending:
                self.durable[offset : offset + len(data)] = data

    def lose(self, rng: random.Random) -> None:
        """The power is cut: of what was not flushed any part is there, in any order, torn at sectors."""
        rng.shuffle(self._pending)
        for offset, data in self._pending:
            if rng.random() < 0.5:
                kept = rng.randrange(0, len(data) + 1, 512) if len(data) >= 512 else len(data)
                self.durable[offset : offset + kept] = data[:kept]
        self._pending = []

    def finish(self) -> None:
        self.flush()

    def abandon(self) -> None:
        pass


def random_disk(rng: random.Random, chunks: int, tail: int = 0) -> bytearray:
    """Some data, some zeros, some constant bytes; `tail` bytes of a short last chunk."""
    disk = bytearray(chunks * CHUNK + tail)
    for n in range(chunks + (1 if tail else 0)):
        if rng.random() < 0.5:
            start, end = n * CHUNK, min((n + 1) * CHUNK, len(disk))
            disk[start:end] = rng.randbytes(end - start)
    return disk


def mutated(rng: random.Random, disk: bytearray) -> bytearray:
    """Some bytes written, some ranges cleared."""
    changed = bytearray(disk)
    for _ in range(rng.randrange(1, 8)):
        start = rng.randrange(len(disk))
        size = min(rng.choice([1, 100, 512, 4096, 20000]), len(disk) - start)
        changed[start : start + size] = bytes(size) if rng.random() < 0.4 else rng.randbytes(size)
    return changed

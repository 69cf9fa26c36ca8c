"""A target that keeps nothing: digesting a disk is copying it to nowhere, with a list."""

from __future__ import annotations

from holdfast.disks.errors import DiskUsage
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.writers.protocol import TargetTraits

__all__ = ["NowhereWriter"]


class NowhereWriter:
    """Takes everything, keeps nothing, is durable at once."""

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.traits = TargetTraits(name="nowhere", reads_zero=True, lanes=4)

    def write(self, offset: int, data: memoryview) -> None:
        pass

    def write_zeros(self, offset: int, size_bytes: int) -> None:
        pass

    def done_with(self, start: int, end: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def read_back(self) -> Reader:
        raise DiskUsage(field="verify", problem="nothing was kept that could be read back")

    def finish(self) -> None:
        pass

    def abandon(self) -> None:
        pass

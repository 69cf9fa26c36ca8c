"""The contract of a target that can be written in any order."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from holdfast.disks.readers.protocol import Reader

__all__ = ["ForkingWriter", "TargetTraits", "Writer"]


class TargetTraits(NamedTuple):
    """What the engine needs to know of a target before it plans.

    `reads_zero`: it is new, and reads zeros wherever nothing was written. `granularity`: writes start and end at
    multiples of it (the disk's end excepted). `cluster_bytes`: it takes whole ones alone. `lanes`: how many threads may
    usefully write at once. `adaptive`: a network end whose best number is found while running. `packs`: writing costs
    far more processor time than reading, so that its `lanes` count, not the reader's. `forks`: a forked process can
    write to it, too; `flush` here makes durable what it wrote.
    """

    name: str
    reads_zero: bool = False
    granularity: int = 1
    cluster_bytes: int = 1
    lanes: int = 2
    adaptive: bool = False
    remote: bool = False
    packs: bool = False
    forks: bool = False


class Writer(Protocol):
    """A disk that can be written. `write`, `write_zeros` and `flush` may be called from several threads at once.

    Order: any number of writes in any order, flush as often as wished, then `finish` once, or `abandon` once.
    Repeating a write changes nothing.
    Between two flushes a byte is written by one thread only; that thread's writes take effect in their order.
    Nothing is promised about bytes written after the last `flush`: they may be there, or not, or in part.
    """

    size_bytes: int
    traits: TargetTraits

    def write(self, offset: int, data: memoryview) -> None:
        """Write all of `data`. The buffer may be reused after return."""

    def write_zeros(self, offset: int, size_bytes: int) -> None:
        """The range reads zeros afterwards, with no blocks behind it where the target can do so."""

    def done_with(self, start: int, end: int) -> None:
        """The range will not be written again in this run: writing back may begin, cached pages may go."""

    def flush(self) -> None:
        """Return when everything written so far survives a power cut. Raises WriteFailed if any earlier write did."""

    def read_back(self) -> Reader:
        """A reader of what the target holds now, past caches where that can be; to be closed before `finish`."""

    def finish(self) -> None:
        """Flush, complete what the format needs (footer, tables), give the target its final name, close."""

    def abandon(self) -> None:
        """Close without promises; what was written stays for a later run to resume from."""


class ForkingWriter(Writer, Protocol):
    """A target whose traits say `forks`."""

    def wrote_elsewhere(self, size_bytes: int) -> None:
        """Another process has written so much; said before `done_with`, which bounds what is on its way."""

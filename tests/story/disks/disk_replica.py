"""A source in memory and its replica, through many runs."""

from __future__ import annotations

import random
from pathlib import Path

from disk_fakes import CHUNK, MemorySource, MemoryTarget, Trouble, mutated, random_disk

from holdfast.disks.copying import copy_disk
from holdfast.disks.digests.book import Book
from holdfast.disks.model.chunks import Geometry
from holdfast.disks.model.extents import Extent, Kind, merged
from holdfast.disks.model.report import Report
from holdfast.disks.readers.protocol import ChangeList

CHUNKS = 600  # three windows of 4 KiB chunks


class Replica:
    """A source, a target and a list through many runs."""

    def __init__(self, folder: Path, seed: int, *, dirty: bool = False) -> None:
        self.rng = random.Random(seed)
        self.source = random_disk(self.rng, CHUNKS, tail=777)
        self.version = 0
        size = len(self.source)
        self.disk = bytearray(self.rng.randbytes(size)) if dirty else bytearray(size)
        self.dirty = dirty
        self.list_path = str(folder / "list")
        self.last: MemorySource | None = None
        self.target: MemoryTarget | None = None

    def change(self) -> None:
        self.source, self.version = mutated(self.rng, self.source), self.version + 1

    def run(self, trouble: Trouble | None = None, changes: ChangeList | None = None) -> Report:
        geometry = Geometry(len(self.source), CHUNK)
        self.last = source = MemorySource(self.source, self.version, trouble)
        if Path(self.list_path).exists():
            book = Book.continue_from(self.list_path, geometry, source.traits.identity)
        else:
            book = Book.begin(self.list_path, geometry, source.traits.identity)
        fresh = book.virgin and not self.dirty
        self.target = target = MemoryTarget(self.disk, reads_zero=fresh, trouble=trouble)
        try:
            report = copy_disk(source, target, book, changes=changes)
            target.finish()
        except BaseException:
            book.abandon()
            target.lose(self.rng)
            raise
        report.root = book.settle(f"state-{self.version}" if changes is None else changes.now)
        return report

    @property
    def equal(self) -> bool:
        return self.disk == self.source


def actual_changes(before: bytearray, after: bytearray, rng: random.Random) -> list[Extent]:
    """What a change tracker would say: in blocks of 512, with some unchanged neighbours thrown in."""
    found = []
    for at in range(0, len(after), 512):
        new = after[at : at + 512]
        if before[at : at + 512] != new or rng.random() < 0.01:
            found.append(Extent(at, at + len(new), Kind.DATA if any(new) else Kind.ZERO))
    return merged(found)

"""The digest list as a file: one plane of entries changed in place, the tree above it, two header slots.

An entry never crosses a sector, so a torn page write leaves each entry old or new, and both are safe: before a chunk
is overwritten its entry is durably UNKNOWN; it gets a digest only after the target's data are durable. Where a page
does not match its node and no journal vouches for it, all its entries count as unknown.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from holdfast.disks.digests.tree import NODE_BYTES, NODES_PER_PAGE, Layout, node_of, root_of
from holdfast.disks.errors import DiskNotFound, ListDamaged, ListMismatch
from holdfast.disks.model.chunks import ENTRIES_PER_PAGE, PAGE_BYTES, UNKNOWN, Geometry
from holdfast.disks.model.extents import Extent, windows
from holdfast.disks.system.claims import locked_at
from holdfast.disks.system.files import flock, opened
from holdfast.disks.system.holes import hole_map
from holdfast.disks.system.writing import sync_data, write_failure, write_fully

__all__ = ["LIST_MAGIC", "SLOTS", "DigestList", "Header", "held"]

LIST_MAGIC, SLOTS = b"HFDIGEST", 2


class Header(NamedTuple):
    """What a list says of itself. `generation` 0 was never complete; `settled` False: a run is, or was, under way.
    `other_sizes`: those that the target may still have, for which its list was resized before it."""

    size_bytes: int
    chunk_bytes: int
    list_id: str
    sequence: int = 0
    generation: int = 0
    settled: bool = False
    chain: str | None = None
    root: str | None = None
    digest: str = "blake3-128"
    other_sizes: tuple[int, ...] = ()

    @property
    def geometry(self) -> Geometry:
        return Geometry(self.size_bytes, self.chunk_bytes)


def _packed(header: Header) -> bytes:
    text = json.dumps(header._asdict()).encode()
    body = LIST_MAGIC + len(text).to_bytes(4, "little") + text
    return (body + blake3(body).digest(16)).ljust(PAGE_BYTES, b"\0")


def _unpacked(slot: bytes) -> Header | None:
    if slot[:8] != LIST_MAGIC:
        return None
    size = int.from_bytes(slot[8:12], "little")
    body, check = slot[: 12 + size], slot[12 + size : 28 + size]
    if blake3(body).digest(16) != check:
        return None
    try:
        header = Header(**json.loads(body[12:]))
        Geometry(header.size_bytes, header.chunk_bytes)  # whose chunks we cannot read, we cannot compare
    except (TypeError, ValueError):
        return None
    return header


def _lock(fd: int, path: str) -> None:
    flock(fd, path, "another run keeps this list")


def _locked(path: str, flags: int) -> int:
    """A descriptor of the list, which nobody else writes to as long as it is open. Raises TargetInUse."""
    while True:
        fd = opened(path, flags)
        if locked_at(fd, path, _lock):
            return fd


def held(path: str) -> int:
    """A descriptor of a list that is to be replaced: until it is closed no run can use that list. Raises TargetInUse,
    DiskNotFound."""
    if not Path(path).is_file():
        raise DiskNotFound(kind="digest list", name=path)
    return _locked(path, os.O_RDONLY)


class DigestList:
    """One open list. Not for several threads at once, `page` excepted."""

    def __init__(self, path: str, fd: int, header: Header) -> None:
        self.path, self._fd, self.header = path, fd, header
        self.geometry = header.geometry
        self._layout = Layout(self.geometry)
        self._leaf = self._layout.first_leaf
        self._nodes_at = self._layout.page_offset(1, 0)
        self._tree_is_whole = header.settled  # else somebody may have been stopped while he renewed it
        self.written_bytes = 0

    @classmethod
    def create(cls, path: str, geometry: Geometry) -> DigestList:
        """A list of generation 0, sparse, replacing whatever was at `path`. Raises TargetInUse, WriteFailed."""
        fd = _locked(path, os.O_RDWR | os.O_CREAT)
        made = cls(path, fd, Header(geometry.size_bytes, geometry.chunk_bytes, os.urandom(16).hex()))
        try:
            os.ftruncate(fd, 0)
            os.ftruncate(fd, made._layout.size_bytes)
            made._write_header(made.header)
            made.sync()  # after a power cut, too, it is known for a list
        except OSError as exc:
            os.close(fd)
            raise write_failure(path, 0, made._layout.size_bytes, exc) from exc
        except BaseException:
            os.close(fd)
            raise
        return made

    @classmethod
    def open(cls, path: str, *, writable: bool = False) -> DigestList:
        """Raises DiskNotFound, ListDamaged, ListMismatch, TargetInUse. A settled list's upper tree is checked here, its
        pages as they are read."""
        try:
            fd = _locked(path, os.O_RDWR) if writable else opened(path, os.O_RDONLY)
        except (IsADirectoryError, DiskNotFound) as exc:
            raise DiskNotFound(kind="digest list", name=path) from exc
        try:
            if writable and os.fstat(fd).st_nlink > 1:
                problem = "it has other names (hard links), under which it would change, too; make a copy of it"
                raise ListMismatch(name=path, problem=problem)
            slots = [_unpacked(os.pread(fd, PAGE_BYTES, n * PAGE_BYTES)) for n in range(SLOTS)]
            valid = [slot for slot in slots if slot is not None]
            if not valid:
                raise ListDamaged(name=path, problem="it has no valid header")
            found = cls(path, fd, max(valid, key=lambda h: h.sequence))
            if os.fstat(fd).st_size < found._layout.size_bytes:
                raise ListDamaged(name=path, problem="it is shorter than its disk needs")
            if found.header.settled:
                found._check_upper_tree()
            return found
        except BaseException:
            os.close(fd)
            raise

    def close(self) -> None:
        os.close(self._fd)

    # -- reading -----------------------------------------------------------------------------------------------------

    def page(self, window: int) -> bytes:
        """The 4096 bytes of entries of a window, as they stand in the file."""
        return os.pread(self._fd, PAGE_BYTES, self._leaf + window * PAGE_BYTES)

    def page_is_sound(self, window: int, page: bytes) -> bool:
        """Whether a page is the one that the tree was last settled with."""
        return node_of(page) == os.pread(self._fd, NODE_BYTES, self._nodes_at + window * NODE_BYTES)

    def checked_page(self, window: int) -> bytes:
        """The page if it is sound, else all unknown."""
        page = self.page(window)
        return page if self.page_is_sound(window, page) else self.unknown_page(window)

    def unknown_page(self, window: int) -> bytes:
        """A page that knows nothing of its chunks. Entries beyond the disk's end are always zero."""
        count = min(ENTRIES_PER_PAGE, self.geometry.chunks - window * ENTRIES_PER_PAGE)
        return (UNKNOWN * count).ljust(PAGE_BYTES, b"\0")

    def windows_with_entries(self) -> Iterator[tuple[int, int]]:
        """Runs of windows whose pages are not holes in the list file, or not meant to be; all others are zero pages."""
        end = self._leaf + self.geometry.windows * PAGE_BYTES
        stored = (Extent(e.start - self._leaf, e.end - self._leaf) for e in hole_map(self._fd, self._leaf, end))
        at = 0
        for first, last in chain(windows(stored, PAGE_BYTES), [(self.geometry.windows,) * 2]):
            yield from self._lost_pages(at, first)
            if first < last:
                yield first, last
            at = last

    def _lost_pages(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Windows in a hole of the list whose pages had entries when the tree was settled."""
        start, end = (self._nodes_at + window * NODE_BYTES for window in (first, last))
        for extent in hole_map(self._fd, start, end):
            nodes = os.pread(self._fd, extent.size_bytes, extent.start)
            for at in range(0, len(nodes), NODE_BYTES):
                if any(nodes[at : at + NODE_BYTES]):
                    window = (extent.start + at - self._nodes_at) // NODE_BYTES
                    yield window, window + 1

    def _check_upper_tree(self) -> None:
        """Raises ListDamaged where an inner node does not match. Reads 2 MiB per TiB of disk."""
        pages = self._layout.level_pages()
        for level in range(1, len(pages)):
            for number in range(pages[level]):
                page = os.pread(self._fd, PAGE_BYTES, self._layout.page_offset(level, number))
                node = node_of(page)
                if level + 1 < len(pages):
                    at = self._layout.page_offset(level + 1, 0) + number * NODE_BYTES
                    expected = os.pread(self._fd, NODE_BYTES, at)
                else:
                    node, expected = root_of(self.geometry, node), bytes.fromhex(self.header.root or "")
                if node != expected:
                    raise ListDamaged(name=self.path, problem=f"its tree does not match at level {level}")

    # -- writing -----------------------------------------------------------------------------------------------------

    def put(self, window: int, page: bytes) -> None:
        """Replace a page; durable after `sync`."""
        write_fully(self._fd, self.path, self._leaf + window * PAGE_BYTES, page)
        self.written_bytes += PAGE_BYTES

    def sync(self) -> None:
        sync_data(self._fd, self.path, self._layout.size_bytes)

    def open_run(self, other_sizes: Iterable[int] = ()) -> None:
        """Say durably that a run is under way, so that nobody takes the root for the truth."""
        if self.header.settled:
            self._write_header(self.header._replace(settled=False, other_sizes=tuple(other_sizes)))
            self.sync()

    def settle(self, touched: Iterable[int], chain_id: str | None) -> str:
        """Recompute the tree above the touched windows, publish the next generation durably, return the root (hex).

        The caller made the pages durable and complete. A crash in between leaves the list open and without a chain:
        what is counted from the chain's state does not name windows that the tree may call sound by then.
        """
        changed = sorted(set(touched))
        pages = self._layout.level_pages()
        if changed and self.header.chain is not None:
            self._write_header(self.header._replace(chain=None))
            self.sync()
        level_pages: dict[int, bytes] = {}
        for level in range(1, len(pages)):
            if level == 2 and not self._tree_is_whole:
                changed = list(range(pages[1]))
            parents: dict[int, bytearray] = {}
            for number in changed:
                below = level_pages.get(number) if level > 1 else None
                child = below if below is not None else self._page_at(level - 1, number)
                parent = number // NODES_PER_PAGE
                if parent not in parents:
                    parents[parent] = bytearray(self._page_at(level, parent))
                slot = number % NODES_PER_PAGE * NODE_BYTES
                parents[parent][slot : slot + NODE_BYTES] = node_of(child)
            level_pages = {number: bytes(page) for number, page in parents.items()}
            for number, page in level_pages.items():
                write_fully(self._fd, self.path, self._layout.page_offset(level, number), page)
                self.written_bytes += PAGE_BYTES
            changed = sorted(level_pages)
        self.sync()
        top = self._page_at(len(pages) - 1, 0)
        root = root_of(self.geometry, node_of(top)).hex()
        generation = self.header.generation + 1
        header = self.header._replace(generation=generation, chain=chain_id, root=root)
        self._write_header(header._replace(settled=True, other_sizes=()))
        self.sync()
        return root

    def _page_at(self, level: int, number: int) -> bytes:
        return os.pread(self._fd, PAGE_BYTES, self._layout.page_offset(level, number))

    def _write_header(self, header: Header) -> None:
        header = header._replace(sequence=header.sequence + 1)
        write_fully(self._fd, self.path, header.sequence % 2 * PAGE_BYTES, _packed(header))
        self.header = header

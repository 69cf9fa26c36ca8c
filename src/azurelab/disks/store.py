"""The extent store: volumes by id, made of shared, reference-counted, copy-on-write layers.

Snapshot, clone and restore are immediate and take no space: they share layers. A layer's files go when no volume names
it any more. The catalogue is the truth: files that no volume names (a kill between the record and the unlink) are
removed when the store opens. One process at a time.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import threading
import time
import uuid
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path

from azurelab.disks.catalogue import Catalogue, VolumeRow
from azurelab.disks.errors import OutOfRange, ReadOnly, StoreLocked, VolumeExists, VolumeNotFound
from azurelab.disks.layer import Layer
from azurelab.disks.merging import copy_up, mergeable_pair
from azurelab.disks.pages import PAGE, SECTOR
from azurelab.disks.stack import FrozenStack, OwnerCache
from azurelab.disks.volume import Volume

__all__ = ["DiskStore"]

# Layers with open descriptors at once (two each). Fewer would reopen files under a busy lab, more would near the
# usual limit of 1,024 descriptors per process.
_OPEN_LAYERS = 192
# Deeper stacks are shortened in the background where snapshots between were deleted. Lower would copy bytes for chains
# that are about to vanish anyway (an import makes three layers); higher makes cold reads ask more maps.
DEEP = 16


class DiskStore:
    """Opens (and creates) the store in `folder`. All methods may be called from any thread."""

    def __init__(self, folder: Path, *, now: Callable[[], float] = time.time, deep: int = DEEP) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lock_fd = _take_lock(folder / "lock")
        self._layers_folder = folder / "layers"
        self._layers_folder.mkdir(exist_ok=True)
        self.catalogue = Catalogue(folder / "catalogue.db")
        self._now = now
        self._deep = deep
        self._cache = OwnerCache()
        self._lock = threading.RLock()  # guards the three maps below; taken before a volume's lock, never after
        self._volumes: dict[str, Volume] = {}
        self._rows: dict[str, VolumeRow] = {}
        self._layers: dict[str, Layer] = {}
        self._uses: Counter[str] = Counter()
        self._recent_lock = threading.Lock()  # its own: a writer opens files while it holds its volume's lock
        self._recent: OrderedDict[str, Layer] = OrderedDict()
        self._merging: threading.Thread | None = None
        self._closed = False
        self._load()

    def _load(self) -> None:
        stacks: dict[tuple[str, ...], FrozenStack] = {}
        for row in self.catalogue.volumes():
            stack = stacks.get(row.frozen)
            if stack is None:
                stack = stacks[row.frozen] = FrozenStack([self._layer(i) for i in row.frozen], self._cache)
            self._keep(row, stack)
        named = set(self._uses)
        for path in self._layers_folder.iterdir():
            if path.stem not in named:
                path.unlink()

    def _layer(self, layer_id: str) -> Layer:
        layer = self._layers.get(layer_id)
        if layer is None:
            layer = self._layers[layer_id] = Layer(self._layers_folder, layer_id, self._opened)
        return layer

    def _opened(self, layer: Layer) -> None:
        """A layer opened its files: close those that were opened longest ago."""
        with self._recent_lock:
            self._recent[layer.id] = layer
            self._recent.move_to_end(layer.id)
            while len(self._recent) > _OPEN_LAYERS:
                self._recent.popitem(last=False)[1].close()

    def _keep(self, row: VolumeRow, stack: FrozenStack) -> Volume:
        top = None if row.top is None else self._layer(row.top)
        volume = Volume(row.id, row.size_bytes, stack, top, self.catalogue.settle, self._now)
        self._volumes[row.id] = volume
        self._rows[row.id] = row
        self._uses.update(_named(row))
        return volume

    def close(self) -> None:
        """Write everything out and let go. Further calls on volumes are not allowed."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            merging = self._merging
        if merging is not None:
            merging.join()
        with self._lock:
            for layer in self._layers.values():
                if layer.unsynced:
                    layer.sync()
                layer.close()
        self.catalogue.settle()
        self.catalogue.close()
        os.close(self._lock_fd)

    # -- finding -------------------------------------------------------------------------------------------------------

    def find(self, volume_id: str) -> Volume | None:
        return self._volumes.get(volume_id)

    def get(self, volume_id: str) -> Volume:
        volume = self._volumes.get(volume_id)
        if volume is None:
            raise VolumeNotFound(volume_id)
        return volume

    def ids(self) -> list[str]:
        with self._lock:
            return list(self._volumes)

    def changed_at(self, volume_id: str) -> float:
        """When the volume came to be, or was last written, in Unix seconds of the store's clock."""
        volume = self.get(volume_id)
        return max(self._rows[volume_id].created_at, volume.written_at)

    # -- making --------------------------------------------------------------------------------------------------------

    def create(self, volume_id: str, size_bytes: int) -> Volume:
        """An empty writable volume; takes no space until written."""
        _require_sectors(size_bytes)
        with self._lock:
            self._require_new(volume_id)
            row = VolumeRow(volume_id, size_bytes, (), _new_id(), self._now())
            with self.catalogue.change() as db:
                self.catalogue.put_volume(db, row)
            return self._keep(row, FrozenStack((), self._cache))

    def snapshot(self, source_id: str, volume_id: str) -> Volume:
        """A read-only volume with the bytes that the source has at this moment."""
        return self.snapshot_all({source_id: volume_id})[source_id]

    def snapshot_all(self, wanted: Mapping[str, str]) -> dict[str, Volume]:
        """Snapshots of several sources (source id → new id) at one and the same moment, all or none."""
        with self._lock, ExitStack() as held:
            for new_id in wanted.values():
                self._require_new(new_id)
            sources = [self.get(source_id) for source_id in sorted(wanted)]
            for source in sources:
                held.enter_context(source.lock)
            made: list[tuple[str, VolumeRow, FrozenStack]] = []
            frozen: dict[str, FrozenStack] = {}
            rows: dict[str, VolumeRow] = {}
            with self.catalogue.change() as db:
                for source in sources:
                    frozen[source.id], rows[source.id] = self._freeze(db, source)
                    row = VolumeRow(
                        wanted[source.id],
                        source.size_bytes,
                        tuple(layer.id for layer in frozen[source.id].layers),
                        None,
                        self._now(),
                    )
                    self.catalogue.put_volume(db, row)
                    made.append((source.id, row, frozen[source.id]))
            for source in sources:
                self._adopt(source, frozen[source.id], rows[source.id])
            return {source_id: self._keep(row, stack) for source_id, row, stack in made}

    def clone(self, source_id: str, volume_id: str, size_bytes: int | None = None) -> Volume:
        """A writable volume that starts with the source's bytes; larger if asked, the rest reads as zeros."""
        with self._lock:
            self._require_new(volume_id)
            source = self.get(source_id)
            size_bytes = source.size_bytes if size_bytes is None else size_bytes
            _require_sectors(size_bytes)
            if size_bytes < source.size_bytes:
                raise OutOfRange(f"a clone of {size_bytes} bytes cannot hold {source.size_bytes} bytes")
            with source.lock:
                with self.catalogue.change() as db:
                    stack, source_row = self._freeze(db, source)
                    ids = tuple(layer.id for layer in stack.layers)
                    row = VolumeRow(volume_id, size_bytes, ids, _new_id(), self._now())
                    self.catalogue.put_volume(db, row)
                self._adopt(source, stack, source_row)
            return self._keep(row, stack)

    def _freeze(self, db: sqlite3.Connection, source: Volume) -> tuple[FrozenStack, VolumeRow]:
        """The stack that shows the source's present bytes, and its record, with a new top if the old has bytes."""
        top, old = source.top, self._rows[source.id]
        if top is None or top.is_empty:
            return source.frozen, old
        row = VolumeRow(old.id, old.size_bytes, (*old.frozen, top.id), _new_id(), old.created_at)
        self.catalogue.put_volume(db, row)
        return FrozenStack((*source.frozen.layers, top), self._cache), row

    def _adopt(self, source: Volume, stack: FrozenStack, row: VolumeRow) -> None:
        """After the record is committed: the source writes into its new layer from now on."""
        if stack is source.frozen:
            return
        assert row.top is not None
        self._rows[source.id] = row
        self._uses[row.top] += 1
        source.reshape(stack, self._layer(row.top))

    def import_raw(self, volume_id: str, path: Path) -> Volume:
        """A read-only volume with the bytes of a raw image file; holes and zero pages take no space.

        The volume is recorded only when it is complete, so a kill leaves nothing but files that the next open removes.
        """
        with self._lock:
            self._require_new(volume_id)
        size_bytes = -(-path.stat().st_size // SECTOR) * SECTOR
        layer = Layer(self._layers_folder, _new_id(), self._opened)
        _fill(layer, path)
        layer.sync()
        with self._lock:
            self._require_new(volume_id)
            self._layers[layer.id] = layer
            row = VolumeRow(volume_id, size_bytes, (layer.id,), None, self._now())
            with self.catalogue.change() as db:
                self.catalogue.put_volume(db, row)
            return self._keep(row, FrozenStack((layer,), self._cache))

    def resize(self, volume_id: str, size_bytes: int) -> None:
        """Grow; the new part reads as zeros. Shrinking is refused."""
        _require_sectors(size_bytes)
        with self._lock:
            volume = self.get(volume_id)
            if size_bytes < volume.size_bytes:
                raise OutOfRange(f"{volume_id} cannot shrink from {volume.size_bytes} to {size_bytes} bytes")
            if not volume.writable:
                raise ReadOnly(volume_id)
            old = self._rows[volume_id]
            row = VolumeRow(old.id, size_bytes, old.frozen, old.top, old.created_at)
            with volume.lock:
                with self.catalogue.change() as db:
                    self.catalogue.put_volume(db, row)
                self._rows[volume_id] = row
                volume.grow(size_bytes)

    def seal(self, volume_id: str) -> Volume:
        """Make a writable volume read-only for good (a published image)."""
        with self._lock:
            volume = self.get(volume_id)
            top = volume.top
            if top is None:
                return volume
            old = self._rows[volume_id]
            frozen = old.frozen if top.is_empty else (*old.frozen, top.id)
            row = VolumeRow(old.id, old.size_bytes, frozen, None, old.created_at)
            with volume.lock:
                with self.catalogue.change() as db:
                    self.catalogue.put_volume(db, row)
                stack = volume.frozen if top.is_empty else FrozenStack((*volume.frozen.layers, top), self._cache)
                self._rows[volume_id] = row
                volume.reshape(stack, None)
                if top.is_empty:
                    self._unuse([top.id])
            return volume

    # -- deleting ------------------------------------------------------------------------------------------------------

    def delete(self, volume_id: str) -> None:
        """Drop a volume and every layer that nothing else names. Absent already is success."""
        with self._lock:
            volume = self._volumes.get(volume_id)
            if volume is None:
                return
            with self.catalogue.change() as db:
                self.catalogue.delete_volume(db, volume_id)
            del self._volumes[volume_id]
            row = self._rows.pop(volume_id)
            self._unuse(_named(row))
            if any(len(left.frozen) > self._deep for left in self._rows.values()):
                self._merge_soon()

    def _unuse(self, layer_ids: Iterable[str]) -> None:
        for layer_id in layer_ids:
            self._uses[layer_id] -= 1
            if not self._uses[layer_id]:
                del self._uses[layer_id]
                self._layers.pop(layer_id).delete()
                with self._recent_lock:
                    self._recent.pop(layer_id, None)

    # -- shortening deep stacks ----------------------------------------------------------------------------------------

    def _merge_soon(self) -> None:
        if self._closed or (self._merging is not None and self._merging.is_alive()):
            return
        self._merging = threading.Thread(target=self._merge_all, name="disks-merge", daemon=True)
        self._merging.start()

    def settle(self) -> None:
        """Wait until no stack is being shortened (tests)."""
        with self._lock:
            merging = self._merging
        if merging is not None:
            merging.join()

    def _merge_all(self) -> None:
        while not self._closed:
            with self._lock:
                pair = mergeable_pair(self._rows.values(), self._deep, lambda i: self._layers[i].allocated_bytes())
                if pair is None:
                    return
                lower, upper = self._layers[pair[0]], self._layers[pair[1]]
            copy_up(lower, upper)  # without any lock: all who see `lower` see `upper` above it, with the same bytes
            lower.sync()
            with self._lock:
                self._drop_merged(lower, upper)

    def _drop_merged(self, lower: Layer, upper: Layer) -> None:
        """Take `upper` out of every stack, now that `lower` holds its pages; skip if a volume changed meanwhile."""
        affected = [row for row in self._rows.values() if lower.id in _named(row) or upper.id in _named(row)]
        if any(_next_to(row.frozen, lower.id) != upper.id for row in affected):
            return  # cannot happen while new volumes take whole stacks; harmless if it ever does: nothing was removed
        rows = [
            VolumeRow(r.id, r.size_bytes, tuple(i for i in r.frozen if i != upper.id), r.top, r.created_at)
            for r in affected
        ]
        with self.catalogue.change() as db:
            for row in rows:
                self.catalogue.put_volume(db, row)
        stacks: dict[tuple[str, ...], FrozenStack] = {}
        for row in rows:
            stack = stacks.get(row.frozen)
            if stack is None:
                stack = stacks[row.frozen] = FrozenStack([self._layers[i] for i in row.frozen], self._cache)
            self._rows[row.id] = row
            volume = self._volumes[row.id]
            with volume.lock:
                volume.reshape(stack, volume.top)
        self._unuse([upper.id] * len(rows))

    def _require_new(self, volume_id: str) -> None:
        if volume_id in self._volumes:
            raise VolumeExists(volume_id)


def _named(row: VolumeRow) -> tuple[str, ...]:
    return row.frozen if row.top is None else (*row.frozen, row.top)


def _next_to(ids: tuple[str, ...], layer_id: str) -> str | None:
    if layer_id not in ids:
        return None
    index = ids.index(layer_id) + 1
    return ids[index] if index < len(ids) else None


def _new_id() -> str:
    return uuid.uuid4().hex


def _require_sectors(size_bytes: int) -> None:
    if size_bytes <= 0 or size_bytes % SECTOR:
        raise OutOfRange(f"a volume of {size_bytes} bytes is not a positive number of sectors of {SECTOR} bytes")


def _take_lock(path: Path) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(fd)
        raise StoreLocked(f"{path.parent} is open in another process") from exc
    return fd


def _fill(layer: Layer, path: Path) -> None:
    """Copy a raw file into an empty layer, skipping holes and pages of zeros."""
    step = 4 << 20
    zero_page = bytes(PAGE)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        position = 0
        while position < size:
            try:
                start = os.lseek(file.fileno(), position, os.SEEK_DATA) // PAGE * PAGE
            except OSError:  # ENXIO: only hole up to the end
                return
            end = os.lseek(file.fileno(), max(start, position), os.SEEK_HOLE)
            for offset in range(start, end, step):
                data = os.pread(file.fileno(), min(step, end - offset), offset)
                data += bytes(-len(data) % PAGE)
                first = 0
                while first < len(data):  # write the runs of pages that are not zero
                    if data[first : first + PAGE] == zero_page:
                        first += PAGE
                        continue
                    last = first
                    while last < len(data) and data[last : last + PAGE] != zero_page:
                        last += PAGE
                    layer.write_pages((offset + first) // PAGE, data[first:last])
                    first = last
            position = end

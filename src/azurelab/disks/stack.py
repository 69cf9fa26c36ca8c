"""A stack of layers: which layer owns each page, and reading through it.

Frozen stacks never change, so the owners of a deep one are remembered per chunk: a read of the five-hundredth snapshot
costs what a read of the fifth does. The memory of all stacks together is bounded.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from azurelab.disks.layer import Layer
from azurelab.disks.pages import CHUNK_PAGES, PAGE, Kind, page_span, runs

__all__ = ["FrozenStack", "OwnerCache", "read_through"]

Owners = npt.NDArray[np.uint16]

# Below this depth asking every layer is as cheap as the cache.
_SHALLOW = 4


class OwnerCache:
    """Owners of chunks of deep stacks, least recently used out first. 8 KiB per entry, so 8 MiB in all."""

    def __init__(self, entries: int = 1024) -> None:
        self._entries = entries
        self._kept: OrderedDict[tuple[int, int], Owners] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: tuple[int, int]) -> Owners | None:
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
            return found

    def put(self, key: tuple[int, int], owners: Owners) -> None:
        with self._lock:
            self._kept[key] = owners
            self._kept.move_to_end(key)
            while len(self._kept) > self._entries:
                self._kept.popitem(last=False)


_serial_lock = threading.Lock()
_serial = 0


def _next_serial() -> int:
    """Numbers for stacks that are never used again, unlike `id()`, which would mix up their cached owners."""
    global _serial
    with _serial_lock:
        _serial += 1
        return _serial


class FrozenStack:
    """Immutable layers, lowest first."""

    __slots__ = ("_cache", "_serial", "layers")

    def __init__(self, layers: Sequence[Layer], cache: OwnerCache) -> None:
        self.layers = tuple(layers)
        self._cache = cache
        self._serial = _next_serial()

    def owners(self, first_page: int, end_page: int) -> Owners:
        """Per page 0 where it reads as zeros, else 1 + the index of the layer that holds its bytes."""
        if len(self.layers) <= _SHALLOW:
            return _resolve(self.layers, first_page, end_page)
        parts = []
        for chunk in range(first_page // CHUNK_PAGES, -(-end_page // CHUNK_PAGES)):
            base = chunk * CHUNK_PAGES
            owners = self._cache.get((self._serial, chunk))
            if owners is None:
                owners = _resolve(self.layers, base, base + CHUNK_PAGES)
                self._cache.put((self._serial, chunk), owners)
            parts.append(owners[max(first_page - base, 0) : min(end_page - base, CHUNK_PAGES)])
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def _resolve(layers: Sequence[Layer], first_page: int, end_page: int) -> Owners:
    owners: Owners = np.zeros(end_page - first_page, dtype=np.uint16)
    undecided = np.ones(end_page - first_page, dtype=np.bool_)
    for index in range(len(layers) - 1, -1, -1):
        states = layers[index].states(first_page, end_page)
        if states is None:
            continue
        owners[undecided & (states == Kind.DATA)] = index + 1
        undecided &= states == Kind.UNSET
        if not undecided.any():
            break
    return owners


def read_through(frozen: FrozenStack, top: Layer | None, buffer: memoryview, offset: int) -> None:
    """Fill `buffer` with the bytes at `offset` as the stack shows them. `LayerGone`: the stack is outdated."""
    first_page, end_page = page_span(offset, len(buffer))
    above = top.states(first_page, end_page) if top is not None else None
    if above is None:
        owners = frozen.owners(first_page, end_page)
    elif (above != Kind.UNSET).all():
        owners = np.where(above == Kind.DATA, len(frozen.layers) + 1, 0).astype(np.uint16)
    else:
        below = frozen.owners(first_page, end_page)
        owners = np.where(above == Kind.UNSET, below, np.where(above == Kind.DATA, len(frozen.layers) + 1, 0)).astype(
            np.uint16
        )
    base = first_page * PAGE
    for start, end, owner in runs(owners):
        low = max(base + start * PAGE, offset)
        high = min(base + end * PAGE, offset + len(buffer))
        part = buffer[low - offset : high - offset]
        if owner == 0:
            part[:] = bytes(len(part))
        elif owner == len(frozen.layers) + 1:
            assert top is not None
            top.read_into(part, low)
        else:
            frozen.layers[owner - 1].read_into(part, low)

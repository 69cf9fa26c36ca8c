"""The contract of a source of bytes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from holdfast.disks.model.extents import Extent

__all__ = ["ChangeList", "Reader", "SourceTraits"]


class SourceTraits(NamedTuple):
    """What the engine needs to know of a source before it plans.

    `lanes`: how many threads may usefully read at once. `adaptive`: a network end whose best number is found while
    running, up to `lanes`. `identity`: JSON that changes whenever the bytes may have changed; None: cannot be told, so
    nothing that an earlier run read is believed. `remote`: bytes travel over a network.
    `chain`: the source's own name for this state, from which its next list of changes will count. `forks`: a forked
    process can go on reading it, at offsets and without a position that others move, and what was just read is soon
    read again.
    """

    name: str
    lanes: int = 2
    adaptive: bool = False
    identity: dict[str, Any] | None = None
    remote: bool = False
    chain: str | None = None
    forks: bool = False


class ChangeList(NamedTuple):
    """What a source says has changed between two of its states.

    `since` must equal the chain id in the digest list, else the list of extents is about another pair of states and is
    not used. `now` becomes the list's chain id. Zero extents read as zeros now; data extents must be read.
    """

    since: str
    now: str
    extents: list[Extent]
    kind: str


class Reader(Protocol):
    """A disk that can be read. Methods may be called from several threads at once, but `close` only once at the end.

    A failed read raises ReadFailed (or a WireBroken, AddressExpired …) and leaves the reader usable.
    """

    size_bytes: int
    traits: SourceTraits

    def extents(self, start: int, end: int) -> Iterable[Extent]:
        """Data extents that touch [start, end), sorted, lazily; what is left out reads as zeros."""

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """Fill all of `buffer` with the bytes at `offset`; a short answer is an error, never a short buffer."""

    def done_with(self, start: int, end: int) -> None:
        """The engine will not read this range again: cached pages may go."""

    def identity_now(self) -> dict[str, Any] | None:
        """The identity as it is now, to notice a source that changed under us."""

    def close(self) -> None: ...

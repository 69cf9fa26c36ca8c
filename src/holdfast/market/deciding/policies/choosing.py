"""What every policy answers: which markets are admissible, and in which order they are tried."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.state import Bools
from holdfast.market.deciding.terms import Terms

__all__ = ["Choice", "Policy", "nothing", "share_groups"]


@dataclass(frozen=True)
class Choice:
    """`admissible` [..., N]; `keys`: the greater the better, most important first; equal keys keep the given order."""

    admissible: Bools
    keys: tuple[Floats, ...]

    def best_first(self) -> NDArray[np.intp]:
        """Indices of the markets along the last axis, admissible ones first, best first."""
        return np.lexsort((*(-key for key in reversed(self.keys)), ~self.admissible), axis=-1)

    def best(self) -> NDArray[np.intp]:
        """The best admissible market, −1 where there is none."""
        first = self.best_first()[..., 0]
        return np.where(self.admissible.any(axis=-1), first, -1)

    def preferring(self, *keys: Floats) -> Choice:
        """The same choice with an order of the user's ahead of the policy's. A preference admits nothing."""
        return Choice(self.admissible, (*(np.broadcast_to(k, self.admissible.shape) for k in keys), *self.keys))


class Policy(Protocol):
    """A policy is a value. It sees `Knowledge` and `Terms` and nothing else, so the same object decides live and in
    replay, for one moment or for all ticks of a trace at once.
    """

    @property
    def name(self) -> str: ...

    @property
    def uses_notice(self) -> bool:
        """The eviction notice starts the order: terms with detect = 0."""

    @property
    def uses_context(self) -> bool:
        """Asks for `Knowledge.context_per_hour`; where it does not, nobody needs to compute it."""

    @property
    def starts_on_spot(self) -> bool: ...

    @property
    def returns(self) -> str:
        """always | first (only until it has been on spot once) | never."""

    @property
    def waits_for_the_lost_market(self) -> bool:
        """After an eviction only the lost market is ordered, until it answers."""

    @property
    def attempts(self) -> int:
        """Markets ordered after an eviction before on-demand."""

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        """From on-demand at a probe: where to, among markets that answer now. Staying = nothing admissible."""

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        """After an eviction. The caller leaves out the market that was lost."""


def nothing(known: Knowledge) -> Choice:
    """No market is admissible."""
    return Choice(np.zeros(known.answers.shape, dtype=np.bool_), (-known.price,))


def share_groups(share: Floats, admissible: Bools, band: float) -> Floats:
    """A key that calls shares equal which differ by less than `band`: groups counted down from the best share.

    The best share leads a group of all that are less than `band` below it; the best of the rest leads the next.
    """
    left = admissible.copy()
    key = np.full(share.shape, -np.inf)
    for group in range(share.shape[-1]):
        if not left.any():
            break
        leader = np.where(left, share, -np.inf).max(axis=-1, keepdims=True)
        members = left & (share > leader - band)
        key[members] = -float(group)
        left &= ~members
    return key

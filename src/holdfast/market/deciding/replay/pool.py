"""A pool: some markets on a 1-minute grid, when each answered and what it cost."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import Floats

__all__ = ["MINUTES_PER_DAY", "Pool", "region_of"]

MINUTES_PER_DAY = 1440


@dataclass(frozen=True)
class Pool:
    """`available` [minutes, N] of 0 and 1; `price` [minutes, N] as a fraction of the market's own on-demand price.

    `regions` groups markets whose drops go together. `stays` [minutes, N], optional, is a forecast known at that
    minute: 1 stays up, 0 drops, −1 nothing said.
    """

    name: str
    markets: tuple[str, ...]
    available: NDArray[np.uint8]
    price: Floats
    regions: tuple[str, ...]
    stays: NDArray[np.int8] | None = None

    def __post_init__(self) -> None:
        shape = (len(self.available), len(self.markets))
        if self.available.shape != shape or self.price.shape != shape or len(self.regions) != len(self.markets):
            raise InvalidInput(field=f"pool {self.name}", problem="availability, price and names differ in shape")
        if not shape[0] or not shape[1]:
            raise InvalidInput(field=f"pool {self.name}", problem="a pool needs at least one market and one minute")
        if not np.isfinite(self.price).all() or (self.price < 0).any():
            raise InvalidInput(field=f"pool {self.name}", problem="prices must be finite and not negative")

    @property
    def minutes(self) -> int:
        return len(self.available)

    @property
    def size(self) -> int:
        return len(self.markets)

    def cut(self, start: int, end: int) -> Pool:
        """The minutes [start, end), as a pool of its own."""
        stays = None if self.stays is None else self.stays[start:end]
        return Pool(self.name, self.markets, self.available[start:end], self.price[start:end], self.regions, stays)

    def next_down(self) -> NDArray[np.int64]:
        """[minutes + 1, N]: the next minute ≥ t at which a market is down, `minutes` where it stays up to the end."""
        count = self.minutes
        down = np.where(self.available == 0, np.arange(count)[:, None], count)
        ahead = np.minimum.accumulate(down[::-1], axis=0)[::-1]
        return np.vstack([ahead, np.full((1, self.size), count)]).astype(np.int64)


def region_of(market: str) -> str:
    """The zone without its letter: us-west-2a_v100_1 → us-west-2, us-central1-b_v100_1 → us-central1.

    A name without that shape is its own region; its siblings are then all other markets of the pool.
    """
    zone = market.rsplit("/", 1)[-1].split("_", 1)[0]
    found = re.fullmatch(r"(.*\d)-?[a-z]", zone)
    return found[1] if found else zone

"""Azure's on-demand prices of one day, so that a cost can be shown before any cloud or price endpoint is connected.

Linux, USD per hour, 57 regions; from an Apache-2.0 table (NOTICE and LICENSE beside it). It has no spot prices: those
are unknown until a price endpoint tells them.
"""

from __future__ import annotations

import gzip
from dataclasses import replace
from functools import lru_cache
from importlib.resources import files

from holdfast.market.deciding.sizes.prices import PriceBook, read_price_book

__all__ = ["DATED", "bundled_on_demand"]

DATED = "2026-06-18"


@lru_cache(maxsize=4)
def bundled_on_demand(location: str, operating_system: str = "linux") -> PriceBook:
    """The table's prices for one region; empty, which reads as unknown, for Windows and for regions it lacks."""
    raw = files(__name__).joinpath(f"azure_{DATED}.csv.gz").read_bytes()
    book = read_price_book(gzip.decompress(raw).decode(), location, operating_system)
    return replace(book, dated=DATED if book.on_demand else "unknown")

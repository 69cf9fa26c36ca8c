"""Which markets an import tries, in which order. Pure.

Cheapest known spot price among the qualifying sizes (preferred ones first), the machine's own size before sizes whose
price is not known, then on-demand in the order of the list. The next one is tried when a market has no capacity.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.imports.options import Priority
from holdfast.imports.plan import LaunchMarket
from holdfast.market.deciding.sizes import PriceBook, Qualified

__all__ = ["markets_in_order"]

SPOT_TRIES = 10  # a refused try costs seconds of downtime; after ten the region has no spot for this machine


def markets_in_order(
    spot: Sequence[Qualified],
    on_demand: Sequence[Qualified],
    *,
    own_size: str,
    on_demand_order: Sequence[str],
    zones: Sequence[str],
    prices: PriceBook,
    priority: Priority,
    fall_back: bool,
) -> tuple[LaunchMarket, ...]:
    """zones: those that the disks can be in, most wanted first; empty = no zone."""
    cheap = sorted(spot, key=lambda q: _spot_rank(q, own_size, prices))[:SPOT_TRIES]
    listed = [name.lower() for name in on_demand_order]
    safe = sorted(on_demand, key=lambda q: listed.index(q.size.name.lower()) if q.size.name.lower() in listed else 999)
    out: list[LaunchMarket] = []
    if priority is Priority.SPOT:
        out += [LaunchMarket(q.size.name, zone, True, prices.spot_per_hour(q.size.name))
                for q in cheap for zone in _places(q, zones)]  # fmt: skip
    if priority is Priority.REGULAR or fall_back:
        out += [LaunchMarket(q.size.name, zone, False, prices.on_demand_per_hour(q.size.name))
                for q in safe for zone in _places(q, zones)]  # fmt: skip
    return tuple(out)


def _spot_rank(q: Qualified, own_size: str, prices: PriceBook) -> tuple[bool, bool, float, bool, str]:
    price = prices.spot_per_hour(q.size.name)
    is_own = q.size.name.lower() == own_size.lower()
    return (not q.preferred, price is None, price or 0.0, not is_own, q.size.name)


def _places(q: Qualified, zones: Sequence[str]) -> Sequence[str | None]:
    if not zones:
        return [None] if q.regional else []
    return [zone for zone in zones if zone in q.zones]

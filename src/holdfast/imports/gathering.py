"""Everything that a plan is made from, read from the cloud in one go. Read calls only."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from holdfast.clouds.protocols import Cloud, Facts, Price
from holdfast.core.errors import Refused, Retry
from holdfast.core.tags import Owner
from holdfast.imports.options import ImportOptions
from holdfast.imports.permissions import needed_actions
from holdfast.market.deciding.sizes import PriceBook, Quota, Size, sizes_from_azure_skus
from holdfast.market.deciding.sizes.azure_quota import quota_of

__all__ = ["Inputs", "OwnSizeUnknown", "gather"]


class OwnSizeUnknown(Refused):
    """The cloud does not describe the machine's size any more: nothing can be compared with it."""

    code, retry = "import.own_size_unknown", Retry.AFTER_CHANGE
    text = "Azure does not list the machine's size {size} in {location}; it may be retired."
    remedy = "Resize the machine to a listed size first."


@dataclass(frozen=True)
class Inputs:
    """What the pure planning needs to know."""

    cloud: str
    us: Owner
    now: datetime
    facts: Facts
    own_size: Size
    sizes: tuple[Size, ...]
    prices: PriceBook
    quota: Quota
    missing_permissions: tuple[str, ...]
    exists: Callable[[str], bool]  # whether a resource of that id is there; one read
    prices_read: tuple[Price, ...] = ()  # all of the region, of every system


def gather(cloud: Cloud, machine: str, options: ImportOptions, us: Owner, now: datetime) -> Inputs:
    """Raises NotFound when there is no such machine."""
    facts = cloud.describe(machine)
    location = str(facts.machine.body["location"])
    sizes = _sizes(cloud.sizes(location), location)
    own_name = str(facts.machine.get("properties.hardwareProfile.vmSize", ""))
    own = next((size for size in sizes if size.name.lower() == own_name.lower()), None)
    if own is None:
        raise OwnSizeUnknown(size=own_name, location=location)
    actions = needed_actions(options, facts)
    group = facts.machine.ref[: facts.machine.ref.lower().index("/providers/")]
    os = str(facts.machine.get("properties.storageProfile.osDisk.osType", "Linux"))
    prices = tuple(cloud.prices(location))
    return Inputs(
        cloud=cloud.name,
        us=us,
        now=now,
        facts=facts,
        own_size=own,
        sizes=sizes,
        prices=_book(prices, os),
        quota=quota_of((entry.name, entry.used, entry.limit) for entry in cloud.headroom(location)),
        missing_permissions=tuple(cloud.missing_permissions(group, actions)),
        exists=lambda ref: cloud.read(ref) is not None,
        prices_read=prices,
    )


_SIZES: OrderedDict[tuple[int, str], tuple[Sequence[dict[str, Any]], tuple[Size, ...]]] = OrderedDict()
_SIZES_KEPT = 32


def _sizes(skus: Sequence[dict[str, Any]], location: str) -> tuple[Size, ...]:
    """A cloud gives the same list for minutes; it is parsed once. The list is kept, so that its id stays its own.

    Two threads that miss at once parse it twice; that is all.
    """
    key = (id(skus), location)
    kept = _SIZES.get(key)
    if kept is None:
        kept = _SIZES[key] = (skus, tuple(sizes_from_azure_skus(list(skus), location)))
        while len(_SIZES) > _SIZES_KEPT:
            _SIZES.popitem(last=False)
    return kept[1]


def _book(prices: object, os: str) -> PriceBook:
    spot: dict[str, float] = {}
    on_demand: dict[str, float] = {}
    dated = ""
    for price in prices if isinstance(prices, (list, tuple)) else ():
        if isinstance(price, Price) and price.os.lower() == os.lower():
            (spot if price.spot else on_demand)[price.size.lower()] = price.usd_per_hour
            dated = max(dated, price.read_at.date().isoformat())
    return PriceBook(spot, on_demand, dated or "unknown")

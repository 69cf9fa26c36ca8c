"""What an import will take and cost, as far as it can be known before. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.clouds.protocols import Power
from holdfast.imports.gathering import Inputs
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource
from holdfast.imports.plan import Downtime, LaunchMarket, PriceChange
from holdfast.market.deciding.sizes.prices import HOURS_PER_MONTH

__all__ = ["downtime_of", "price_change"]

# Seconds that Azure's operations took in recorded traffic, (least, median): azure.md section 4.
_DEALLOCATE = (23, 41)
_SNAPSHOT = (1, 1)
_NEW_DISK = (1, 1)
_DELETE_OBJECT = (1, 10)
_CREATE = (1, 11)
_BOOT = (20, 45)  # a usual Linux guest on Azure, from the end of creation to the agent's first word


_CONVERT = (30, 120)  # not in the recordings: what Azure's guide calls "a few minutes", most of it the start after


def downtime_of(options: ImportOptions, *, power: Power, converts: bool = False) -> Downtime:
    """From the stop of the guest to the successor answering. A machine that is off has none."""
    if power is not Power.RUNNING:
        return Downtime(0, 0, {})
    parts = {"stop": _DEALLOCATE}
    if converts:
        parts["convert to managed disks"] = _CONVERT
    parts["final snapshots"] = _SNAPSHOT
    if options.disks is DiskSource.SNAPSHOT:
        parts["disks from snapshots"] = _NEW_DISK
    if options.network is NetworkSource.KEEP or options.disks is DiskSource.REATTACH:
        parts["delete the machine object"] = _DELETE_OBJECT
    parts |= {"create the machine": _CREATE, "boot": _BOOT}
    return Downtime(
        least_s=sum(least for least, _ in parts.values()),
        usual_s=sum(usual for _, usual in parts.values()),
        parts={name: usual for name, (_, usual) in parts.items()},
    )


def price_change(inputs: Inputs, markets: Sequence[LaunchMarket]) -> PriceChange:
    """Per month of 730 h. What the machine costs now depends on its own priority."""
    own = inputs.own_size.name
    is_spot = str(inputs.facts.machine.get("properties.priority", "Regular")).lower() == "spot"
    before = inputs.prices.spot_per_hour(own) if is_spot else inputs.prices.on_demand_per_hour(own)
    spot = next((market.usd_per_hour for market in markets if market.spot), None)
    on_demand = next((market.usd_per_hour for market in markets if not market.spot), None)
    return PriceChange(_month(before), _month(spot), _month(on_demand))


def _month(per_hour: float | None) -> float | None:
    return None if per_hour is None else round(per_hour * HOURS_PER_MONTH, 2)

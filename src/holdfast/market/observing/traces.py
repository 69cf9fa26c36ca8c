"""Read public launch-probe traces and price histories into pools. Reads files only; nothing of them is in the product.

Availability: `<zone>_<gpu>_<count>.json` = `{"metadata": {"gap_seconds": s}, "data": [n, n, …]}`, n > 0 when a launch
probe would have got an instance. Prices: `<region>/<type>.json` with a `SpotPriceHistory` of events of all zones.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from holdfast.core.clock import parse_utc
from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.replay.pool import region_of
from holdfast.market.observing.grids import held, minute_availability

__all__ = ["Series", "price_of", "read_series"]

LONGEST_GAP_S = 7 * 86400.0  # samples further apart are no watch of a market
# On-demand, USD per hour, when the price histories were recorded (AWS, US regions, Linux, early 2020).
_TYPES = {
    ("k80", 1): ("p2.xlarge", 0.90),
    ("k80", 8): ("p2.8xlarge", 7.20),
    ("v100", 1): ("p3.2xlarge", 3.06),
    ("v100", 8): ("p3.16xlarge", 24.48),
}


@dataclass(frozen=True)
class Series:
    """One market's availability on the 1-minute grid."""

    market: str  # the file's name without .json
    available: NDArray[np.uint8]

    @property
    def zone(self) -> str:
        return self.market.split("_", 1)[0]

    @property
    def region(self) -> str:
        return region_of(self.market)


def read_series(path: Path) -> Series:
    """One availability file. The last sample is held for its gap as well, so n samples last n·gap seconds."""
    told = _read(path)
    try:
        gap_s, data = float(told["metadata"]["gap_seconds"]), told["data"]
    except (KeyError, TypeError, ValueError) as exc:
        raise InvalidInput(field=str(path), problem="expected metadata.gap_seconds and a list named data") from exc
    if not 1 <= gap_s <= LONGEST_GAP_S or not isinstance(data, list) or not data:
        raise InvalidInput(field=str(path), problem="expected a gap of 1 second to 1 week and at least one sample")
    if not all(isinstance(sample, (int, float)) for sample in data):
        raise InvalidInput(field=str(path), problem="every sample must be a number of instances")
    up = np.asarray(data, dtype=np.float64) > 0
    minutes = math.ceil(len(data) * gap_s / 60.0 - 1e-9)
    return Series(
        path.stem, minute_availability(np.arange(len(data), dtype=np.float64) * np.float64(gap_s), up, minutes)
    )


def price_of(series: Series, traces: Path) -> Floats:
    """The price of the same type and zone, as a fraction of on-demand, from the first minute of the trace on.

    All zones of a type start together at the earliest event of their file, and repeat from their start. A zone whose
    price stays at on-demand offered no spot then: it, like a zone without a history, takes the mean of the region's
    other zones.
    """
    kind, on_demand = _type_of(series.market)
    minutes = len(series.available)
    path = _price_file(traces, series.region, kind)
    if path is None:
        raise InvalidInput(
            field=series.market,
            problem=f"there is no price history {series.region}/{kind}.json under {traces / 'prices'}; "
            "give the pool a constant price",
        )
    zones, period_s = _zones(path)
    offered = {zone: events for zone, events in zones.items() if events[1].min() < on_demand * (1 - 1e-9)}
    if series.zone in offered:
        return held(*offered[series.zone], minutes, period_s) / on_demand
    others = [held(*events, minutes, period_s) for zone, events in sorted(offered.items())]
    if not others:
        raise InvalidInput(field=series.market, problem=f"no zone of {path} was sold below on-demand")
    return np.asarray(np.mean(others, axis=0) / on_demand)


def _type_of(market: str) -> tuple[str, float]:
    parts = market.split("_")
    try:
        return _TYPES[parts[1].lower(), int(parts[2])]
    except (IndexError, ValueError, KeyError) as exc:
        raise InvalidInput(
            field=market, problem="which instance type this is cannot be told from its name; give the pool a price"
        ) from exc


def _price_file(traces: Path, region: str, kind: str) -> Path | None:
    root = traces / "prices"
    return next(iter(sorted(root.glob(f"**/{region}/{kind}.json"))), None) if root.is_dir() else None


@lru_cache(maxsize=32)
def _zones(path: Path) -> tuple[dict[str, tuple[Floats, Floats]], float]:
    """Events by zone as (seconds from the file's earliest event, USD), and the seconds after which they repeat."""
    entries = _read(path).get("SpotPriceHistory")
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(field=str(path), problem="expected a list named SpotPriceHistory")
    try:
        linux = [e for e in entries if e.get("ProductDescription", "Linux/UNIX") == "Linux/UNIX"] or entries
        events = sorted(
            (parse_utc(e["Timestamp"]).timestamp(), str(e["AvailabilityZone"]), float(e["SpotPrice"])) for e in linux
        )
    except (KeyError, ValueError, TypeError, AttributeError) as exc:
        problem = f"an event lacks Timestamp, AvailabilityZone or SpotPrice, or has it wrong: {exc}"
        raise InvalidInput(field=str(path), problem=problem) from exc
    start, end = events[0][0], events[-1][0]
    zones: dict[str, tuple[list[float], list[float]]] = {}
    for at, zone, price in events:
        times, prices = zones.setdefault(zone, ([], []))
        times.append(at - start)
        prices.append(price)
    return {z: (np.array(t), np.array(p)) for z, (t, p) in zones.items()}, end - start


def _read(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(path.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as exc:
        raise InvalidInput(field=str(path), problem=f"cannot be read: {exc}") from exc
    if not isinstance(told, dict):
        raise InvalidInput(field=str(path), problem="expected a JSON object")
    return told

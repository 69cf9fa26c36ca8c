"""Which pools a folder of traces holds: those that a file names, or one for each collection and region."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool, region_of
from holdfast.market.observing.traces import Series, price_of, read_series

__all__ = ["find_pools", "pools_from_file"]

_FIELDS = {"name", "series", "from_day", "to_day", "price"}


def pools_from_file(text: str, traces: Path) -> list[Pool]:
    """A JSON list of `{"name", "series": [path, …], "from_day", "to_day", "price"}`; all but series optional.

    Paths are relative to `traces`; days count from the start of the trace, [from_day, to_day), fractions allowed.
    `price` is a constant fraction of on-demand; without it the price histories under `traces/prices` count.
    """
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidInput(field="--pools", problem=f"not JSON: {exc}") from exc
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(field="--pools", problem="expected a list of pools with at least one")
    return [_pool(entry, number, traces) for number, entry in enumerate(entries)]


def find_pools(traces: Path) -> list[Pool]:
    """One pool for each collection (folder) and region under `traces/availability`, or under `traces` itself."""
    root = traces / "availability" if (traces / "availability").is_dir() else traces
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    for path in sorted(root.glob("**/*.json")):
        if "prices" in path.relative_to(traces).parts[:-1]:
            continue
        groups[path.parent.name, region_of(path.stem)].append(path)
    if not groups:
        raise InvalidInput(field="--traces", problem=f"{traces} holds no availability series (*.json)")
    return [
        pool_of(f"{collection} {region}", [read_series(p) for p in paths], traces)
        for (collection, region), paths in sorted(groups.items())
    ]


def pool_of(name: str, series: list[Series], traces: Path, price: float | None = None) -> Pool:
    """Series side by side, as long as the shortest of them."""
    minutes = min(len(s.available) for s in series)
    columns = [np.full(minutes, float(price)) if price is not None else price_of(s, traces)[:minutes] for s in series]
    return Pool(
        name=name,
        markets=tuple(s.market for s in series),
        available=np.stack([s.available[:minutes] for s in series], axis=1),
        price=np.stack(columns, axis=1),
        regions=tuple(s.region for s in series),
    )


def _pool(entry: Any, number: int, traces: Path) -> Pool:
    if not isinstance(entry, dict):
        raise InvalidInput(field=f"--pools[{number}]", problem="expected an object")
    name = str(entry.get("name") or f"pool {number + 1}")
    unknown = sorted(set(entry) - _FIELDS)
    if unknown:
        raise InvalidInput(field=f"--pools {name}.{unknown[0]}", problem="this field is not known")
    paths = entry.get("series")
    if not isinstance(paths, list) or not paths or not all(isinstance(p, str) for p in paths):
        raise InvalidInput(field=f"--pools {name}.series", problem="expected a list of paths with at least one")
    price = entry.get("price")
    if price is not None and (isinstance(price, bool) or not isinstance(price, (int, float)) or price < 0):
        raise InvalidInput(field=f"--pools {name}.price", problem="expected a fraction of on-demand, such as 0.3")
    whole = pool_of(name, [read_series(traces / p) for p in paths], traces, price)
    begin, end = _minute(entry, "from_day", 0, name), _minute(entry, "to_day", whole.minutes, name)
    if not begin < min(end, whole.minutes):
        raise InvalidInput(
            field=f"--pools {name}.from_day", problem=f"no minute lies in the days asked for; there are {whole.minutes}"
        )
    return whole.cut(begin, min(end, whole.minutes))


def _minute(entry: dict[str, Any], field: str, default: int, name: str) -> int:
    value = entry.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise InvalidInput(field=f"--pools {name}.{field}", problem="expected a number of days from the trace's start")
    return round(value * MINUTES_PER_DAY)

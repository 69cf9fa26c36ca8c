"""Which pools a folder of traces holds: those that a file names, or one for each collection and region."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool, region_of
from holdfast.market.observing.history import FORMAT, pools_of_history, read_rows
from holdfast.market.observing.traces import Series, price_of, read_series

__all__ = ["find_pools", "pools_from_file"]

_FIELDS = {"name", "series", "from_day", "to_day", "price"}


def pools_from_file(text: str, traces: Path, forecast: str | None = None) -> list[Pool]:
    """A JSON list of `{"name", "series": [path, …], "from_day", "to_day", "price"}`; all but series optional.

    Paths are relative to `traces`; days count from the start of the trace, [from_day, to_day), fractions allowed.
    `price` is a constant fraction of on-demand; without it the price histories under `traces/prices` count. A single
    path may be a history file of one region, which brings its own prices.
    """
    try:
        entries = json.loads(text)
    except json.JSONDecodeError as exc:
        raise InvalidInput(field="--pools", problem=f"not JSON: {exc}") from exc
    if not isinstance(entries, list) or not entries:
        raise InvalidInput(field="--pools", problem="expected a list of pools with at least one")
    return [_pool(entry, number, traces, forecast) for number, entry in enumerate(entries)]


def find_pools(traces: Path, forecast: str | None = None) -> list[Pool]:
    """One pool for each collection and region under `traces/availability`, or under `traces` itself.

    A collection is a folder of availability series, or one history file (`history.py`). `forecast` names a column of
    the histories.
    """
    root = traces / "availability" if (traces / "availability").is_dir() else traces
    groups: dict[tuple[str, str], list[Path]] = defaultdict(list)
    pools: list[Pool] = []
    for path in sorted(p for p in root.glob("**/*") if p.suffix in (".json", ".csv")):
        if "prices" in path.relative_to(traces).parts[:-1]:
            continue
        if _is_history(path):
            pools += _history(path, forecast)
        else:
            groups[path.parent.name, region_of(path.stem)].append(path)
    pools += [
        pool_of(f"{collection} {region}", [read_series(p) for p in paths], traces)
        for (collection, region), paths in sorted(groups.items())
    ]
    if not pools:
        raise InvalidInput(field="--traces", problem=f"{traces} holds no availability series and no history")
    return pools


def _is_history(path: Path) -> bool:
    if path.suffix == ".csv":
        return True
    with path.open("rb") as head:
        return FORMAT.encode() in head.read(200)


def _history(path: Path, forecast: str | None, price: float | None = None) -> list[Pool]:
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(field=str(path), problem=f"cannot be read: {exc}") from exc
    return pools_of_history(read_rows(text, path.name), path.stem, forecast, price)


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


def _pool(entry: Any, number: int, traces: Path, forecast: str | None) -> Pool:
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
    if price is not None and (
        isinstance(price, bool) or not isinstance(price, (int, float)) or not 0 <= price < float("inf")
    ):
        raise InvalidInput(field=f"--pools {name}.price", problem="expected a fraction of on-demand, such as 0.3")
    files = [traces / p for p in paths]
    missing = next((f for f in files if not f.is_file()), None)
    if missing is not None:
        raise InvalidInput(field=f"--pools {name}.series", problem=f"there is no file {missing}")
    if len(files) > 1 and any(_is_history(f) for f in files):
        raise InvalidInput(field=f"--pools {name}.series", problem="a history file is a pool of its own: name it alone")
    if len(files) == 1 and _is_history(files[0]):
        whole = _only_region(_history(files[0], forecast, price), name)
    else:
        whole = pool_of(name, [read_series(f) for f in files], traces, price)
    begin, end = _minute(entry, "from_day", 0, name), _minute(entry, "to_day", whole.minutes, name)
    if not begin < min(end, whole.minutes):
        raise InvalidInput(
            field=f"--pools {name}.from_day", problem=f"no minute lies in the days asked for; there are {whole.minutes}"
        )
    return whole.cut(begin, min(end, whole.minutes))


def _only_region(pools: list[Pool], name: str) -> Pool:
    if len(pools) != 1:
        raise InvalidInput(field=f"--pools {name}.series", problem=f"the history has {len(pools)} regions, not one")
    return replace(pools[0], name=name)


def _minute(entry: dict[str, Any], field: str, default: int, name: str) -> int:
    value = entry.get(field)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise InvalidInput(field=f"--pools {name}.{field}", problem="expected a number of days from the trace's start")
    return round(value * MINUTES_PER_DAY)

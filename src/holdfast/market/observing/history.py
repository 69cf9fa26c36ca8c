"""A history that anybody can write: one row per look at a market. CSV, or JSON with the same rows.

Columns: `time` (RFC 3339 with offset), `region`, `size`, `zone` (empty: none), `available` (1 or 0), `price` (spot, as
a fraction of on-demand; or `spot_price` and `on_demand_price` in one currency); any other column may hold a forecast
(1 stays, 0 drops, empty: nothing said). JSON: `{"format": "holdfast-market-history", "version": 1, "rows": [{…}]}`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from holdfast.core.clock import format_utc, parse_utc
from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.replay.pool import MINUTES_PER_DAY, Pool
from holdfast.market.observing.grids import held, minute_availability

__all__ = ["COLUMNS", "FORMAT", "pools_of_history", "read_rows", "rows_of_pool", "write_csv", "write_json"]

FORMAT = "holdfast-market-history"
MOST_DAYS = 3660  # ten years of minutes are 42 MB for each market; a wrong century in one row is not worth more
COLUMNS = ("time", "region", "size", "zone", "available", "price")

Row = Mapping[str, Any]


def read_rows(text: str, source: str) -> list[Row]:
    """Rows of a CSV or JSON history. Raises InvalidInput that names the file and what is missing."""
    if text.lstrip()[:1] in ("{", "["):
        try:
            told = json.loads(text)
        except ValueError as exc:
            raise InvalidInput(field=source, problem=f"is not JSON: {exc}") from exc
        if (
            not isinstance(told, dict)
            or told.get("format") != FORMAT
            or told.get("version") != 1
            or not isinstance(told.get("rows"), list)
        ):
            raise InvalidInput(field=source, problem=f"expected format {FORMAT}, version 1 and a list named rows")
        return list(told["rows"])
    reader = csv.DictReader(io.StringIO(text))
    missing = {"time", "available"} - set(reader.fieldnames or ())
    if missing:
        raise InvalidInput(field=source, problem=f"the history lacks the column {sorted(missing)[0]}")
    return list(reader)


def pools_of_history(
    rows: Sequence[Row], source: str, forecast: str | None = None, price: float | None = None
) -> list[Pool]:
    """One pool for each region. All markets start at the region's earliest row and end at its latest.

    `price`: a constant fraction of on-demand instead of the rows' own. Raises InvalidInput for rows without a price: a
    price that is not known is not 0, and a replay needs one.
    """
    regions: dict[str, dict[str, list[tuple[float, Row]]]] = {}
    for number, row in enumerate(rows, start=1):
        try:
            at = parse_utc(str(row["time"])).timestamp()
            if int(row["available"]) not in (0, 1):
                raise ValueError(f"available is {row['available']}, not 1 or 0")
        except (KeyError, ValueError, TypeError) as exc:
            problem = f"lacks {exc}" if isinstance(exc, KeyError) else f"time or available is wrong: {exc}"
            raise InvalidInput(field=f"{source} row {number}", problem=problem) from exc
        market = "_".join(str(row[k]) for k in ("zone", "size") if row.get(k)) or "market"
        regions.setdefault(str(row.get("region") or "region"), {}).setdefault(market, []).append((at, row))
    if not regions:
        raise InvalidInput(field=source, problem="the history has no rows")
    return [_pool(source, region, markets, forecast, price) for region, markets in sorted(regions.items())]


def _pool(
    source: str,
    region: str,
    markets: dict[str, list[tuple[float, Row]]],
    forecast: str | None,
    constant: float | None,
) -> Pool:
    for looks in markets.values():
        looks.sort(key=lambda look: look[0])
    start = min(looks[0][0] for looks in markets.values())
    end = max(looks[-1][0] for looks in markets.values())
    minutes = int((end - start) // 60) + 1
    if minutes > MOST_DAYS * MINUTES_PER_DAY:
        problem = (
            f"the rows of {region} span {minutes // MINUTES_PER_DAY:,} days, more than {MOST_DAYS:,}: a time is wrong"
        )
        raise InvalidInput(field=source, problem=problem)
    names = sorted(markets)
    up, price, stays = [], [], []
    for name in names:
        at_s = np.array([at - start for at, _ in markets[name]])
        rows = [row for _, row in markets[name]]
        answers = np.array([int(r["available"]) > 0 for r in rows])
        up.append(minute_availability(at_s, answers, minutes))
        told = [_price(r, f"{source} {name}") if constant is None else float(constant) for r in rows]
        price.append(held(at_s, np.array(told), minutes))
        if forecast is not None:
            said = np.array([_said(r, forecast, f"{source} {name}") for r in rows], dtype=np.float64)
            stays.append(held(at_s, said, minutes))
    return Pool(
        name=f"{source} {region}",
        markets=tuple(names),
        available=np.stack(up, axis=1),
        price=np.stack(price, axis=1),
        regions=(region,) * len(names),
        stays=np.stack(stays, axis=1).astype(np.int8) if stays else None,
    )


def _price(row: Row, where: str) -> float:
    try:
        if row.get("price") not in (None, ""):
            return float(row["price"])
        return float(row["spot_price"]) / float(row["on_demand_price"])
    except (KeyError, ValueError, TypeError, ZeroDivisionError) as exc:
        raise InvalidInput(
            field=where, problem="a row has neither price nor spot_price and on_demand_price as numbers"
        ) from exc


def _said(row: Row, column: str, where: str) -> float:
    if column not in row:
        raise InvalidInput(field="--forecast", problem=f"{where} has no column {column}")
    value = row[column]
    if value in (None, ""):
        return -1.0
    if str(value) not in ("0", "1"):
        raise InvalidInput(field="--forecast", problem=f"{where}: {column} must be 1 (stays), 0 (drops) or empty")
    return float(value)


def rows_of_pool(pool: Pool, start: datetime | None = None) -> Iterator[dict[str, Any]]:
    """A pool as history: a row for each market at the first minute, at each change, and at the last minute."""
    start = start or datetime(2026, 1, 1, tzinfo=UTC)
    for m, market in enumerate(pool.markets):
        zone, _, size = market.partition("_")
        for minute in _changes(pool.available[:, m], pool.price[:, m]):
            yield {
                "time": format_utc(start + timedelta(minutes=int(minute))),
                "region": pool.regions[m],
                "size": size,
                "zone": zone,
                "available": int(pool.available[minute, m]),
                "price": round(float(pool.price[minute, m]), 6),
            }


def _changes(up: NDArray[np.uint8], price: Floats) -> NDArray[np.intp]:
    changed = np.flatnonzero((np.diff(up.astype(np.int8)) != 0) | (np.diff(price) != 0)) + 1
    return np.unique(np.concatenate([[0], changed, [len(up) - 1]]))


def write_csv(rows: Iterable[Row], into: TextIO) -> int:
    """Returns the number of rows."""
    rows = list(rows)
    extra = sorted({key for row in rows for key in row} - set(COLUMNS))
    writer = csv.DictWriter(into, [*COLUMNS, *extra], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return len(rows)


def write_json(rows: Iterable[Row], into: TextIO) -> int:
    """Returns the number of rows."""
    kept = [dict(r) for r in rows]
    json.dump({"format": FORMAT, "version": 1, "rows": kept}, into, indent=1)
    into.write("\n")
    return len(kept)

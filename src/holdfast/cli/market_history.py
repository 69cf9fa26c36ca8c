"""`market export-history` and `market signals`: writing files and tables of what was seen."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.observing.history import rows_of_pool, write_csv, write_json

__all__ = ["export_pools", "export_recorded", "print_signals", "write_rows"]


def export_pools(pools: list[Pool], region: str | None, out: Path | None) -> int:
    """Write pools as a history. Returns the number of rows."""
    rows = [row for pool in pools for row in rows_of_pool(pool) if region in (None, row["region"])]
    if not rows:
        raise InvalidInput(field="--region", problem=f"no market there is in {region}")
    return write_rows(rows, out)


def export_recorded(rows: list[dict[str, Any]], out: Path | None, note: Callable[[str], None]) -> int:
    """Write what was recorded, and say what a replay will miss. Returns the number of rows."""
    if not rows:
        note("Nothing of that was recorded; only the header is written.")
    unpriced = sorted({f"{row['size']} in {row['region']}" for row in rows if row["price"] == ""})
    if unpriced:
        note(
            f"No price is known of {', '.join(unpriced[:3])}{' …' if len(unpriced) > 3 else ''}: a replay needs one; "
            "give the pool a constant price with --pools, or fill the column."
        )
    return write_rows(rows, out)


def write_rows(rows: list[dict[str, Any]], out: Path | None) -> int:
    """The format follows the file's ending."""
    if out is None:
        return write_csv(rows, sys.stdout)
    if out.suffix not in (".csv", ".json"):
        raise InvalidInput(field="--out", problem=f"{out} ends neither in .csv nor in .json")
    try:
        with out.open("w", encoding="utf-8", newline="") as into:
            return write_csv(rows, into) if out.suffix == ".csv" else write_json(rows, into)
    except OSError as exc:
        raise InvalidInput(field="--out", problem=f"cannot write {out}: {exc.strerror}") from exc


def print_signals(told: list[dict[str, Any]], console: Console | None = None) -> None:
    """One row for each signal; what the error rate is not yet known for says so."""
    console = console or Console()
    table = Table(title="Signals from outside, over the next hour; below .40 they are used", title_justify="left")
    table.add_column("signal", no_wrap=True)
    for name in ("words", "judged", "stays,\nwrong of", "drops,\nwrong of", "error", "used"):
        table.add_column(name, justify="right")
    for row in told:
        stays = row["said_stays_stayed"] + row["said_stays_dropped"]
        drops = row["said_drops_stayed"] + row["said_drops_dropped"]
        table.add_row(
            row["signal"],
            str(row["words"]),
            str(row["judged"]),
            f"{row['said_stays_dropped']}/{stays}",
            f"{row['said_drops_stayed']}/{drops}",
            f"{row['error_rate']:.2f}" if row["judged"] else "unknown",
            "yes" if row["earned"] else "no",
        )
    console.print(table)

"""`market replay`: reading options, showing progress, printing. Needs no server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.policies import policy as policy_by_name
from holdfast.market.deciding.replay.benchmark import Benchmark, run_benchmark, work_of
from holdfast.market.deciding.replay.pool import Pool
from holdfast.market.deciding.replay.replaying import Setting
from holdfast.market.deciding.state import Forgetting
from holdfast.market.deciding.terms import Terms
from holdfast.market.observing.pools import find_pools, pools_from_file

__all__ = ["DEFAULT_POLICIES", "print_benchmark", "read_downtime", "read_pools", "read_window", "run_replay"]

DEFAULT_POLICIES = ("on-demand", "documented", "p1", "p3", "p5")


def read_downtime(text: str) -> tuple[int, int]:
    """`15/5` = 15 minutes unplanned, 5 planned; `5` = 5/5."""
    parts = text.split("/")
    if len(parts) > 2 or not all(p.strip().isdigit() for p in parts):
        raise InvalidInput(field="--downtime", problem=f"'{text}' is not whole minutes such as 5 or 15/5")
    minutes = [int(p) for p in parts]
    return minutes[0], minutes[-1]


def read_window(text: str | None) -> tuple[int, int] | None:
    """`02:00-06:00` = minutes of the trace's day in which planned moves are allowed."""
    if text is None:
        return None
    found = re.fullmatch(r"(\d{1,2}):([0-5]\d)-(\d{1,2}):([0-5]\d)", text.strip())
    if found is None:
        raise InvalidInput(field="--window", problem=f"'{text}' is not a span such as 02:00-06:00")
    hours = [int(part) for part in found.groups()]
    begin, end = hours[0] * 60 + hours[1], hours[2] * 60 + hours[3]
    if not (begin < 1440 and end <= 1440 and begin != end):
        raise InvalidInput(field="--window", problem=f"'{text}' is not inside a day")
    return begin, end


def read_pools(traces: Path, pools: Path | None, forecast: str | None) -> list[Pool]:
    if not traces.is_dir():
        raise InvalidInput(field="--traces", problem=f"there is no folder {traces}")
    if pools is None:
        return find_pools(traces, forecast)
    try:
        text = pools.read_text()
    except (OSError, UnicodeDecodeError) as exc:
        raise InvalidInput(field="--pools", problem=f"cannot read {pools}: {exc}") from exc
    return pools_from_file(text, traces, forecast)


def run_replay(
    traces: Path,
    pools: Path | None,
    names: list[str],
    lam: float,
    downtime: str,
    detect: int,
    probe: int,
    window: str | None,
    forget: bool,
    forecast: str | None,
    forecast_horizon: float,
    forecast_error: float | None,
    as_json: bool,
    plot: Path | None,
) -> Benchmark:
    """Check everything, replay, print, and write the plot."""
    unplanned, planned = read_downtime(downtime)
    if probe < 1:
        raise InvalidInput(field="--probe", problem="markets are probed every 1 minute or more seldom")
    if detect < 0:
        raise InvalidInput(field="--detect", problem="minutes must not be negative")
    if not 1 <= forecast_horizon < float("inf"):
        raise InvalidInput(field="--forecast-horizon", problem="a forecast is about 1 minute or more")
    if forecast_error is not None and not 0 <= forecast_error <= 0.5:
        raise InvalidInput(field="--forecast-error", problem="expected an error rate in 0..0.5")
    setting = Setting(
        terms=Terms(lam, unplanned, planned, detect),
        probe_min=probe,
        window=read_window(window),
        forgetting=Forgetting() if forget else None,
        forecast_horizon_min=forecast_horizon if forecast is not None else None,
        forecast_error=forecast_error,
    )
    policies = [policy_by_name(name) for name in dict.fromkeys(names or DEFAULT_POLICIES)]
    if plot is not None:
        from holdfast.market.picturing.figure import check_plot_file

        check_plot_file(plot)
    found = read_pools(traces, pools, forecast)
    if forecast is not None and all(p.stays is None for p in found):
        raise InvalidInput(field="--forecast", problem=f"no history here has a column {forecast}")
    with _progress("replaying", work_of(found, setting)) as advance:
        result = run_benchmark(found, policies, setting, advance)
    if plot is not None:
        from holdfast.market.picturing.figure import plot_work, write_plot

        with _progress("drawing", plot_work(len(found))) as advance:
            write_plot(plot, result, policies, lambda: advance(1))
    if as_json:
        typer.echo(json.dumps(result.to_json(), indent=2))
    else:
        print_benchmark(result, plot)
    return result


@contextmanager
def _progress(title: str, work: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr, so that stdout holds nothing but the answer; silent where stderr is no terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeElapsedColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task(title, total=work)
        yield lambda steps: bar.advance(task, steps)


def print_benchmark(result: Benchmark, plot: Path | None = None, console: Console | None = None) -> None:
    """The table of the reference page, over all pools, and J/J* of each pool."""
    console = console or Console()
    terms = result.setting.terms
    told = result.to_json()
    days = result.minutes / 1440
    table = Table(
        title=f"{len(result.results)} pools, {days:.1f} days; λ {terms.lam:g}, downtime "
        f"{terms.unplanned_min}/{terms.planned_min} min, detect {terms.detect_min}, probe {result.setting.probe_min}; "
        "counts per 30 days",
        title_justify="left",
    )
    table.add_column("policy", no_wrap=True)
    for name in ("J", "J/J*", "cost %", "down min", "moves", "evicted", "spot %"):
        table.add_column(name, justify="right")
    for name in result.names:
        table.add_row(name, *_cells(told["policies"][name]))
    table.add_row("oracle", f"{told['oracle']['j']:.3f}", "1.000", "", "", "", "", "", style="bold")
    console.print(table)
    if len(result.results) > 1:
        console.print(_pool_table(result))
    if told["below_oracle"]:
        console.print(f"Below the oracle, so something is wrong: {', '.join(told['below_oracle'])}", style="bold red")
    if plot is not None:
        console.print(f"Plot: {plot}", highlight=False)


def _cells(row: dict[str, Any]) -> list[str]:
    return [
        f"{row['j']:.3f}",
        f"{row['j_over_oracle']:.3f}" if row["j_over_oracle"] is not None else "unknown",
        f"{row['cost_percent']:.1f}",
        f"{row['downtime_minutes_per_30_days']:,.0f}",
        f"{row['moves']:.0f}",
        f"{row['evictions']:.0f}",
        f"{100 * row['spot_share']:.1f}",
    ]


def _pool_table(result: Benchmark) -> Table:
    table = Table(title="J/J* of each pool", title_justify="left")
    table.add_column("pool")
    for name in ("days", "markets", "J*"):
        table.add_column(name, justify="right")
    for name in result.names:
        table.add_column(name, justify="right", no_wrap=True)
    for entry in result.results:
        best = entry.oracle.j
        table.add_row(
            entry.pool.name,
            f"{entry.pool.minutes / 1440:.1f}",
            str(entry.pool.size),
            f"{best:.3f}",
            *(f"{o.j / best:.3f}" if best > 0 else "unknown" for o in entry.outcomes),
        )
    return table

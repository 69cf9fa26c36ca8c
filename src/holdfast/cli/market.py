"""`holdfast market`: which sizes, a replay of the policies on recorded history, and history written for a replay."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import typer

from holdfast.cli import market_history, market_replay, market_tables
from holdfast.core.errors import HoldfastError, InvalidInput
from holdfast.market.deciding.policies import POLICY_NAMES
from holdfast.market.deciding.sizes import (
    MachineTraits,
    PriceBook,
    Quota,
    Size,
    SizeWish,
    same_attributes,
    sizes_from_azure_skus,
)
from holdfast.market.deciding.sizes.answer import SizesAnswer, sizes_for
from holdfast.market.deciding.sizes.azure_quota import quota_from_azure_usages
from holdfast.market.deciding.sizes.azure_traits import traits_from_node
from holdfast.market.deciding.sizes.prices import read_price_book
from holdfast.market.deciding.sizes.wish import wish_from_vm_sizes
from holdfast.market.observing.ondemand import bundled_on_demand
from holdfast.market.observing.retail_prices import fetch_price_book

__all__ = ["HistoryWish", "MachineFacts", "MarketSources", "app", "sizes_for"]

app = typer.Typer(name="market", help="Which size, which zone, spot or on-demand, and the proof.", no_args_is_help=True)


@app.callback()
def market() -> None:
    """Which size, which zone, spot or on-demand, when to move, and the proof of it."""


@dataclass(frozen=True)
class MachineFacts:
    """A machine of a cloud as the size rules want it."""

    traits: MachineTraits
    own: Size


@dataclass(frozen=True)
class HistoryWish:
    """Which part of what was recorded: names are those of `GET /v1/market/history`."""

    cloud: str | None = None
    region: str | None = None
    since: str | None = None
    until: str | None = None
    os: str | None = None


@dataclass(frozen=True)
class MarketSources:
    """Where `market sizes` reads what no file was given for. The wiring puts one into Typer's context object.

    `machine("group/name")` raises NotFound; `sizes(region)` and `prices(region, os)` ask the connected cloud.
    """

    machine: Callable[[str], MachineFacts]
    sizes: Callable[[str], list[Size]]
    prices: Callable[[str, str], PriceBook]
    quota: Callable[[str], Quota] | None = None  # what the subscription has left in a region
    history: Callable[[HistoryWish], list[dict[str, Any]]] | None = None  # rows of what was recorded
    signals: Callable[[], list[dict[str, Any]]] | None = None  # one object for each signal
    tell: Callable[[str | None, list[Any]], int] | None = None  # writes words of signals down; how many were noted


@contextmanager
def errors_shown(as_json: bool = False) -> Iterator[None]:
    """Errors of rules and input become one sentence with the way out, and the class's exit code."""
    try:
        yield
    except HoldfastError as error:
        if as_json:
            body = {"code": error.code, "field": error.about, "text": error.message, "remedy": error.advice}
            typer.echo(json.dumps({"error": body}, indent=2))
        else:
            typer.echo(f"{error.message}\n{error.advice}", err=True)
        raise typer.Exit(error.exit_code) from error


@contextmanager
def _shaped(field: str, what: str) -> Iterator[None]:
    """A file that is JSON or CSV and yet something else: said so, instead of the exception of whoever read it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        problem = f"this is not {what} ({type(exc).__name__}: {exc})"
        raise InvalidInput(field=field, problem=problem) from exc


@app.command("sizes")
def sizes_command(
    context: typer.Context,
    spec: Path | None = typer.Option(None, "--spec", help="A stateful node's JSON."),
    vm: str | None = typer.Option(None, "--vm", help="GROUP/NAME of a machine in the connected cloud."),
    region: str | None = typer.Option(None, "--region", help="Default: the specification's or the machine's."),
    os: str | None = typer.Option(None, "--os", help="linux or windows; decides which prices count."),
    all_: bool = typer.Option(False, "--all", help="List every unsupported size, not only those that nearly fit."),
    skus: Path | None = typer.Option(
        None, "--skus", help="Sizes from a file: az vm list-skus -o json, or the REST body."
    ),
    prices: str | None = typer.Option(None, "--prices", help="Prices from a file (CSV, JSON) or an http(s) endpoint."),
    usages: Path | None = typer.Option(None, "--usages", help="Quota from a file: az vm list-usage -o json."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Which sizes can this machine run on, what do they cost, and why not the others."""
    with errors_shown(as_json):
        answer = _sizes(context.find_object(MarketSources), spec, vm, region, os, skus, prices, usages)
        if as_json:
            typer.echo(json.dumps(answer.to_json(), indent=2))
        else:
            market_tables.print_sizes(answer, everything=all_)
    if answer.error is not None:
        raise typer.Exit(answer.error.exit_code)


@app.command("replay")
def replay_command(
    traces: Path = typer.Option(..., "--traces", help="A folder of availability series or of recorded histories."),
    pools: Path | None = typer.Option(None, "--pools", help="JSON list of pools; default: one per collection, region."),
    policy: list[str] = typer.Option([], "--policy", help=f"Repeat, or separate by commas: {', '.join(POLICY_NAMES)}."),
    lam: float = typer.Option(10.0, "--lambda", help="On-demand minutes that a minute of downtime is worth."),
    downtime: str = typer.Option("5/5", "--downtime", help="Minutes DU/DP of an unplanned / a planned move."),
    detect: int = typer.Option(1, "--detect", help="Minutes from an eviction to the first action."),
    probe: int = typer.Option(5, "--probe", help="Minutes between two probes of all markets."),
    window: str | None = typer.Option(None, "--window", help="Planned moves only within, such as 02:00-06:00."),
    forget: bool = typer.Option(False, "--forget", help="Let old evidence fade (3 days; shares 5 days)."),
    forecast: str | None = typer.Option(None, "--forecast", help="Column of the history that says 1 stays, 0 drops."),
    forecast_horizon: float = typer.Option(60.0, "--forecast-horizon", help="Minutes that a forecast is about."),
    forecast_error: float | None = typer.Option(None, "--forecast-error", help="0..0.5; default: as measured so far."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
    plot: Path | None = typer.Option(None, "--plot", help="Write a figure to this .svg or .png file."),
    more: list[str] = typer.Argument(None, metavar="[NAME]...", help="More policies, as in --policy p3 p5."),
) -> None:
    """What would each policy have cost on recorded history, and what was the best possible. Needs no server."""
    with errors_shown(as_json):
        names = [name.strip() for entry in (*policy, *(more or ())) for name in entry.split(",") if name.strip()]
        market_replay.run_replay(
            traces,
            pools,
            names,
            lam,
            downtime,
            detect,
            probe,
            window,
            forget,
            forecast,
            forecast_horizon,
            forecast_error,
            as_json,
            plot,
        )


@app.command("export-history")
def export_history_command(
    context: typer.Context,
    traces: Path | None = typer.Option(None, "--traces", help="Convert this folder instead of what was recorded."),
    pools: Path | None = typer.Option(None, "--pools", help="Which pools of the folder, as for replay."),
    region: str | None = typer.Option(None, "--region", help="Only this region."),
    since: str | None = typer.Option(None, "--since", help="From this time on: 2026-01-31T12:00:00Z, a day, or 30d."),
    until: str | None = typer.Option(None, "--until", help="Up to this time, exclusive."),
    cloud: str | None = typer.Option(None, "--cloud", help="Which cloud's, where several have a history."),
    os: str | None = typer.Option(None, "--os", help="Whose prices: linux (default) or windows."),
    out: Path | None = typer.Option(None, "--out", help="A .csv or .json file; default: CSV on stdout."),
) -> None:
    """Write history in the format that `market replay` reads: what Holdfast recorded, or a folder of traces."""
    with errors_shown():
        if traces is not None:
            unfit = {"--since": since, "--until": until, "--cloud": cloud, "--os": os}
            if any(unfit.values()):
                named = next(name for name, value in unfit.items() if value)
                raise InvalidInput(field=named, problem="is for what Holdfast recorded; cut a folder with --pools")
            count = market_history.export_pools(market_replay.read_pools(traces, pools, None), region, out)
        elif pools is not None:
            raise InvalidInput(field="--pools", problem="names parts of a folder: give --traces too")
        else:
            history = _wired(context.find_object(MarketSources), "--traces").history
            if history is None:
                raise InvalidInput(field="--traces", problem="nothing is recorded here; name a folder of traces")
            rows = history(HistoryWish(cloud, region, since, until, os))
            count = market_history.export_recorded(rows, out, lambda text: typer.echo(text, err=True))
        if out is not None:
            typer.echo(f"{count} rows written to {out}")


@app.command("signals")
def signals_command(
    context: typer.Context,
    tell: Path | None = typer.Option(
        None, "--tell", help="Write down words from a JSON file first: [{region, size, zone, signal, said}]."
    ),
    cloud: str | None = typer.Option(None, "--cloud", help="Whose markets --tell is about; default: the only cloud."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON list."),
) -> None:
    """How often was each outside signal wrong, beyond what age tells, and has it earned its use?"""
    with errors_shown(as_json):
        sources = _wired(context.find_object(MarketSources), "market signals")
        if sources.signals is None or sources.tell is None:
            raise InvalidInput(field="market signals", problem="nothing is recorded here")
        if tell is not None:
            words = _read_json(tell, "--tell")
            if not isinstance(words, list):
                raise InvalidInput(field="--tell", problem="expected a JSON list of {region, size, zone, signal, said}")
            noted = sources.tell(cloud, words)
            typer.echo(f"{noted} markets noted", err=True)
        told = sources.signals()
        if as_json:
            typer.echo(json.dumps(told, indent=2))
        else:
            market_history.print_signals(told)


def _sizes(
    sources: MarketSources | None,
    spec: Path | None,
    vm: str | None,
    region: str | None,
    os: str | None,
    skus: Path | None,
    prices: str | None,
    usages: Path | None,
) -> SizesAnswer:
    if (spec is None) == (vm is None):
        raise InvalidInput(field="--spec, --vm", problem="give exactly one of them")
    if os is not None and os.lower() not in ("linux", "windows"):
        raise InvalidInput(field="--os", problem=f"'{os}' is neither linux nor windows")
    if vm is not None:
        facts = _wired(sources, "--vm").machine(vm)
        traits, wish = facts.traits, same_attributes(facts.own)
        place = region or traits.location
        sizes = _read_sizes(sources, skus, place)
    else:
        assert spec is not None
        node = _read_json(spec, "--spec")
        with _shaped("--spec", "a node's specification"):
            traits = traits_from_node(node)
            compute = _compute(node)
            wish = wish_from_vm_sizes(compute.get("vmSizes") or {}, tuple(str(z) for z in compute.get("zones") or ()))
        place = region or traits.location
        if not place:
            raise InvalidInput(field="--region", problem="the specification names no region")
        sizes = _read_sizes(sources, skus, place)
        by_name = {s.name.lower(): s for s in sizes}
        own = next((by_name[n.lower()] for n in wish.od_sizes if n.lower() in by_name), None)
        traits = traits_from_node(node, own)
        wish = _at_least_the_own_size(wish, own)
    quota = _read_quota(None if skus else sources, usages, place)
    # with files for the sizes nothing needs a cloud, so no server is asked (or started) for prices either
    book = _read_prices(None if skus else sources, prices, place, (os or traits.os).lower())
    if os is not None:
        traits = replace(traits, os=os.lower())
    return sizes_for(traits, sizes, wish, today=datetime.now(UTC).date(), prices=book, quota=quota, region=place)


def _at_least_the_own_size(wish: SizeWish, own: Size | None) -> SizeWish:
    """Neither spot sizes nor attributes given: the sizes that share the on-demand size's attributes, as on import."""
    ranges = (wish.min_cpu, wish.max_cpu, wish.min_memory_gib, wish.max_memory_gib)
    if own is None or wish.spot_sizes or any(r is not None for r in ranges):
        return wish
    same = same_attributes(own)
    return replace(
        wish,
        min_cpu=same.min_cpu,
        max_cpu=same.max_cpu,
        min_memory_gib=same.min_memory_gib,
        max_memory_gib=same.max_memory_gib,
        allow_burstable=same.allow_burstable,
    )


def _compute(node: Any) -> dict[str, Any]:
    inner = node.get("statefulNode") or (node.get("statefulNodeImport") or {}).get("node") or node
    compute: dict[str, Any] = inner["compute"]
    return compute


def _wired(sources: MarketSources | None, asked_by: str) -> MarketSources:
    if sources is None:
        raise InvalidInput(
            field=asked_by, problem="no cloud is connected here; read from files instead (--spec with --skus, --traces)"
        )
    return sources


def _read_sizes(sources: MarketSources | None, skus: Path | None, region: str) -> list[Size]:
    if skus is None:
        return _wired(sources, "--skus").sizes(region)
    with _shaped("--skus", "a list of Microsoft.Compute/skus"):
        found = sizes_from_azure_skus(_read_json(skus, "--skus"), region)
    if not found:
        raise InvalidInput(field="--skus", problem=f"{skus} has no size of {region}")
    return found


def _read_quota(sources: MarketSources | None, usages: Path | None, region: str) -> Quota:
    """What is not known refuses nothing."""
    if usages is not None:
        with _shaped("--usages", "a list of compute usages"):
            return quota_from_azure_usages(_read_json(usages, "--usages"))
    return Quota() if sources is None or sources.quota is None else sources.quota(region)


def _read_prices(sources: MarketSources | None, prices: str | None, region: str, os: str) -> PriceBook:
    if prices is None:
        told = sources.prices(region, os) if sources else PriceBook()
        return told if told.spot or told.on_demand else bundled_on_demand(region, os)
    if prices.startswith(("http://", "https://")):
        with httpx.Client(timeout=30) as client:
            return fetch_price_book(client, prices, region, os)
    with _shaped("--prices", "a list of prices"):
        return read_price_book(_read_text(Path(prices), "--prices"), region, os)


def _read_text(path: Path, field: str) -> str:
    """Also reads gzip, the form in which price tables are passed around."""
    try:
        raw = path.read_bytes()
        return (gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError, EOFError) as exc:
        raise InvalidInput(field=field, problem=f"cannot read {path}: {exc}") from exc


def _read_json(path: Path, field: str) -> Any:
    try:
        return json.loads(_read_text(path, field))
    except json.JSONDecodeError as exc:
        raise InvalidInput(field=field, problem=f"{path} is not JSON: {exc}") from exc

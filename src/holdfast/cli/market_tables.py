"""How `market` shows its answers in a terminal. No decisions here."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from holdfast.market.deciding.sizes.answer import UNKNOWN, SizesAnswer
from holdfast.market.deciding.sizes.funnel import Funnel, Refused
from holdfast.market.deciding.sizes.judging import Kind
from holdfast.market.deciding.sizes.prices import PricedSize

__all__ = ["print_sizes"]


def print_sizes(answer: SizesAnswer, everything: bool, console: Console | None = None) -> None:
    """The funnel, the table that users know, and the unsupported sizes with the reason of each."""
    console = console or Console()
    console.print(_funnel_table(answer.spot, f"Spot sizes in {answer.region} ({answer.os})"))
    console.print(_size_table(answer.table, f"{len(answer.table)} sizes, {answer.spot.markets} markets", answer))
    if answer.on_demand is not None:
        console.print(_size_table(answer.on_demand_table, "On-demand sizes", answer))
        _print_refused(console, answer.on_demand.refused, "On-demand sizes that cannot be used")
    _print_unsupported(console, answer.spot, everything)
    if answer.error is not None:
        console.print(f"{answer.error.message}\n{answer.error.advice}", style="bold red", highlight=False)


def _funnel_table(funnel: Funnel, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("remain", justify="right")
    table.add_column("after the rule")
    table.add_column("left out", justify="right")
    before = None
    for stage in funnel.stages:
        lost = 0 if before is None else before - stage.remain
        if before is None or lost or stage is funnel.stages[-1]:
            table.add_row(str(stage.remain), stage.title, f"-{lost}" if lost else "")
        before = stage.remain
    return table


def _size_table(rows: tuple[PricedSize, ...], title: str, answer: SizesAnswer) -> Table:
    currency, dated = answer.prices.currency, answer.prices.dated
    head = f"{title} (prices of {dated}, 730 h per month)"
    table = Table(title=head, title_justify="left", box=None, padding=(0, 1, 0, 0))  # fits into 80 columns
    table.add_column("size", no_wrap=True)
    table.add_column("type", min_width=7)
    numbers = ("vCPUs", "memory\nGiB", "storage\nGiB", f"spot\n{currency}/month", f"on-demand\n{currency}/month")
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True, min_width=max(map(len, name.split("\n"))))
    table.add_column("preferred", min_width=9)
    table.add_column("zones")
    for row in rows:
        table.add_row(
            row.name,
            row.type.removesuffix(" purpose").removesuffix(" optimised"),
            str(row.vcpus),
            f"{row.memory_gib:g}",
            f"{row.storage_gib:g}",
            _money(row.spot_per_month),
            _money(row.on_demand_per_month),
            "yes" if row.preferred else "",
            " ".join(row.zones) or "none",
        )
    return table


def _money(amount: float | None) -> str:
    return UNKNOWN if amount is None else f"{amount:,.2f}"


def _print_unsupported(console: Console, funnel: Funnel, everything: bool) -> None:
    if everything:
        _print_refused(console, funnel.refused, "Unsupported sizes")
        return
    wanted = [r for r in funnel.refused if not any(x.kind is Kind.USER for x in r.reasons)]
    near = wanted or list(funnel.nearest_misses())
    _print_refused(console, near, "Unsupported sizes that match what was asked for" if wanted else "Nearest misses")
    rest = Counter(r.reasons[0].code for r in funnel.refused if r not in near)
    if rest:
        words = ", ".join(f"{count} by {code}" for code, count in rest.most_common())
        console.print(f"{sum(rest.values())} more do not match what was asked for ({words}); --all lists them.")


def _print_refused(console: Console, refused: tuple[Refused, ...] | list[Refused], title: str) -> None:
    if not refused:
        return
    table = Table(title=title, title_justify="left")
    table.add_column("size", no_wrap=True)
    table.add_column("why not")
    table.add_column("what would change it")
    for entry in refused:
        table.add_row(
            entry.name,
            "\n".join(r.reason for r in entry.reasons),
            "\n".join(dict.fromkeys(r.remedy for r in entry.reasons)),
        )
    console.print(table)

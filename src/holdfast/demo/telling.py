"""How the demo speaks: headings, sentences, tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

__all__ = ["say", "table", "title"]

_console = Console(highlight=False, soft_wrap=True)


def title(text: str) -> None:
    _console.print(f"\n[bold]{text}[/bold]", markup=True)


def say(text: str) -> None:
    _console.print(text, markup=False)


def table(what: str, rows: Sequence[tuple[str, str, str]]) -> None:
    """Three columns: what, before, after."""
    shown = Table(title=what, title_justify="left", box=None, pad_edge=False)
    for heading in ("", "before", "after"):
        shown.add_column(heading, overflow="fold")
    for name, before, after in rows:
        shown.add_row(name, before, after if after == before else f"[bold]{after}[/bold]")
    _console.print(shown)

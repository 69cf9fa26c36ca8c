"""`holdfast node`: stateful nodes."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import tables
from holdfast.cli.shared import Cloud, Json, terminal_of

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Stateful nodes.")


@app.command("list")
def list_(
    context: typer.Context,
    name: Annotated[str | None, typer.Option(help="Only nodes of this name.")] = None,
    cloud: Cloud = None,
    as_json: Json = False,
) -> None:
    """All nodes and how they are."""
    terminal = terminal_of(context)
    found = terminal.client.get("/v1/nodes", name=name, cloud=cloud)
    terminal.answer(found, lambda: terminal.console().print(tables.nodes(found)))


@app.command("show")
def show(context: typer.Context, node: Annotated[str, typer.Argument(metavar="NODE")], as_json: Json = False) -> None:
    """One node, its machine and its specification."""
    terminal = terminal_of(context)
    found = terminal.client.get(f"/v1/nodes/{node}")
    terminal.answer(found, lambda: terminal.console().print(tables.node(found)))

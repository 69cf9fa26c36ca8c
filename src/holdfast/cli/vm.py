"""`holdfast vm`: machines in a cloud, and whether they can be imported."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import tables
from holdfast.cli.shared import Cloud, Json, terminal_of

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Machines in a cloud.")


@app.command("list")
def list_(
    context: typer.Context,
    resource_group: Annotated[str | None, typer.Option("--resource-group", "-g", help="Only these.")] = None,
    cloud: Cloud = None,
    as_json: Json = False,
) -> None:
    """Size, priority, power, disks, addresses, and whether each can be imported or why not."""
    terminal = terminal_of(context)
    found = terminal.client.get("/v1/machines", cloud=cloud, resource_group=resource_group)
    terminal.answer(found, lambda: terminal.console().print(tables.machines(found)))


@app.command("show")
def show(
    context: typer.Context,
    machine: Annotated[str, typer.Argument(metavar="RG/VM")],
    cloud: Cloud = None,
    as_json: Json = False,
) -> None:
    """One machine, its parts, and every finding that an import with default options would have."""
    terminal = terminal_of(context)
    group, name = tables.address(machine)
    found = terminal.client.get(f"/v1/machines/{group}/{name}", cloud=cloud)
    terminal.answer(found, lambda: terminal.console().print(tables.machine(found)))

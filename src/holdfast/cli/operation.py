"""`holdfast operation`: everything durable that runs or ran."""

from __future__ import annotations

from typing import Annotated

import typer

from holdfast.cli import tables
from holdfast.cli.following import follow_operation
from holdfast.cli.shared import Json, terminal_of

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Durable units of work.")

Id = Annotated[str, typer.Argument(metavar="OPERATION")]


@app.command("list")
def list_(
    context: typer.Context,
    kind: Annotated[str | None, typer.Option(help="import, undo-import, finish-import …")] = None,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 50,
    as_json: Json = False,
) -> None:
    """The newest first."""
    terminal = terminal_of(context)
    found = terminal.client.get("/v1/operations", kind=kind, open_only=open_only, limit=limit)
    terminal.answer(found, lambda: terminal.console().print(tables.operations(found)))


@app.command("show")
def show(context: typer.Context, operation: Id, as_json: Json = False) -> None:
    """One operation and its steps."""
    terminal = terminal_of(context)
    found = terminal.client.get(f"/v1/operations/{operation}")
    terminal.answer(found, lambda: terminal.console().print(tables.operation(found)))


@app.command("follow")
def follow(context: typer.Context, operation: Id, as_json: Json = False) -> None:
    """Watch it until it has ended or is stuck. Ctrl-C only stops the watching."""
    terminal = terminal_of(context)
    ended = follow_operation(terminal, operation)
    terminal.answer(ended, f"{operation} is {ended['state']}.")
    if ended["state"] != "done":
        raise typer.Exit(1)


@app.command("retry")
def retry(context: typer.Context, operation: Id, as_json: Json = False) -> None:
    """Let a stuck operation go on."""
    terminal = terminal_of(context)
    told = terminal.client.post(f"/v1/operations/{operation}/retry")
    terminal.answer(told, f"{operation} goes on.")


@app.command("cancel")
def cancel(context: typer.Context, operation: Id, as_json: Json = False) -> None:
    """Have what it did undone."""
    terminal = terminal_of(context)
    told = terminal.client.post(f"/v1/operations/{operation}/cancel")
    terminal.answer(told, f"{operation} will be undone. Watch it: holdfast operation follow {operation}")

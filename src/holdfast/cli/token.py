"""`holdfast token`: who may use this installation. On the home itself it needs no token and no server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from holdfast.cli import tables
from holdfast.cli.shared import Json, Terminal, terminal_of
from holdfast.core.errors import InvalidInput

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Access tokens.")

ROLES = ("viewer", "operator", "admin")


@app.command("create")
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="Stands in the audit log.")],
    role: Annotated[str, typer.Option(help="viewer, operator or admin.")] = "viewer",
    cloud: Annotated[list[str] | None, typer.Option(help="Limit it to this cloud; may be repeated.")] = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it once."""
    terminal = terminal_of(context)
    if role not in ROLES:
        raise InvalidInput(field="role", problem=f"'{role}' is not one of {', '.join(ROLES)}")
    if _elsewhere(terminal):
        made = terminal.client.post("/v1/tokens", {"name": name, "role": role, "clouds": cloud or None})
    else:
        made = _create_here(terminal, name, role, cloud or None)
    terminal.answer(made, str(made["token"]))


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """All tokens, the revoked ones too; what they are cannot be shown."""
    terminal = terminal_of(context)
    found = terminal.client.get("/v1/tokens")
    terminal.answer(found, lambda: terminal.console().print(tables.tokens(found)))


@app.command("revoke")
def revoke(context: typer.Context, name: str, as_json: Json = False) -> None:
    """From now on the token opens nothing."""
    terminal = terminal_of(context)
    revoked = terminal.client.delete(f"/v1/tokens/{name}")
    terminal.answer(revoked, f"Revoked {name}.")


def _elsewhere(terminal: Terminal) -> bool:
    """With an URL and a token a server elsewhere is meant; otherwise whoever can write the home may make tokens."""
    if terminal.connect is not None:
        return True
    return terminal.around.url is not None and terminal.around.token is not None


def _create_here(terminal: Terminal, name: str, role: str, clouds: list[str] | None) -> dict[str, Any]:
    """Directly in the home's database, also while a server runs on it."""
    from datetime import UTC, datetime

    from holdfast.store import audit
    from holdfast.store.tokens import create_token
    from holdfast.wiring import open_database

    terminal.around.ensure_home()
    database = open_database(terminal.around)
    try:
        now = datetime.now(UTC)  # tokens live on real time
        with database.write() as session:
            text = create_token(session, name, role, now, clouds=clouds, by="local")
            audit(session, now, "local", "token.create", subject=name, role=role, clouds=clouds)
    finally:
        database.close()
    return {"token": text, "name": name, "role": role, "clouds": clouds}

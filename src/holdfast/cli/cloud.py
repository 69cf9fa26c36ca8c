"""`holdfast cloud`: connect, check, list, remove."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import tables
from holdfast.cli.shared import Json, Yes, terminal_of
from holdfast.core.errors import InvalidInput

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Connect, check, list and remove clouds.")


@app.command("add")
def add(
    context: typer.Context,
    kind: Annotated[str, typer.Argument(help="azure")],
    name: Annotated[str, typer.Argument(help="What you will call it.")],
    subscription: Annotated[str, typer.Option(help="Subscription id.")],
    endpoint: Annotated[str | None, typer.Option(help="Resource Manager, if not Azure's public one.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file that verifies the endpoint.")] = None,
    tenant: Annotated[str | None, typer.Option(help="Default: AZURE_TENANT_ID.")] = None,
    client_id: Annotated[str | None, typer.Option(help="Default: AZURE_CLIENT_ID.")] = None,
    client_secret: Annotated[str | None, typer.Option(help="Default: AZURE_CLIENT_SECRET.")] = None,
    authority: Annotated[str | None, typer.Option(help="Where tokens come from, if not the usual place.")] = None,
    prices_endpoint: Annotated[
        str | None, typer.Option(help="Retail price list; without it prices are unknown.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Connect a cloud. Without credentials: azure-identity's default chain. Nothing is asked of the cloud yet."""
    terminal = terminal_of(context)
    if ca is not None and not ca.is_file():
        raise InvalidInput(field="ca", problem=f"there is no file {ca}")
    env = terminal.around.azure
    # The three belong together: half from the environment and half from options would be nobody's credential.
    from_env = tenant is None and client_id is None and client_secret is None
    options: dict[str, Any] = {
        "subscription": subscription,
        "tenant": env.get("AZURE_TENANT_ID") if from_env else tenant,
        "client_id": env.get("AZURE_CLIENT_ID") if from_env else client_id,
        "endpoint": endpoint,
        "authority": authority,
        "ca_file": str(ca.absolute()) if ca is not None else None,
        "prices_endpoint": prices_endpoint,
    }
    body: dict[str, Any] = {
        "name": name,
        "kind": kind,
        "options": {key: value for key, value in options.items() if value is not None},
    }
    secret = env.get("AZURE_CLIENT_SECRET") if from_env else client_secret
    if secret:
        body["secret"] = secret
    added = terminal.client.post("/v1/clouds", body)
    terminal.answer(added, f"Connected {name}. 'holdfast cloud check {name}' tells whether it may do what is needed.")


@app.command("check")
def check(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(help="Needed only where there are several.")] = None,
    as_json: Json = False,
) -> None:
    """Credential, permissions, providers, quotas. Changes nothing. Exit code 4 if it cannot be used."""
    terminal = terminal_of(context)
    name = name or _only(terminal.client.get("/v1/clouds"))
    found = terminal.client.post(f"/v1/clouds/{name}/check")
    text = f"{name}: everything is in order." if not found["findings"] else tables.findings(found["findings"])
    terminal.answer(found, text)
    if not found["ok"]:
        raise typer.Exit(4)


@app.command("list")
def list_(context: typer.Context, as_json: Json = False) -> None:
    """Connected clouds."""
    terminal = terminal_of(context)
    found = terminal.client.get("/v1/clouds")
    terminal.answer(found, lambda: terminal.console().print(tables.clouds(found)))


@app.command("remove")
def remove(context: typer.Context, name: str, yes: Yes = False, as_json: Json = False) -> None:
    """Forget a cloud and its secret. Nothing in the cloud changes."""
    terminal = terminal_of(context)
    if not terminal.confirmed(f"Forget {name} and its secret?", yes):
        raise typer.Exit(4)
    removed = terminal.client.delete(f"/v1/clouds/{name}")
    terminal.answer(removed, f"Forgot {name}.")


def _only(clouds: list[dict[str, Any]]) -> str:
    if len(clouds) == 1:
        return str(clouds[0]["name"])
    known = ", ".join(cloud["name"] for cloud in clouds) or "none is connected"
    raise InvalidInput(field="name", problem=f"name the cloud ({known})")

"""`holdfast import`: take a machine over as a stateful node, and give it back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli import tables
from holdfast.cli.following import follow_import
from holdfast.cli.plan_text import plan_text, undo_text
from holdfast.cli.shared import Cloud, Json, Terminal, Yes, terminal_of
from holdfast.core.errors import InvalidInput
from holdfast.core.units import parse_duration
from holdfast.wiring import read_json_file

__all__ = ["app"]

app = typer.Typer(
    no_args_is_help=True, pretty_exceptions_enable=False, help="Take a machine over as a stateful node; give it back."
)

Machine = Annotated[str, typer.Argument(metavar="RG/VM")]
Id = Annotated[str, typer.Argument(metavar="IMPORT")]
Wait = Annotated[bool, typer.Option("--wait", help="Stay until it has ended; Ctrl-C detaches.")]

Spec = Annotated[Path | None, typer.Option("--spec", metavar="FILE", help="A stateful node's JSON, wrapped or not.")]
Network = Annotated[str | None, typer.Option(help="new (default), or keep: name, NIC and addresses pass to the node.")]
Disks = Annotated[str | None, typer.Option(help="snapshot (default), or reattach: the same disks pass to the node.")]
Priority = Annotated[str | None, typer.Option(help="spot (default, on-demand where there is none) or regular.")]
Retention = Annotated[str | None, typer.Option(help="How long the originals are kept, as 96h (the default) or 7d.")]
Draining = Annotated[int | None, typer.Option("--draining-timeout", metavar="S", help="Seconds; default 120.")]
ProbeUrls = Annotated[
    list[str] | None, typer.Option("--probe", metavar="URL", help="tcp://:22, http://:8080/health; may be repeated.")
]
ProveFor = Annotated[int | None, typer.Option("--prove-for", metavar="S", help="Seconds it must run; default 60.")]
ProveTimeout = Annotated[int | None, typer.Option("--prove-timeout", metavar="S", help="Seconds; default 900.")]
Accept = Annotated[list[str] | None, typer.Option("--accept", metavar="CODE", help="Agree to a finding.")]
Recreate = Annotated[
    list[str] | None,
    typer.Option("--recreate-extension", metavar="NAME", help="Create it again as Azure shows it."),
]
Immediately = Annotated[bool, typer.Option("--delete-originals-immediately", help="Allow less than the floor of 24 h.")]
Unmanaged = Annotated[bool, typer.Option("--convert-unmanaged-disks", help="Make disks of blobs; cannot be undone.")]


@app.command("plan")
def plan(
    context: typer.Context,
    machine: Machine,
    spec: Spec = None,
    retention: Retention = None,
    draining_timeout: Draining = None,
    network: Network = None,
    disks: Disks = None,
    priority: Priority = None,
    probe: ProbeUrls = None,
    accept: Accept = None,
    recreate_extension: Recreate = None,
    delete_originals_immediately: Immediately = False,
    convert_unmanaged_disks: Unmanaged = False,
    prove_for: ProveFor = None,
    prove_timeout: ProveTimeout = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the plan there, for start --plan.")] = None,
    cloud: Cloud = None,
    as_json: Json = False,
) -> None:
    """What an import would do, to every resource in order. Changes nothing. Exit code 4 if it would be refused."""
    terminal = terminal_of(context)
    options = _options(
        retention, draining_timeout, network, disks, priority, probe, accept, recreate_extension,
        delete_originals_immediately, convert_unmanaged_disks, prove_for, prove_timeout,
    )  # fmt: skip
    found = terminal.client.post("/v1/imports/plan", _wish(machine, cloud, options, spec))
    if out is not None:
        _write(out, found)
        terminal.note(f"The plan is in {out}. Run exactly it: holdfast import start --plan {out}")
    terminal.answer(found, plan_text(found))
    if tables.refusals(found["findings"]):
        raise typer.Exit(4)


@app.command("start")
def start(
    context: typer.Context,
    machine: Annotated[str | None, typer.Argument(metavar="[RG/VM]")] = None,
    plan: Annotated[Path | None, typer.Option(metavar="FILE", help="Run exactly this plan, or refuse.")] = None,
    spec: Spec = None,
    retention: Retention = None,
    draining_timeout: Draining = None,
    network: Network = None,
    disks: Disks = None,
    priority: Priority = None,
    probe: ProbeUrls = None,
    accept: Accept = None,
    recreate_extension: Recreate = None,
    delete_originals_immediately: Immediately = False,
    convert_unmanaged_disks: Unmanaged = False,
    prove_for: ProveFor = None,
    prove_timeout: ProveTimeout = None,
    wait: Wait = False,
    yes: Yes = False,
    cloud: Cloud = None,
    as_json: Json = False,
) -> None:
    """Plan, show, ask, and import. Without a terminal, or with --yes, it does not ask."""
    terminal = terminal_of(context)
    options = _options(
        retention, draining_timeout, network, disks, priority, probe, accept, recreate_extension,
        delete_originals_immediately, convert_unmanaged_disks, prove_for, prove_timeout,
    )  # fmt: skip
    body = _what_to_start(terminal, machine, plan, spec, options, cloud, yes)
    if body is None:
        terminal.note("Nothing was changed.")
        raise typer.Exit(4)
    started = terminal.client.post("/v1/imports", body)
    begun = started.pop("plan", None)
    if begun is not None and "plan" not in body and not terminal.as_json:
        print(plan_text(begun, runs=True))
    _told(terminal, started, wait, f"Import {started['id']} of {started['vm']} has begun (node {started['node_id']}).")


def _what_to_start(
    terminal: Terminal,
    machine: str | None,
    plan: Path | None,
    spec: Path | None,
    options: dict[str, Any],
    cloud: str | None,
    yes: bool,
) -> dict[str, Any] | None:
    """The body of the start; None when the person said no."""
    if plan is not None:
        given = _plan_of(read_json_file(plan, "plan"))
        if spec is not None or options:
            raise InvalidInput(field="plan", problem="a plan says it all: give no other options with it")
        if machine is not None and machine.lower() != f"{given['resource_group']}/{given['vm_name']}".lower():
            raise InvalidInput(field="plan", problem=f"it is for {given['resource_group']}/{given['vm_name']}")
        if not yes and terminal.asks:
            print(plan_text(given))
        return {"plan": given} if terminal.confirmed("Start?", yes) else None
    if machine is None:
        raise InvalidInput(field="machine", problem="say what to import: RG/VM, or --plan FILE")
    wish = _wish(machine, cloud, options, spec)
    if yes or not terminal.asks:
        return wish
    shown = terminal.client.post("/v1/imports/plan", wish)
    print(plan_text(shown))
    if tables.refusals(shown["findings"]):
        return wish  # the server refuses it, and says why
    return {"plan": shown} if terminal.confirmed("Start?", yes) else None


@app.command("list")
def list_(
    context: typer.Context,
    state: Annotated[str | None, typer.Option(help="Only imports in this state.")] = None,
    cloud: Cloud = None,
    as_json: Json = False,
) -> None:
    """All imports, oldest first."""
    terminal = terminal_of(context)
    found = terminal.client.get("/v1/imports", state=state, cloud=cloud)
    terminal.answer(found, lambda: terminal.console().print(tables.imports(found)))


@app.command("show")
def show(context: typer.Context, import_id: Id, as_json: Json = False) -> None:
    """One import: progress, retained originals, countdown."""
    terminal = terminal_of(context)
    found = terminal.client.get(f"/v1/imports/{import_id}")
    terminal.answer(found, lambda: terminal.console().print(tables.import_(found)))


@app.command("follow")
def follow(context: typer.Context, import_id: Id, as_json: Json = False) -> None:
    """Watch it until it rests. Ctrl-C only stops the watching."""
    terminal = terminal_of(context)
    _ended(terminal, follow_import(terminal, import_id))


@app.command("cancel")
def cancel(context: typer.Context, import_id: Id, wait: Wait = False, as_json: Json = False) -> None:
    """Give the original back while the import runs. On a stuck undo: start the node again."""
    terminal = terminal_of(context)
    told = terminal.client.post(f"/v1/imports/{import_id}/cancel")
    _told(terminal, told, wait, f"{import_id} is being undone.", wanted=("cancelled", "imported"))


@app.command("retry")
def retry(context: typer.Context, import_id: Id, wait: Wait = False, as_json: Json = False) -> None:
    """Let a stuck import, undo or clean-up go on."""
    terminal = terminal_of(context)
    told = terminal.client.post(f"/v1/imports/{import_id}/retry")
    _told(terminal, told, wait, f"{import_id} goes on.")


@app.command("undo")
def undo(
    context: typer.Context,
    import_id: Id,
    to_import_point: Annotated[
        bool, typer.Option("--to-import-point", help="Disks as they were at the import, not as they are now.")
    ] = False,
    wait: Wait = False,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Give the machine back as it was. Shows its plan and asks; without a terminal, or with --yes, it does not ask."""
    terminal = terminal_of(context)
    body = {"to_import_point": to_import_point}
    if not terminal.as_json:
        print(undo_text(terminal.client.post(f"/v1/imports/{import_id}/undo-plan", body)))
    if not terminal.confirmed("Undo it?", yes):
        terminal.note("Nothing was changed.")
        raise typer.Exit(4)
    told = terminal.client.post(f"/v1/imports/{import_id}/undo", body)
    _told(terminal, told, wait, f"{import_id} is being undone.", wanted=("undone",))


@app.command("extend")
def extend(
    context: typer.Context,
    import_id: Id,
    by: Annotated[str | None, typer.Argument(metavar="DURATION", help="As 48h or 7d.")] = None,
    by_option: Annotated[str | None, typer.Option("--by", metavar="DURATION", help="The same.")] = None,
    as_json: Json = False,
) -> None:
    """Keep the originals longer."""
    terminal = terminal_of(context)
    text = by or by_option
    if text is None:
        raise InvalidInput(field="by", problem="say by how much, as in 48h")
    told = terminal.client.post(f"/v1/imports/{import_id}/extend", {"by_s": _seconds(text, "by")})
    terminal.answer(told, f"The originals are kept until {told['retained_until']}.")


@app.command("finish")
def finish(context: typer.Context, import_id: Id, wait: Wait = False, yes: Yes = False, as_json: Json = False) -> None:
    """Delete the originals now. It cannot be undone."""
    terminal = terminal_of(context)
    question = "Delete the originals now? After it the import cannot be undone."
    if not terminal.confirmed(question, yes):
        terminal.note("Nothing was changed.")
        raise typer.Exit(4)
    told = terminal.client.post(f"/v1/imports/{import_id}/finish", {"confirmed": True})
    _told(terminal, told, wait, f"{import_id}: the originals are being deleted.", wanted=("finished",))


def _told(
    terminal: Terminal,
    told: dict[str, Any],
    wait: bool,
    text: str,
    *,
    wanted: tuple[str, ...] = ("imported", "undone", "finished"),
) -> None:
    """The answer now, or with --wait once it rests; exit code 1 if it did not come where it should."""
    if not wait:
        terminal.answer(told, f"{text}\nWatch it: holdfast import follow {told['id']}")
        return
    if not terminal.as_json:
        terminal.note(text)
    _ended(terminal, follow_import(terminal, told["id"]), wanted)


def _ended(terminal: Terminal, ended: dict[str, Any], wanted: tuple[str, ...] | None = None) -> None:
    terminal.answer(ended, lambda: terminal.console().print(tables.import_(ended)))
    good = wanted or ("imported", "undone", "finished", "cancelled")
    if ended["state"] not in good:
        raise typer.Exit(1)


def _wish(machine: str, cloud: str | None, options: dict[str, Any], spec: Path | None) -> dict[str, Any]:
    tables.address(machine)
    body: dict[str, Any] = {"machine": machine, "options": options}
    if cloud is not None:
        body["cloud"] = cloud
    if spec is not None:
        body["spec"] = _spec_of(read_json_file(spec, "spec"))
    return body


def _spec_of(told: Any) -> dict[str, Any]:
    """A node, wrapped or not; a whole plan means its spec part."""
    if not isinstance(told, dict):
        raise InvalidInput(field="spec", problem="must be a JSON object")
    if "digest" in told and "spec" in told:
        told = told["spec"]
    spec: dict[str, Any] = told
    return spec


def _plan_of(told: Any) -> dict[str, Any]:
    if not isinstance(told, dict) or not {"digest", "vm_name", "resource_group"} <= told.keys():
        raise InvalidInput(field="plan", problem="is no plan; 'holdfast import plan RG/VM --out FILE' writes one")
    return told


def _options(
    retention: str | None,
    draining_timeout: int | None,
    network: str | None,
    disks: str | None,
    priority: str | None,
    probe: list[str] | None,
    accept: list[str] | None,
    recreate_extension: list[str] | None,
    delete_originals_immediately: bool,
    convert_unmanaged_disks: bool,
    prove_for: int | None,
    prove_timeout: int | None,
) -> dict[str, Any]:
    """Only what was given: defaults are the server's."""
    given = {
        "network": _one_of(network, "network", "new", "keep"),
        "disks": _one_of(disks, "disks", "snapshot", "reattach"),
        "priority": _one_of(priority, "priority", "spot", "regular"),
        "retention_s": None if retention is None else _seconds(retention, "retention"),
        "draining_timeout_s": draining_timeout,
        "probes": probe or None,
        "prove_for_s": prove_for,
        "prove_timeout_s": prove_timeout,
        "accept": [code.upper() for code in accept] if accept else None,
        "recreate_extensions": recreate_extension or None,
        "delete_originals_immediately": delete_originals_immediately or None,
        "convert_unmanaged_disks": convert_unmanaged_disks or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def _one_of(value: str | None, name: str, *known: str) -> str | None:
    if value is not None and value not in known:
        raise InvalidInput(field=name, problem=f"'{value}' is not one of {', '.join(known)}")
    return value


def _seconds(text: str, name: str) -> int:
    return int(parse_duration(text, name).total_seconds())


def _write(path: Path, plan: dict[str, Any]) -> None:
    """For its owner only: a plan describes machines in full."""
    try:
        path.touch(mode=0o600)
        path.write_text(json.dumps(plan, indent=2, ensure_ascii=False) + "\n")
    except OSError as exc:
        raise InvalidInput(field="out", problem=f"cannot write {path}: {exc.strerror}") from exc

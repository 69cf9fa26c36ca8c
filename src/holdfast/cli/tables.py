"""Tables and cards of what `/v1` shows, for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from holdfast.core.errors import InvalidInput
from holdfast.core.units import format_duration

__all__ = ["address", "clouds", "finding_lines", "findings", "import_", "imports", "machine", "machines", "node",
           "nodes", "operation", "operations", "refusals", "tokens"]  # fmt: skip

_GOOD = {"imported", "active", "done", "running", "finished", "undone", "HEALTHY"}
_WHOLE = {"IMPORT", "NODE", "OPERATION", "STATE", "VM", "POWER"}  # what people copy stays in one piece
_BAD = {"failed", "stuck", "error", "UNHEALTHY"}


def address(text: str) -> tuple[str, str]:
    """(group, name) of RG/VM."""
    group, slash, name = text.partition("/")
    if not slash or not group or not name or "/" in name:
        raise InvalidInput(field="machine", problem=f"'{text}' is not RESOURCE_GROUP/VM")
    return group, name


def clouds(found: list[dict[str, Any]]) -> RenderableType:
    rows = [
        (c["name"], c["kind"], c["options"].get("subscription", ""), c["options"].get("endpoint", "")) for c in found
    ]
    return _table(("NAME", "KIND", "SUBSCRIPTION", "ENDPOINT"), rows, "No cloud is connected: 'holdfast cloud add'.")


def machines(found: list[dict[str, Any]]) -> RenderableType:
    rows = []
    for one in found:
        verdict = {True: "yes", False: "no: " + ", ".join(one["why_not"]), None: "?"}[one["importable"]]
        addresses = " ".join(filter(None, (one["private_ip"], one["public_ip"]))) or "-"
        rows.append((one["vm"], one["size"], one["priority"], one["power"], str(one["disk_count"]), addresses, verdict))
    titles = ("VM", "SIZE", "PRIORITY", "POWER", "DISKS", "ADDRESSES", "IMPORTABLE")
    return _table(titles, rows, "There is no machine.")


def machine(one: dict[str, Any]) -> RenderableType:
    zones = f" zone {', '.join(one['zones'])}" if one["zones"] else ""
    rows = [
        ("size", f"{one['size']} ({one['priority']})"),
        ("place", f"{one['location']}{zones}"),
        ("power", f"{one['power']}, guest agent {one['agent']}"),
        ("disks", "\n".join(f"{d['role']}{'' if d['lun'] is None else ' ' + str(d['lun'])}: {d['name']} "
                            f"{d['size_gib'] or '?'} GiB {d['sku'] or ''}" for d in one["disks"])),
        ("cards", ", ".join(nic["name"] for nic in one["nics"])),
        ("addresses", " ".join(filter(None, (one["private_ip"], one["public_ip"]))) or "-"),
        ("extensions", ", ".join(one["extensions"]) or "-"),
        ("importable", "yes" if one["importable"] else "no"),
    ]  # fmt: skip
    return Group(Text(one["vm"], style="bold"), _card(rows), Text(findings(one["findings"])))


def imports(found: list[dict[str, Any]]) -> RenderableType:
    rows = [
        (i["id"], i["state"], i["vm"], i["node_id"], _countdown(i), i["created_at"][:16].replace("T", " "))
        for i in found
    ]
    table = _table(("IMPORT", "STATE", "VM", "NODE", "ORIGINALS", "BEGUN"), rows, "There is no import.")
    urgent = [f"{i['id']}: {text}" for i in found if (text := _why_a_person_is_needed(i))]
    return Group(table, *(Text(line) for line in urgent)) if urgent else table


def _why_a_person_is_needed(one: dict[str, Any]) -> str | None:
    if one["attention"]:
        return str(one["attention"])
    if one["state"] == "stuck" and one["error"]:
        return f"{one['error']['text']} {one['error']['remedy']}"
    return None


def import_(one: dict[str, Any]) -> RenderableType:
    """One import: what it is doing, what is retained and how long still."""
    rows = [("state", one["state"]), ("node", one["node_id"]), ("operation", one["working"])]
    if successor := one["successor"]:
        market = "spot" if successor.get("spot") else "on-demand"
        rows.append(("machine", f"{successor.get('name')} {successor.get('size')} ({market})"))
    progress = one["progress"]
    if progress and one["state"] in ("running", "undoing", "finishing", "cancelling"):
        far = " ".join(filter(None, (progress["title"], progress["message"])))
        rows.append(("doing", far or progress["state"]))
    if one["countdown_s"] is not None:
        rows.append(("originals", _countdown(one)))
    if one["error"]:
        rows.append(("error", f"{one['error']['text']} {one['error']['remedy']}  [{one['error']['code']}]"))
    if one["attention"]:
        rows.append(("attention", one["attention"]))
    rows += [("warning", text) for text in one["warnings"]]
    parts: list[RenderableType] = [Text(f"{one['id']}  {one['vm']}", style="bold"), _card(rows)]
    if kept := [entry for entry in one.get("ledger", []) if entry["fate"] not in ("gone", "planned")]:
        lines = [(e["fate"], e["role"], e["id"].rsplit("/", 1)[-1]) for e in kept]
        parts.append(_table(("FATE", "ROLE", "RESOURCE"), lines, ""))
    ways = {
        "imported": "Give it back: holdfast import undo {id}   Keep longer: extend {id} 48h   Delete now: finish {id}",
        "stuck": "Go on: holdfast import retry {id}   Back: holdfast import cancel {id}",
        "running": "Watch: holdfast import follow {id}   Give up: holdfast import cancel {id}",
    }
    if one["state"] in ways:
        parts.append(Text(ways[one["state"]].format(id=one["id"]), style="dim"))
    return Group(*parts)


def nodes(found: list[dict[str, Any]]) -> RenderableType:
    rows = [
        (n["id"], n["name"], _state(n), n["health"], n["size"] or "-", "spot" if n["spot"] else "on-demand",
         " ".join(filter(None, (n["private_ip"], n["public_ip"]))) or "-", n["vm_name"] or "-")
        for n in found
    ]  # fmt: skip
    titles = ("NODE", "NAME", "STATE", "HEALTH", "SIZE", "MARKET", "ADDRESSES", "MACHINE")
    return _table(titles, rows, "There is no node.")


def node(one: dict[str, Any]) -> RenderableType:
    rows = [
        ("state", _state(one)),
        ("health", one["health"]),
        ("machine", f"{one['vm_name'] or '-'} in {one['resource_group']} ({one['region']})"),
        ("size", f"{one['size'] or '-'} ({'spot' if one['spot'] else 'on-demand'})"),
        ("addresses", " ".join(filter(None, (one["private_ip"], one["public_ip"]))) or "-"),
        ("import", one.get("import_id") or "-"),
    ]
    if one["reason"] == "EVICTED":
        rows.insert(1, ("", "deallocated: evicted, or by somebody in Azure, which does not tell the two apart"))
    return Group(Text(f"{one['id']}  {one['name']}", style="bold"), _card(rows))


def operations(found: list[dict[str, Any]]) -> RenderableType:
    rows = [
        (o["id"], o["kind"], o["state"], o["step_title"] or "-", o["actor"], o["created_at"][:19].replace("T", " "))
        for o in found
    ]
    return _table(("OPERATION", "KIND", "STATE", "STEP", "BY", "BEGUN"), rows, "There is no operation.")


def operation(one: dict[str, Any]) -> RenderableType:
    rows = [("kind", one["kind"]), ("state", one["state"]), ("by", one["actor"]), ("begun", one["created_at"])]
    if one["error"]:
        rows.append(("error", f"{one['error']['text']} {one['error']['remedy']}  [{one['error']['code']}]"))
    steps = [
        (str(s["seq"]), s["title"], "undone" if s["undone"] else s["state"], str(s["attempt"]),
         s["error"]["text"] if s["error"] else "")
        for s in one["steps"]
    ]  # fmt: skip
    titles = ("", "STEP", "STATE", "TRIES", "")
    return Group(Text(one["id"], style="bold"), _card(rows), _table(titles, steps, "No step has begun."))


def tokens(found: list[dict[str, Any]]) -> RenderableType:
    rows = [
        (t["name"], t["role"], ", ".join(t["clouds"]) if t["clouds"] is not None else "all", t["created_at"][:10],
         "revoked" if t["revoked_at"] else "live")
        for t in found
    ]  # fmt: skip
    return _table(("NAME", "ROLE", "CLOUDS", "MADE", "STATE"), rows, "There is no token.")


def refusals(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for one in found if one["severity"] == "refusal"]


def finding_lines(found: list[dict[str, Any]]) -> Iterable[str]:
    words = {"refusal": "refused", "warning": "warning", "info": "note"}
    for one in found:
        yield f"  {words.get(one['severity'], one['severity'])} {one['code']}: {one['text']}"
        if one["remedy"]:
            yield f"      {one['remedy']}"


def findings(found: list[dict[str, Any]]) -> str:
    return "\n".join(finding_lines(found))


def _state(one: dict[str, Any]) -> str:
    return f"{one['state']} ({one['reason']})" if one["reason"] else str(one["state"])


def _countdown(one: dict[str, Any]) -> str:
    if one["countdown_s"] is None:
        return "-"
    if one["held_until"]:
        return f"due; held until {one['held_until']} because the server was away"
    return f"kept for {format_duration(timedelta(seconds=one['countdown_s']))} more"


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> RenderableType:
    if not rows:
        return Text(none)
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold", no_wrap=title in _WHOLE)
    for row in rows:
        table.add_row(*(_coloured(cell) for cell in row))
    return table


def _card(rows: Sequence[tuple[str, str]]) -> RenderableType:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="dim")
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, _coloured(value))
    return table


def _coloured(cell: str) -> Text:
    style = "green" if cell in _GOOD else "red" if cell in _BAD else ""
    return Text(cell, style=style)

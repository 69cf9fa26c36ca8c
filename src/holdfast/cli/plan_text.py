"""A plan as an operator wants to read it before saying yes. Pure: from the plan's JSON to text."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from holdfast.cli import tables
from holdfast.core.units import format_duration

__all__ = ["plan_text", "undo_text"]

MOST_MARKETS = 6  # more are tried, but nobody reads them; --json has all
MOST_REASONS = 3
WIDTH = 110

RETAIN, KEEP, DELETE_LATER = "retain", "keep", "delete after retention"
AFTERWARDS = (RETAIN, KEEP, DELETE_LATER)

_KINDS = {
    "virtualmachines": "machine",
    "disks": "disk",
    "snapshots": "snapshot",
    "networkinterfaces": "network card",
    "publicipaddresses": "public address",
    "extensions": "extension",
}


def plan_text(plan: dict[str, Any], *, runs: bool = False) -> str:
    """Sections: what happens, the node, where it runs, downtime and price, findings, what cannot come back, digest.

    runs: the import has begun; otherwise the last line says that nothing was changed.
    """
    refused = tables.refusals(plan["findings"])
    sections = [
        [
            f"Import of {plan['resource_group']}/{plan['vm_name']} in {plan['cloud']} ({plan['location']})",
            *_wrapped(_gist(plan), "", ""),
        ],
        _section("This import would be refused", tables.finding_lines(refused)),
        _section("What happens, in order", _actions(plan)),
        _section("The node", _node(plan)),
        _section("Where it will run", _markets(plan)),
        _section("Downtime and price", _cost(plan)),
        _section("Findings", tables.finding_lines([one for one in plan["findings"] if one not in refused])),
        _section("What cannot come back as it was", _losses(plan)),
        [f"Digest {plan['digest']}." + ("" if runs else " Nothing has been changed.")],
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def undo_text(plan: dict[str, Any]) -> str:
    """What an undo would do."""
    sections = [
        [f"Undo of import {plan['import_id']}"],
        _section("What happens, in order", [f"  {n:>2}. {step}" for n, step in enumerate(plan["steps"], 1)]),
        _section("Given back", [f"  · {short(ref)}" for ref in plan["kept"]]),
        _section("Deleted", [f"  · {short(ref)}" for ref in plan["deleted"]]),
        _section("What cannot come back as it was", _losses(plan)),
    ]
    return "\n\n".join("\n".join(lines) for lines in sections if lines)


def _losses(plan: dict[str, Any]) -> Iterator[str]:
    for text in plan["lost"]:
        yield from _wrapped(text, "  · ", "    ")


def short(ref: str) -> str:
    """`disk db-1-os` for an ARM id; anything else as it is."""
    parts = ref.split("/")
    if len(parts) < 3 or not ref.startswith("/"):
        return ref
    return f"{_KINDS.get(parts[-2].lower(), parts[-2])} {parts[-1]}"


def _section(title: str, lines: Iterable[str]) -> list[str]:
    inside = list(lines)
    return [title, *inside] if inside else []


def _gist(plan: dict[str, Any]) -> str:
    options, name = plan["options"], plan["vm_name"]
    successor = plan["successor_name"]
    network = "its name, cards and addresses pass to the node" if options["network"] == "keep" else (
        f"the node's machine {successor} gets new addresses"
    )  # fmt: skip
    disks = "the same disks pass to the node" if options["disks"] == "reattach" else "the node gets copies of its disks"
    goes = options["network"] == "keep" or options["disks"] == "reattach"
    fate = "deleted before the proof and can be created again" if goes else "stopped and kept"
    hours = f"{options['retention_s'] / 3600:g} h"
    return f"{disks.capitalize()}; {network}. The machine object {name} is {fate}. Originals are kept for {hours}."


def _actions(plan: dict[str, Any]) -> Iterator[str]:
    """Equal things in a row are one line, and so are all that are retained for the same reason."""
    actions = plan["actions"]
    deleted_later = {action["ref"] for action in actions if action["verb"] == DELETE_LATER}
    retained = {action["ref"] for action in actions if action["verb"] == RETAIN}
    for number, (verb, reason, back, refs) in enumerate(_grouped(actions, retained), 1):
        then = ", then delete" if verb == RETAIN and set(refs) <= deleted_later else ""
        yield from _wrapped(f"{verb} {_counted(refs)}{then}", f"  {number:>2}. ", "      ")
        yield from _wrapped(f"why: {reason}; back: {back}", "      ", "        ")


def _grouped(actions: list[dict[str, Any]], retained: set[str]) -> Iterator[tuple[str, str, str, list[str]]]:
    groups: list[tuple[str, str, str, list[str]]] = []
    for action in actions:
        verb, ref, key = action["verb"], action["ref"], (action["verb"], action["reason"], action["reversible_by"])
        if verb == DELETE_LATER and ref in retained:
            continue  # said where it is retained
        candidates = groups if verb in AFTERWARDS else groups[-1:]
        for group in candidates:
            if group[:3] == key:
                group[3].append(ref)
                break
        else:
            groups.append((*key, [ref]))
    yield from groups


def _counted(refs: list[str]) -> str:
    """`disks a, b; network card c`."""
    by_kind: dict[str, list[str]] = {}
    for ref in refs:
        kind, _, name = short(ref).rpartition(" ")
        by_kind.setdefault(kind, []).append(name)
    return "; ".join(f"{kind}{_plural(kind, len(names))} {', '.join(names)}".strip() for kind, names in by_kind.items())


def _plural(kind: str, count: int) -> str:
    return "" if count == 1 or not kind else "es" if kind.endswith("s") else "s"


def _wrapped(text: str, first: str, rest: str) -> Iterator[str]:
    yield from textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=rest, break_long_words=False,
                             break_on_hyphens=False)  # fmt: skip


def _node(plan: dict[str, Any]) -> Iterator[str]:
    node = plan["node"]
    sizes = (node.get("compute") or {}).get("vmSizes") or {}
    strategy, persistence = node.get("strategy") or {}, node.get("persistence") or {}
    yield f"  name {node.get('name')}, machine {plan['successor_name']}, group {node.get('resourceGroupName')}"
    lifecycle = strategy.get("preferredLifecycle", "spot")
    fallback = ", on-demand where there is none" if lifecycle == "spot" and strategy.get("fallbackToOd", True) else ""
    yield f"  {lifecycle}{fallback}; on-demand size {', '.join(sizes.get('odSizes') or ['-'])}"
    if sizes.get("spotSizes"):
        yield f"  spot sizes {', '.join(sizes['spotSizes'])}"
    elif attributes := sizes.get("spotSizeAttributes"):
        yield f"  spot sizes: all with {', '.join(f'{key} {value:g}' for key, value in attributes.items())}"
    kept = [word for word, key in (("OS disk", "shouldPersistOsDisk"), ("data disks", "shouldPersistDataDisks"),
                                   ("network", "shouldPersistNetwork")) if persistence.get(key)]  # fmt: skip
    yield f"  persistent: {', '.join(kept) or 'nothing'}"


def _markets(plan: dict[str, Any]) -> Iterator[str]:
    markets = plan["markets"]
    for number, market in enumerate(markets[:MOST_MARKETS], 1):
        kind = "spot" if market["spot"] else "on-demand"
        zone = f"zone {market['zone']}" if market["zone"] else "no zone"
        price = "price unknown" if market["usd_per_hour"] is None else f"${market['usd_per_hour']:.4f}/h"
        yield f"  {number:>2}. {market['size']:<26} {kind:<10} {zone:<8} {price}"
    if len(markets) > MOST_MARKETS:
        last = markets[-1]
        kind = "spot" if last["spot"] else "on-demand"
        yield f"      … {len(markets) - MOST_MARKETS} more, the last one {last['size']} {kind}"
    if plan["funnel"]:
        yield from _wrapped(" → ".join(_funnel(plan["funnel"])), "  Sizes: ", "         ")
    reasons = Counter(one["reasons"][-1] for one in plan["unsupported"] if one["reasons"])
    if reasons:
        often = "; ".join(f"{count} × {reason}" for reason, count in reasons.most_common(MOST_REASONS))
        text = f"{len(plan['unsupported'])} sizes do not qualify, most often because of: {often}. --json has each."
        yield from _wrapped(text, "  ", "  ")


def _funnel(stages: list[list[Any]]) -> Iterator[str]:
    """Only the rules that some size failed."""
    before: int | None = None
    for title, remain in stages:
        if remain != before:
            yield f"{remain} {title}"
        before = remain


def _cost(plan: dict[str, Any]) -> Iterator[str]:
    downtime, price = plan["downtime"], plan["price"]
    if downtime["usual_s"]:
        parts = ", ".join(f"{name} {seconds} s" for name, seconds in downtime["parts"].items())
        text = f"down for about {_span(downtime['usual_s'])} (at best {_span(downtime['least_s'])}): {parts}"
        yield from _wrapped(text, "  ", "    ")
    else:
        yield "  no downtime: the machine is off; it is started once, proven, and stopped again"
    now, spot, regular = (_money(price[key]) for key in ("before", "after_spot", "after_on_demand"))
    if {now, spot, regular} == {"unknown"}:
        yield "  prices are unknown: connect the cloud with --prices-endpoint to see them"
    else:
        yield f"  compute per month: now {now}; as spot {spot}; on-demand {regular}"


def _money(value: float | None) -> str:
    return "unknown" if value is None else f"${value:,.2f}"


def _span(seconds: int) -> str:
    return format_duration(timedelta(seconds=seconds))

"""Children that Azure shows inside their parent's document (subnets, security rules, backend pools), and references.

They are stored as resources of their own and put together in the parent's view, so that both ways of writing them
(with the parent, or by their own URL) are one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource, clone
from azurelab.network.errors import NetworkError

__all__ = ["absorb", "decorate", "embedded", "format_error", "reference", "referenced", "shown_reference"]

Complete = Callable[[Context, Resource, Resource | None], None]


def format_error(message: str, target: str | None = None) -> NetworkError:
    """The network provider's word for a body that it cannot read."""
    return NetworkError(400, "InvalidRequestFormat", message, target=target)


def absorb(
    ctx: Context,
    word: str,
    type_name: str,
    complete: Complete,
    may_go: Callable[[Context, Resource], None],
) -> None:
    """Turn the list `properties.<word>` of the parent's new document into child resources.

    `complete(ctx, child, before)` checks and completes each; children that the list leaves out go, if `may_go` does not
    raise. A body without the list leaves them as they are.
    """
    parent = ctx.resource
    given = parent.properties.pop(word, None)
    if given is None:
        return
    if not isinstance(given, list):
        raise format_error(f"Cannot parse the request. '{word}' must be a list.", word)
    kept: set[str] = set()
    before = {r.key: r for r in ctx.store.children(parent.id, type_name)}
    made: list[Resource] = []
    for item in given:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise format_error(f"Resource name is missing in '{word}' of {parent.id}.", word)
        child_id = f"{parent.id}/{word}/{item['name']}"
        old = before.get(child_id.lower())
        if child_id.lower() in kept:
            raise NetworkError(
                400, "DuplicateResourceName", f"Resource {parent.id} has two child resources named {item['name']}."
            )
        kept.add(child_id.lower())
        properties = clone(item.get("properties") or {})
        child = Resource(
            old.id if old else child_id,
            type_name,
            {
                "name": old.name if old else item["name"],
                "id": old.id if old else child_id,
                "type": type_name,
                "properties": properties,
            },
            clone(old.hidden) if old else {},
            ctx.api_version,
        )
        properties["provisioningState"] = "Succeeded"
        made.append(child)
    for gone in [r for k, r in before.items() if k not in kept]:
        may_go(ctx, gone)
        ctx.remove(gone.id)
    for child in made:
        complete(ctx, child, before.get(child.key))
        ctx.store.put(child)


def embedded(
    ctx: Context,
    parent: Resource,
    type_name: str,
    etag: str,
    show: Callable[[Context, Resource], dict[str, Any]] | None,
) -> list[dict[str, Any]]:
    """The children as the parent's document shows them."""
    state = parent.properties.get("provisioningState", "Succeeded")
    shown = []
    for child in ctx.store.children(parent.id, type_name):
        doc = show(ctx, child) if show is not None else child.doc
        properties = {**doc["properties"]}
        if state != "Succeeded":
            properties["provisioningState"] = state
        shown.append({**doc, "etag": etag, "properties": properties})
    return shown


def decorate(parent: Resource, word: str, items: Any) -> list[dict[str, Any]]:
    """Entries of a list that have ids but no life of their own (frontends, probes, rules): id, type, state."""
    if items is None:
        return []
    if not isinstance(items, list):
        raise format_error(f"Cannot parse the request. '{word}' must be a list.", word)
    done = []
    for item in items:
        if not isinstance(item, dict) or not isinstance(item.get("name"), str):
            raise format_error(f"Resource name is missing in '{word}' of {parent.id}.", word)
        entry = clone(item)
        entry.pop("etag", None)
        entry["id"] = f"{parent.id}/{word}/{item['name']}"
        entry["type"] = f"{parent.type}/{word}"
        properties = entry.setdefault("properties", {})
        properties["provisioningState"] = "Succeeded"
        done.append(entry)
    return done


def reference(holder: Any, word: str) -> str | None:
    """The id in `holder[word] = {"id": …}`, None where there is none."""
    value = holder.get(word) if isinstance(holder, dict) else None
    if value is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise format_error(f"Value for reference id is missing. Path properties.{word}.", word)
    return str(value["id"])


def referenced(ctx: Context, resource_id: str, by: str) -> Resource:
    """A resource that must exist and lie in the same region; InvalidResourceReference."""
    found = ctx.store.get(resource_id)
    if found is None:
        raise NetworkError(
            400,
            "InvalidResourceReference",
            f"Resource {resource_id} referenced by resource {by} was not found. Please make sure that the referenced "
            f"resource exists, and that both resources are in the same region.",
        )
    return found


def shown_reference(ctx: Context, owner: Resource, entry: dict[str, Any], word: str) -> dict[str, Any]:
    """A back-reference to a part of `owner`: its id alone, or the whole part under `$expand=…word`."""
    if word.lower() not in ctx.query.get("$expand", "").lower():
        return {"id": entry["id"]}
    return {**clone(entry), "etag": ctx.lab.arm.etag(ctx.lab.arm.types[owner.type.lower()], owner)}

"""How bodies become documents: merging, read-only fields, spelling, entity tags. Pure."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from typing import Any

from azurelab.arm.store import Resource, clone
from azurelab.arm.types import Etags, ResourceType

__all__ = ["dig", "etag_of", "merge_patch", "merge_put", "plant", "respell", "uproot", "without_nulls"]


def dig(doc: Any, path: str) -> Any:
    """The value at a dotted path, None where there is none."""
    for word in path.split("."):
        if not isinstance(doc, dict):
            return None
        doc = doc.get(word)
    return doc


def plant(doc: dict[str, Any], path: str, value: Any) -> None:
    """Set a value at a dotted path, making objects on the way."""
    *way, last = path.split(".")
    for word in way:
        below = doc.get(word)
        if not isinstance(below, dict):
            below = doc[word] = {}
        doc = below
    doc[last] = value


def uproot(doc: dict[str, Any], path: str) -> None:
    """Remove what stands at a dotted path, if anything does."""
    *way, last = path.split(".")
    for word in way:
        below = doc.get(word)
        if not isinstance(below, dict):
            return
        doc = below
    doc.pop(last, None)


def merge_put(rtype: ResourceType, before: Resource | None, body: dict[str, Any]) -> dict[str, Any]:
    """The document after a PUT: the body, but for read-only fields, which stay as they were. Nulls count as absent."""
    doc: dict[str, Any] = without_nulls(body)
    for path in rtype.readonly:
        uproot(doc, path)
        if before is not None:
            kept = dig(before.doc, path)
            if kept is not None:
                plant(doc, path, clone(kept))
    return doc


def without_nulls(value: Any) -> Any:
    """A copy without the members that are null, at any depth."""
    if isinstance(value, dict):
        return {k: without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [without_nulls(v) for v in value]
    return value


def respell(value: Any, spelling: Mapping[str, str]) -> Any:
    """A copy with member names as Azure spells them; tags are the user's own and stay."""
    if isinstance(value, dict):
        return {
            spelling.get(k.lower(), k): (v if k.lower() == "tags" else respell(v, spelling)) for k, v in value.items()
        }
    if isinstance(value, list):
        return [respell(v, spelling) for v in value]
    return value


def merge_patch(rtype: ResourceType, before: Resource, body: dict[str, Any]) -> dict[str, Any]:
    """The document after a PATCH: `tags` replaces the map, objects merge deeply, null removes, lists replace."""
    doc: dict[str, Any] = clone(before.doc)
    changes: dict[str, Any] = clone(body)
    for path in rtype.readonly:
        uproot(changes, path)
    for name in ("id", "name", "type", "etag"):
        changes.pop(name, None)
    if "tags" in changes:
        doc["tags"] = changes.pop("tags") or {}
    _merge(doc, changes)
    return doc


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for name, value in changes.items():
        if value is None:
            into.pop(name, None)
        elif isinstance(value, dict) and isinstance(into.get(name), dict):
            _merge(into[name], value)
        else:
            into[name] = value


def etag_of(kind: Etags, resource: Resource) -> str:
    """The entity tag of the document as it is stored now."""
    if kind is Etags.COUNTER:
        return f'"{resource.version}"'
    digest = hashlib.md5(f"{resource.key}#{resource.version}".encode(), usedforsecurity=False).digest()
    return f'W/"{uuid.UUID(bytes=digest)}"'

"""A cloud resource as the cloud described it: immutable, lossless JSON that can be written back as it was read."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

__all__ = ["Document", "same_ref"]


@dataclass(frozen=True)
class Document:
    """One resource at one moment. `body` must not be changed in place; `with_value` returns a changed copy.

    ref: the cloud's id, verbatim. type: the cloud's type name. api_version: what it was read with, and the only one it
    is lossless in. identity: what tells this resource from a later one of the same name (vmId, uniqueId, resourceGuid);
    None where the cloud has none or before it exists. read_at is None for a document that we composed ourselves.
    """

    ref: str
    type: str
    api_version: str
    body: dict[str, Any]
    etag: str | None = None
    identity: str | None = None
    read_at: datetime | None = None

    @property
    def name(self) -> str:
        return self.ref.rsplit("/", 1)[-1]

    def get(self, path: str, default: Any = None) -> Any:
        """The value at a dotted path (`properties.hardwareProfile.vmSize`); `default` where it is absent or null."""
        value: Any = self.body
        for part in path.split("."):
            if not isinstance(value, Mapping) or value.get(part) is None:
                return default
            value = value[part]
        return value

    def with_value(self, path: str, value: Any) -> Document:
        """A copy with `value` at the dotted path (objects on the way are made); value None removes the key."""
        body = deepcopy(self.body)
        *way, last = path.split(".")
        place = body
        for part in way:
            if not isinstance(place.get(part), dict):
                place[part] = {}
            place = place[part]
        if value is None:
            place.pop(last, None)
        else:
            place[last] = value
        return replace(self, body=body)

    @property
    def tags(self) -> dict[str, str]:
        return dict(self.body.get("tags") or {})


def same_ref(one: str | None, other: str | None) -> bool:
    """Whether two cloud ids name the same thing: ids compare case-blind."""
    return one is not None and other is not None and one.lower() == other.lower()

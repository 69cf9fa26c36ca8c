"""What a VM's PUT means: the whole for a new machine, changes on top of the stored one for an existing one.

Azure's compute provider keeps what a PUT leaves out (recorded: a PUT without imageReference keeps it), replaces lists,
and never shows secrets.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from azurelab.arm.errors import invalid_parameter
from azurelab.arm.store import Resource, clone

__all__ = ["CUSTOM_DATA", "merge_patch", "merge_put", "take_secrets"]

CUSTOM_DATA = "custom_data"
"""Key in `hidden`: base64 text as the client sent it."""

# What a client cannot set; the stored value stays.
_READONLY = ("vmId", "timeCreated", "provisioningState", "instanceView")
_MOST_CUSTOM_DATA_BYTES = 65535


def merge_put(before: Resource | None, body: dict[str, Any]) -> dict[str, Any]:
    if before is None:
        doc = {k: v for k, v in body.items() if v is not None}
        properties = doc.setdefault("properties", {})
        for word in _READONLY:
            properties.pop(word, None)
        doc["properties"] = _without_nulls(properties)
        doc.pop("resources", None)
        return doc
    return merge_patch(before, body)


def merge_patch(before: Resource, body: dict[str, Any]) -> dict[str, Any]:
    """Tags and lists replace, objects merge, null removes."""
    doc: dict[str, Any] = clone(before.doc)
    for word, value in body.items():
        if word in ("id", "name", "type", "etag", "resources"):
            continue
        if word == "properties":
            properties = {k: v for k, v in (value or {}).items() if k not in _READONLY}
            _merge(doc.setdefault("properties", {}), properties)
        elif word == "tags":
            doc["tags"] = value or {}
        elif value is None:
            doc.pop(word, None)
        else:
            doc[word] = value
    return doc


def _merge(into: dict[str, Any], changes: dict[str, Any]) -> None:
    for word, value in changes.items():
        if value is None:
            into.pop(word, None)
        elif isinstance(value, dict) and isinstance(into.get(word), dict):
            _merge(into[word], value)
        else:
            into[word] = _without_nulls(value)


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def take_secrets(vm: Resource) -> None:
    """Move what no GET shows out of the document: passwords, custom data, user data."""
    profile = vm.properties.get("osProfile")
    if isinstance(profile, dict):
        profile.pop("adminPassword", None)
        custom = profile.pop("customData", None)
        if custom is not None:
            vm.hidden[CUSTOM_DATA] = _checked(custom, "customData")
        windows = profile.get("windowsConfiguration")
        if isinstance(windows, dict):
            for word in windows.get("additionalUnattendContent") or ():
                word.pop("content", None)
    user = vm.properties.pop("userData", None)
    if user is not None:
        vm.hidden["user_data"] = _checked(user, "userData")


def _checked(text: Any, name: str) -> str:
    try:
        decoded = base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise invalid_parameter(
            name, f"{name[0].upper()}{name[1:]} in the request must be a valid Base64-encoded string."
        ) from exc
    if len(decoded) > _MOST_CUSTOM_DATA_BYTES:
        raise invalid_parameter(name, f"{name} is {len(decoded)} bytes; at most {_MOST_CUSTOM_DATA_BYTES} are allowed.")
    return str(text)

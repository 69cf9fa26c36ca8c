"""GET /resources of a subscription or a group: every tracked resource, with the filters that az and the SDKs send."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, group_not_found
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import group_key, parse_id
from azurelab.arm.reading import page
from azurelab.arm.store import Resource
from azurelab.arm.types import Route
from azurelab.resources.groups import GROUP_TYPE

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["listing_routes"]

_TERM = re.compile(r"^(\w+) eq '([^']*)'$|^substringof\('([^']*)',\s*(\w+)\)$")
_SHOWN = ("id", "name", "type", "location", "tags", "sku", "zones", "managedBy", "kind", "identity", "plan")


def _matches(r: Resource, terms: list[tuple[str, str]]) -> bool:
    rid = parse_id(r.id)
    for name, value in terms:
        word = value.lower()
        have = {
            "resourcetype": r.type.lower(),
            "name": r.name.lower(),
            "resourcegroup": (rid.group or "").lower() if rid is not None else "",
            "location": r.location,
        }.get(name.lower())
        if name == "tagName":
            if word not in (t.lower() for t in r.tags):
                return False
        elif name == "tagValue":
            tag = next((v for n, v in terms if n == "tagName"), "")
            if not any(n.lower() == tag.lower() and v == value for n, v in r.tags.items()):
                return False
        elif have is None:
            raise ArmError(400, "InvalidFilterInQueryString", f"Invalid $filter: '{name}' cannot be filtered on.")
        elif have != word:
            return False
    return True


def listing_routes(lab: Lab) -> list[Route]:
    def terms_of(call: Call) -> list[tuple[str, str]]:
        text = call.query.get("$filter", "").strip()
        found = []
        for part in re.split(r"\s+and\s+", text) if text else []:
            m = _TERM.match(part.strip())
            if m is None or m.group(1) is None:
                raise ArmError(
                    400, "InvalidFilterInQueryString", f"Invalid $filter '{text}' specified in the query string."
                )
            found.append((m.group(1), m.group(2)))
        return found

    def show(r: Resource) -> dict[str, Any]:
        return {k: r.doc[k] for k in _SHOWN if k in r.doc}

    def answer(call: Call, scope: str) -> Response:
        terms = terms_of(call)
        types = [t for t in lab.arm.types.values() if t.in_resources_list and t.name != GROUP_TYPE]
        found = [r for t in types for r in lab.store.of_type(t.name, scope) if _matches(r, terms)]
        return page(lab.arm, call, found, show)

    def everything(call: Call, params: dict[str, str]) -> Response:
        return answer(call, f"/subscriptions/{params['subscription']}")

    def of_group(call: Call, params: dict[str, str]) -> Response:
        group = lab.store.get(group_key(params["subscription"], params["group"]))
        if group is None:
            raise group_not_found(params["group"])
        return answer(call, group.id)

    action = "Microsoft.Resources/subscriptions/resources/read"
    return [
        Route(method="GET", path="/subscriptions/{subscription}/resources", handle=everything, action=action),
        Route(
            method="GET",
            path="/subscriptions/{subscription}/resourceGroups/{group}/resources",
            handle=of_group,
            action=action,
        ),
    ]

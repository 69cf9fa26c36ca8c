"""The subscription's tag names and values: those that resources carry, and those that somebody made beforehand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, conflict
from azurelab.arm.http import Call, Response
from azurelab.arm.types import Route

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["tag_name_routes"]

_SETTING = "tag-names:"


def tag_name_routes(lab: Lab) -> list[Route]:
    def made(subscription: str) -> dict[str, list[str]]:
        """name → values, of those made by themselves."""
        return dict(lab.store.setting(_SETTING + subscription.lower()) or {})

    def keep(subscription: str, names: dict[str, list[str]]) -> None:
        lab.store.set_setting(_SETTING + subscription.lower(), names)

    def used(subscription: str) -> dict[str, dict[str, int]]:
        """name → value → how many resources carry it."""
        counts: dict[str, dict[str, int]] = {}
        for rtype in lab.arm.types.values():
            for r in lab.store.of_type(rtype.name, f"/subscriptions/{subscription}"):
                for name, value in r.tags.items():
                    values = counts.setdefault(name, {})
                    values[value] = values.get(value, 0) + 1
        return counts

    def count(number: int) -> dict[str, Any]:
        return {"type": "Total" if number else "Partial", "value": number}

    def show(subscription: str, name: str, counts: dict[str, dict[str, int]]) -> dict[str, Any]:
        at = f"/subscriptions/{subscription}/tagNames/{name}"
        held = counts.get(name, {})
        values = dict.fromkeys([*made(subscription).get(name, ()), *held])
        return {
            "id": at,
            "tagName": name,
            "count": count(sum(held.values())),
            "values": [{"id": f"{at}/tagValues/{v}", "tagValue": v, "count": count(held.get(v, 0))} for v in values],
        }

    def listing(call: Call, params: dict[str, str]) -> Response:
        counts = used(params["subscription"])
        names = dict.fromkeys([*made(params["subscription"]), *counts])
        return Response(200, {"value": [show(params["subscription"], n, counts) for n in names]})

    def put(call: Call, params: dict[str, str]) -> Response:
        names = made(params["subscription"])
        new = params["name"] not in names
        keep(params["subscription"], {params["name"]: [], **names})
        return Response(201 if new else 200, show(params["subscription"], params["name"], used(params["subscription"])))

    def put_value(call: Call, params: dict[str, str]) -> Response:
        names = made(params["subscription"])
        if params["name"] not in names:
            raise ArmError(404, "TagNameNotFound", f"The tag name '{params['name']}' could not be found.")
        new = params["value"] not in names[params["name"]]
        if new:
            keep(params["subscription"], {**names, params["name"]: [*names[params["name"]], params["value"]]})
        shown = show(params["subscription"], params["name"], used(params["subscription"]))
        value = next(v for v in shown["values"] if v["tagValue"] == params["value"])
        return Response(201 if new else 200, value)

    def delete(call: Call, params: dict[str, str]) -> Response:
        names = made(params["subscription"])
        if params["name"] not in names:
            return Response(204)
        if names[params["name"]]:
            raise conflict("TagNameCannotBeDeleted", f"The tag name '{params['name']}' still has values.")
        keep(params["subscription"], {n: v for n, v in names.items() if n != params["name"]})
        return Response(200)

    def delete_value(call: Call, params: dict[str, str]) -> Response:
        names = made(params["subscription"])
        values = names.get(params["name"], [])
        if params["value"] not in values:
            return Response(204)
        if used(params["subscription"]).get(params["name"], {}).get(params["value"]):
            raise conflict("TagValueCannotBeDeleted", f"The tag value '{params['value']}' is in use.")
        keep(params["subscription"], {**names, params["name"]: [v for v in values if v != params["value"]]})
        return Response(200)

    base = "/subscriptions/{subscription}/tagNames"

    def route(method: str, path: str, handle: Any, word: str) -> Route:
        action = f"Microsoft.Resources/subscriptions/tagNames/{word}"
        return Route(method=method, path=path, handle=handle, action=action)

    return [
        route("GET", base, listing, "read"),
        route("PUT", base + "/{name}", put, "write"),
        route("DELETE", base + "/{name}", delete, "delete"),
        route("PUT", base + "/{name}/tagValues/{value}", put_value, "tagValues/write"),
        route("DELETE", base + "/{name}/tagValues/{value}", delete_value, "tagValues/delete"),
    ]

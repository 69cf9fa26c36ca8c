"""Resource groups: made, tagged, listed, and deleted with everything in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, conflict, group_not_found
from azurelab.arm.fields import check_fields
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import group_key
from azurelab.arm.reading import page
from azurelab.arm.store import Resource, clone
from azurelab.arm.types import PLAIN, Field, Lro, ResourceType, Route, Verb
from azurelab.resources.exporting import EXPORT

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.arm.context import Context

__all__ = ["GROUPS", "GROUP_TYPE", "group_routes", "make_group"]

GROUP_TYPE = "Microsoft.Resources/resourceGroups"
_FIELDS = (Field(path="location", required=True), Field(path="tags", kind=dict))


def _group_id(subscription: str, name: str) -> str:
    return f"/subscriptions/{subscription}/resourceGroups/{name}"


def make_group(lab: Lab, subscription: str, name: str, location: str, tags: dict[str, str] | None = None) -> Resource:
    """Store a group (tests and the control API use this; clients PUT)."""
    return _put(lab, subscription, name, {"location": location, "tags": tags} if tags else {"location": location})[0]


def _put(lab: Lab, subscription: str, name: str, body: dict[str, Any]) -> tuple[Resource, bool]:
    before = lab.store.get(group_key(subscription, name))
    check_fields(_AS_TYPE, _FIELDS, body)
    location = lab.regions.normalise(body["location"])
    if location is None:
        raise ArmError(
            400,
            "LocationNotAvailableForResourceGroup",
            f"The provided location '{body['location']}' is not available for resource group. List of available "
            f"regions is '{','.join(lab.regions.names())}'.",
        )
    if before is not None and before.location != location:
        raise conflict(
            "InvalidResourceGroupLocation",
            f"Invalid resource group location '{location}'. The Resource group already exists in location "
            f"'{before.location}'.",
        )
    with lab.store.transaction():
        doc: dict[str, Any] = {
            "id": before.id if before else _group_id(subscription, name),
            "name": before.name if before else name,
            "type": GROUP_TYPE,
            "location": location,
            "properties": {"provisioningState": "Succeeded"},
        }
        for word in ("tags", "managedBy"):
            if body.get(word) is not None:
                doc[word] = clone(body[word])
        made = lab.store.put(Resource(doc["id"], GROUP_TYPE, doc))
        lab.store.log("created" if before is None else "changed", made.id, type=GROUP_TYPE)
    return made, before is None


_AS_TYPE = ResourceType(name=GROUP_TYPE, body_error="InvalidRequestContent")


def _delete_run(ctx: Context) -> None:
    """Everything in the group goes, in the order that Azure's dependencies ask for; then the group."""
    lab = ctx.lab
    with lab.store.lock:
        found = sorted(
            lab.store.in_group(ctx.id.text),
            key=lambda r: (lab.arm.types[r.type.lower()].delete_order, -r.id.count("/"), r.key),
        )
    for r in found:
        if lab.store.get(r.id) is None:
            continue
        if lab.arm.types[r.type.lower()].delete is None:
            ctx.remove(r.id)
            continue
        try:
            lab.arm.perform("DELETE", r.id, caller=ctx.caller)
        except ArmError as exc:
            raise ArmError(
                409,
                "ResourceGroupDeletionBlocked",
                f"Deletion of resource group '{ctx.id.name}' failed as resource '{r.id}' could not be deleted: "
                f"{exc.code}: {exc.message}",
                details=[exc.error()],
            ) from exc


def _delete_prepare(ctx: Context) -> None:
    ctx.lab.locks.check_delete(ctx.id.text, cascade=True)


def group_routes(lab: Lab) -> list[Route]:
    one = "/subscriptions/{subscription}/resourceGroups/{group}"

    def existing(params: dict[str, str]) -> Resource:
        found = lab.store.get(group_key(params["subscription"], params["group"]))
        if found is None:
            raise group_not_found(params["group"])
        return found

    def put(call: Call, params: dict[str, str]) -> Response:
        with lab.store.transaction():
            lab.locks.check_write(_group_id(params["subscription"], params["group"]))
            made, new = _put(lab, params["subscription"], params["group"], call.object)
        return Response(201 if new else 200, made.doc)

    def patch(call: Call, params: dict[str, str]) -> Response:
        with lab.store.transaction():
            before = existing(params)
            lab.locks.check_write(before.id)
            body = call.object
            merged = {"location": before.location, "tags": body.get("tags", before.doc.get("tags"))}
            made, _ = _put(lab, params["subscription"], params["group"], merged)
        return Response(200, made.doc)

    def get(call: Call, params: dict[str, str]) -> Response:
        headers: dict[str, str] = {}
        lab.throttle.spend(call, "", headers)
        return Response(200, existing(params).doc, headers)

    def head(call: Call, params: dict[str, str]) -> Response:
        found = lab.store.get(group_key(params["subscription"], params["group"]))
        return Response(204 if found is not None else 404)

    def listing(call: Call, params: dict[str, str]) -> Response:
        subscription = f"/subscriptions/{params['subscription']}"
        found = lab.store.of_type(GROUP_TYPE, subscription)
        wanted = _tag_filter(call.query.get("$filter", ""))
        if wanted is not None:
            found = [r for r in found if r.tags.get(wanted[0]) == wanted[1]]
        headers: dict[str, str] = {}
        lab.throttle.spend(call, "", headers)
        return page(lab.arm, call, found, lambda r: r.doc, headers)

    def delete(call: Call, params: dict[str, str]) -> Response:
        return lab.arm.delete_group(call, existing(params))

    def export(call: Call, params: dict[str, str]) -> Response:
        return lab.arm.act_on_group(call, existing(params), "exportTemplate")

    def route(method: str, path: str, handle: Any, word: str) -> Route:
        return Route(
            method=method, path=path, handle=handle, action=f"Microsoft.Resources/subscriptions/resourceGroups/{word}"
        )

    return [
        route("PUT", one, put, "write"),
        route("PATCH", one, patch, "write"),
        route("GET", one, get, "read"),
        route("HEAD", one, head, "read"),
        route("DELETE", one, delete, "delete"),
        route("POST", f"{one}/exportTemplate", export, "exportTemplate/action"),
        route("GET", "/subscriptions/{subscription}/resourceGroups", listing, "read"),
    ]


def _tag_filter(text: str) -> tuple[str, str] | None:
    """`tagName eq 'a' and tagValue eq 'b'`, the one filter that resource groups have."""
    import re

    found = re.fullmatch(r"tagName eq '([^']*)'(?: and tagValue eq '([^']*)')?", text.strip())
    return (found.group(1), found.group(2) or "") if found else None


GROUPS = ResourceType(
    name=GROUP_TYPE,
    flavor=PLAIN,
    actions={"exportTemplate": EXPORT},
    delete=Verb(
        existing=202, lro=Lro.LOC, prepare=_delete_prepare, run=_delete_run, empty=True, seconds=15, done_status=200
    ),
)

"""GET, HEAD and LIST: nothing here changes anything."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError, not_found, parent_not_found
from azurelab.arm.http import Call, Response
from azurelab.arm.store import Resource
from azurelab.arm.types import NETWORK, Etags, Verb

if TYPE_CHECKING:
    from azurelab.arm.protocol import Arm

__all__ = ["check_parent", "get", "list_all", "page", "stored", "view_action"]


def stored(arm: Arm, ctx: Context) -> Resource:
    """The resource that the id names; the 404 that Azure gives: first the group, then the parent, then the resource."""
    found = arm.lab.store.get(ctx.id.text)
    if found is None:
        arm.check_group(ctx.id)
        check_parent(arm, ctx, "read")
        if ctx.id.parent is not None and ctx.type.flavor is NETWORK:  # what ARM keeps no record of the provider misses
            raise ArmError(404, "NotFound", f"Resource {ctx.id.text} not found.", details=[])
        if ctx.type.missing is not None:
            raise ctx.type.missing(ctx)
        raise not_found(ctx.id.named(), ctx.id.group)
    return found


def check_parent(arm: Arm, ctx: Context, doing: str) -> None:
    """ParentResourceNotFound, for whatever is done to a child of what is not there."""
    parent = ctx.id.parent
    if parent is not None and arm.lab.store.get(parent.text) is None:
        types = ctx.type.name.partition("/")[2]
        raise parent_not_found(doing, types, parent.text)


def get(arm: Arm, ctx: Context, call: Call) -> Response:
    found = stored(arm, ctx)
    headers: dict[str, str] = {}
    if ctx.type.etags is not Etags.NONE:
        headers["ETag"] = arm.etag(ctx.type, found)
    arm.lab.throttle.spend(call, ctx.type.read_bucket, headers)
    body = arm.view(ctx, found)
    return Response(204 if call.method == "HEAD" else 200, None if call.method == "HEAD" else body, headers)


def view_action(arm: Arm, ctx: Context, verb: Verb, call: Call) -> Response:
    """A named view: GET …/instanceView."""
    stored(arm, ctx)
    assert verb.answer is not None, f"{ctx.type.name}/{ctx.method} needs an answer"
    headers: dict[str, str] = {}
    arm.lab.throttle.spend(call, verb.bucket or ctx.type.read_bucket, headers)
    return Response(200, verb.answer(ctx), headers)


def list_all(arm: Arm, ctx: Context, call: Call) -> Response:
    rid, rtype = ctx.id, ctx.type
    parent = rid.parent
    if parent is not None:
        arm.check_group(rid)
        check_parent(arm, ctx, "read")
        found = arm.lab.store.children(parent.text, rtype.name)
    elif rid.group is not None:
        arm.check_group(rid)
        if "group" not in rtype.list_scopes:
            raise _not_listed(rtype.name)
        found = arm.lab.store.of_type(rtype.name, rid.scope)
    else:
        if "subscription" not in rtype.list_scopes:
            raise _not_listed(rtype.name)
        found = arm.lab.store.of_type(rtype.name, rid.scope)
    if rtype.listed is not None:
        found = [r for r in found if rtype.listed(ctx, r)]
    headers: dict[str, str] = {}
    arm.lab.throttle.spend(call, rtype.list_bucket or rtype.read_bucket, headers)
    return page(arm, call, found, lambda r: arm.view(ctx, r), headers)


def _not_listed(name: str) -> ArmError:
    return ArmError(405, "MethodNotAllowed", f"Resources of type '{name}' cannot be listed at this scope.")


def page(arm: Arm, call: Call, found: list[Any], show: Any, headers: dict[str, str] | None = None) -> Response:
    """`{"value": […], "nextLink"?}`. A page ends after the lab's page size or `$top`; the token is an offset."""
    size = int(arm.lab.store.setting("paging.size", 1000))
    top = call.query.get("$top", "")
    if top.isdigit() and int(top) > 0:
        size = min(size, int(top))
    start = 0
    token = call.query.get("$skiptoken", "")
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token))
        except ValueError as exc:
            raise ArmError(400, "InvalidSkipToken", f"The provided skip token '{token}' is not valid.") from exc
    body: dict[str, Any] = {"value": [show(r) for r in found[start : start + size]]}
    if start + size < len(found):
        following = base64.urlsafe_b64encode(str(start + size).encode()).decode()
        query = {**{k: v for k, v in call.query.items() if k != "$skiptoken"}, "$skiptoken": following}
        body["nextLink"] = f"{call.base_url}{quote(call.path)}?{urlencode(query, safe='$')}"
    return Response(200, body, headers or {})

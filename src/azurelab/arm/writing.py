"""PUT, PATCH, DELETE and actions: check, prepare, accept, and either finish at once or hand over to an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.context import Context
from azurelab.arm.documents import merge_patch, merge_put, respell
from azurelab.arm.errors import ArmError, conflict
from azurelab.arm.fields import check_fields
from azurelab.arm.http import Call, Response
from azurelab.arm.operations import Operation
from azurelab.arm.polling import polling_headers
from azurelab.arm.reading import check_parent, stored
from azurelab.arm.store import Resource, Store, clone
from azurelab.arm.types import NETWORK, Etags, Lro, Verb

if TYPE_CHECKING:
    from azurelab.arm.protocol import Arm

__all__ = ["act", "delete", "patch", "put", "settle", "settle_failed"]


def put(arm: Arm, ctx: Context, verb: Verb, call: Call, fault: dict[str, Any] | None) -> Response:
    body = respell(call.object, ctx.type.spelling) if ctx.type.spelling else call.object
    with arm.lab.store.transaction():
        group = arm.check_group(ctx.id)
        before = arm.lab.store.get(ctx.id.text)
        check_parent(arm, ctx, "write")
        if before is None and group is not None and group.doc["properties"].get("provisioningState") == "Deleting":
            raise conflict(
                "ResourceGroupBeingDeleted",
                f"The resource group '{ctx.id.group}' is in deprovisioning state and cannot perform this operation.",
            )
        arm.lab.locks.check_write(ctx.id.text)
        _check_not_going(arm, ctx, before)
        _check_conditions(arm, ctx, call, before)
        check_fields(ctx.type, ctx.type.fields, body)
        merge = ctx.type.merge
        doc = merge(before, clone(body)) if merge is not None else merge_put(ctx.type, before, body)
        _place(arm, ctx, doc, before)
        _identify(ctx, doc, before)
        ctx.body = body
        ctx.before = before
        ctx.draft = Resource(
            doc["id"], ctx.type.name, doc, clone(before.hidden) if before is not None else {}, call.api_version
        )
        return _accept(arm, ctx, verb, call, fault, verb.new if before is None else verb.existing)


def patch(arm: Arm, ctx: Context, verb: Verb, call: Call, fault: dict[str, Any] | None) -> Response:
    body = respell(call.object, ctx.type.spelling) if ctx.type.spelling else call.object
    with arm.lab.store.transaction():
        before = stored(arm, ctx)
        arm.lab.locks.check_write(ctx.id.text)
        _check_not_going(arm, ctx, before)
        _check_conditions(arm, ctx, call, before)
        check_fields(ctx.type, [f for f in ctx.type.fields if not f.required], body)
        doc = (
            ctx.type.merge_patch(before, clone(body))
            if ctx.type.merge_patch is not None
            else merge_patch(ctx.type, before, body)
        )
        _identify(ctx, doc, before)
        ctx.body = body
        ctx.before = before
        ctx.draft = Resource(before.id, ctx.type.name, doc, clone(before.hidden), call.api_version)
        return _accept(arm, ctx, verb, call, fault, verb.existing)


def delete(arm: Arm, ctx: Context, verb: Verb, call: Call, fault: dict[str, Any] | None) -> Response:
    with arm.lab.store.transaction():
        arm.check_group(ctx.id)
        before = arm.lab.store.get(ctx.id.text)
        if before is None:
            check_parent(arm, ctx, "delete")
            headers: dict[str, str] = {}
            arm.lab.throttle.spend(call, verb.bucket, headers)
            return Response(ctx.type.delete_missing, None, headers)
        arm.lab.locks.check_delete(ctx.id.text)
        ctx.before = before
        return _accept(arm, ctx, verb, call, fault, verb.existing)


def act(arm: Arm, ctx: Context, verb: Verb, call: Call, fault: dict[str, Any] | None) -> Response:
    with arm.lab.store.transaction():
        ctx.before = stored(arm, ctx)
        arm.lab.locks.check_write(ctx.id.text)
        _check_not_going(arm, ctx, ctx.before)
        ctx.body = call.body
        return _accept(arm, ctx, verb, call, fault, verb.existing)


def _accept(arm: Arm, ctx: Context, verb: Verb, call: Call, fault: dict[str, Any] | None, status: int) -> Response:
    """Within the transaction: prepare, store, record; then run now or later. Raises before anything is changed."""
    lab = arm.lab
    headers: dict[str, str] = {}
    if not call.inner:
        lab.throttle.spend(call, verb.bucket, headers)
    operation = lab.operations.accept(ctx, verb, lab.time.seconds(verb.seconds) if not call.inner else 0.0)
    operation.fault = dict(fault) if fault else None
    if verb.prepare is not None:
        verb.prepare(ctx)
    if ctx.method == "PUT":
        ctx.memo["_new"] = ctx.before is None
    operation.memo = ctx.memo
    operation.locks = sorted({ctx.id.key, *(k.lower() for k in (verb.locks(ctx) if verb.locks is not None else ()))})
    operation.location = (ctx.found.location if ctx.found is not None else "") or arm.location_near(ctx.id) or "global"
    idle = verb.idle is not None and not lab.operations.busy(ctx.id.key) and verb.idle(ctx)
    _enter(ctx, verb)
    if ctx.type.etags is not Etags.NONE and ctx.found is not None and ctx.method != "DELETE":
        headers["ETag"] = arm.etag(ctx.type, ctx.found)
    if verb.lro is Lro.NONE or idle:
        return _at_once(arm, ctx, verb, operation, call, status, headers, idle=idle)

    headers.update(polling_headers(lab, ctx, verb, operation, call))
    payload = _answer(arm, ctx, verb)
    mine = verb.quick and not any(lab.operations.busy(k) for k in operation.locks)
    if mine:
        lab.operations.complete_inline(operation)
    lab.operations.record(operation)
    if call.inner:
        response = Response(status, payload, headers)
        lab.store.after_commit(lambda: _see_through(arm, ctx, operation, response))
        return response
    if not operation.done:
        lab.store.after_commit(lambda: lab.operations.launch(operation))
    return Response(status, payload, headers)


def _see_through(arm: Arm, ctx: Context, operation: Operation, response: Response) -> None:
    """An inner call waits for its operation and answers with the end of it."""
    if not operation.done:
        arm.lab.operations.run_here(operation)
    if operation.error is not None:
        raise ArmError.of(operation.error_status, operation.error)
    found = ctx.found
    response.body = operation.output if operation.output is not None else arm.view(ctx, found) if found else None


def _enter(ctx: Context, verb: Verb) -> None:
    """Store the accepted document in its transitional state."""
    draft = ctx.draft
    if draft is None:
        found = ctx.store.get(ctx.id.text)
        state = verb.state or ("Deleting" if ctx.method == "DELETE" else None)
        if found is not None and state is not None and ctx.type.stateful:
            with ctx.store.edit(ctx.id.text) as r:
                r.properties["provisioningState"] = state
        return
    if ctx.type.stateful:
        transitional = verb.state or ("Creating" if ctx.before is None and ctx.method == "PUT" else "Updating")
        draft.properties["provisioningState"] = transitional
    ctx.store.put(draft)
    ctx.draft = None


def _at_once(
    arm: Arm,
    ctx: Context,
    verb: Verb,
    operation: Operation,
    call: Call,
    status: int,
    headers: dict[str, str],
    *,
    idle: bool,
) -> Response:
    """No long-running operation: everything before the answer, in the acceptance's own transaction."""
    fault = operation.fault
    if verb.run is not None and not idle:
        verb.run(ctx)
    settle(arm, ctx, verb)
    if fault is not None and fault.get("kind") == "half_done":
        # The effect stands, the answer is an error: raising would undo it.
        error = ArmError.of(int(fault.get("status", 500)), fault["error"])
        return Response(error.status, error.body(), headers)
    found = ctx.found
    if ctx.type.etags is not Etags.NONE and found is not None:
        headers["ETag"] = arm.etag(ctx.type, found)
    if verb.result is not None:
        return Response(status, verb.result(ctx), headers)
    return Response(status, _answer(arm, ctx, verb), headers)


def _answer(arm: Arm, ctx: Context, verb: Verb) -> Any:
    if verb.answer is not None:
        return verb.answer(ctx)
    if verb.empty or ctx.method not in ("PUT", "PATCH"):
        return None
    found = ctx.found
    # A private copy: the stored document changes before the answer is written when the verb is quick.
    return clone(arm.view(ctx, found)) if found is not None else None


def settle(arm: Arm, ctx: Context, verb: Verb) -> None:
    store = arm.lab.store
    with store.transaction():
        gone_already = ctx.method == "DELETE" and store.get(ctx.id.text) is None
        if verb.finish is not None and not gone_already:
            verb.finish(ctx)
        found = store.get(ctx.id.text)
        if ctx.method == "DELETE":
            if found is not None:
                store.delete(ctx.id.text)
                store.log("deleted", found.id, type=found.type)
                _touch_parent(store, ctx)
            return
        if found is None:
            return
        if ctx.type.stateful and found.properties.get("provisioningState") != "Succeeded":
            with store.edit(ctx.id.text) as r:
                r.properties["provisioningState"] = "Succeeded"
        _touch_parent(store, ctx)
        if ctx.method in ("PUT", "PATCH"):
            created = ctx.memo.get("_new", ctx.before is None and ctx.method == "PUT")
            store.log("created" if created else "changed", found.id, type=found.type, method=ctx.method)
        else:
            store.log("action", found.id, type=found.type, action=ctx.method)


def _touch_parent(store: Store, ctx: Context) -> None:
    if ctx.type.parent_etag and ctx.id.parent is not None:
        store.touch(ctx.id.parent.text)


def settle_failed(arm: Arm, ctx: Context, verb: Verb, error: dict[str, Any]) -> None:
    store = arm.lab.store
    with store.transaction():
        if store.get(ctx.id.text) is None:
            return
        if ctx.type.stateful:
            with store.edit(ctx.id.text) as r:
                r.properties["provisioningState"] = "Failed"
        if verb.failed is not None:
            verb.failed(ctx, error)


# -- bodies and conditions ----------------------------------------------------------------------------------------


def _place(arm: Arm, ctx: Context, doc: dict[str, Any], before: Resource | None) -> None:
    """Check and normalise `location` ('West US' → 'westus')."""
    if not ctx.type.located:
        return
    wanted = doc.get("location")
    if wanted is None:
        if before is None:
            raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
        doc["location"] = before.location
        return
    location = arm.lab.regions.normalise(str(wanted))
    if location is None:
        raise ArmError(
            400,
            "LocationNotAvailableForResourceType",
            f"The provided location '{wanted}' is not available for resource type '{ctx.type.name}'. List of available "
            f"regions for the resource type is '{','.join(arm.lab.regions.names())}'.",
        )
    if before is not None and before.location != location:
        raise conflict(
            "InvalidResourceLocation",
            f"The resource '{ctx.id.name}' already exists in location '{before.location}' in resource group "
            f"'{ctx.id.group}'. A resource with the same name cannot be created in location '{location}'. Please "
            f"select a new resource name.",
        )
    doc["location"] = location


def _identify(ctx: Context, doc: dict[str, Any], before: Resource | None) -> None:
    doc["id"] = before.id if before is not None else ctx.id.text
    doc["name"] = before.name if before is not None else ctx.id.name
    doc["type"] = ctx.type.name
    if ctx.type.etags is not Etags.NONE:
        doc.pop("etag", None)  # the etag is made when shown
    tags = doc.get("tags")
    if tags is not None:
        if not isinstance(tags, dict) or not all(isinstance(v, str) for v in tags.values()):
            raise ArmError(400, "InvalidRequestContent", "The tags of a resource are a map of strings.", target="tags")
        if len(tags) > 50:
            raise ArmError(
                400,
                "InvalidTagsCount",
                f"The number of tags '{len(tags)}' exceeds the maximum of '50' tags for a resource.",
            )
    if ctx.type.stateful and not isinstance(doc.setdefault("properties", {}), dict):
        raise ArmError(400, "InvalidRequestContent", "The properties of a resource are an object.", target="properties")


def _check_conditions(arm: Arm, ctx: Context, call: Call, before: Resource | None) -> None:
    if ctx.type.etags is Etags.NONE:
        return
    match, none_match = call.headers.get("if-match"), call.headers.get("if-none-match")
    now = arm.etag(ctx.type, before) if before is not None else None
    if match is not None and (now is None or (match != "*" and now not in _tags(match))):
        if ctx.type.flavor is NETWORK:
            raise _network_mismatch(match, now, ctx.id.text)
        raise ArmError(
            412,
            "PreconditionFailed",
            f"The condition '{match}' in the If-Match header was not satisfied; the current etag of "
            f"'{ctx.id.named()}' is {now}.",
        )
    if none_match is not None and now is not None and (none_match == "*" or now in _tags(none_match)):
        raise ArmError(
            412,
            "PreconditionFailed",
            f"The condition '{none_match}' in the If-None-Match header was not satisfied; '{ctx.id.named()}' exists.",
        )


def _network_mismatch(match: str, now: str | None, resource_id: str) -> ArmError:
    told = (
        f"Etag provided in if-match header {match} does not match etag {now or ''} of resource {resource_id} in NRP "
        f"data store."
    )
    details = [{"code": "PreconditionFailedEtagMismatch", "message": told}]
    return ArmError(412, "PreconditionFailed", "Precondition failed.", details=details)


def _check_not_going(arm: Arm, ctx: Context, before: Resource | None) -> None:
    """What is being deleted takes no other operation, else the end of the deletion would take that one's work away."""
    if before is None or not ctx.type.stateful or before.properties.get("provisioningState") != "Deleting":
        return
    if not arm.lab.operations.busy(before.key):
        return
    if ctx.type.flavor.provider == "Microsoft.Compute":
        kind = "VM" if ctx.type.name.endswith("/virtualMachines") else ctx.type.name.rsplit("/", 1)[-1]
        raise conflict(
            "OperationNotAllowed",
            f"Operation '{ctx.method}' is not allowed on {kind} '{before.name}' since the {kind} is marked for "
            f"deletion. You can only retry the Delete operation (or wait for an ongoing one to complete).",
        )
    raise conflict(
        "AnotherOperationInProgress",
        f"Another operation on this or dependent resource is in progress: '{before.id}' is being deleted.",
    )


def _tags(header: str) -> set[str]:
    return {t.strip() for t in header.split(",")}

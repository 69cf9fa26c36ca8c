"""Microsoft.Resources/deployments at resource-group scope: literal templates, as `az vm create` sends them.

Incremental mode only: resources are PUT in the order of their dependencies, nothing else in the group is touched.
What a template may hold is `template.py`'s business.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import parse_id
from azurelab.arm.store import Resource, clone
from azurelab.arm.types import DEPLOYMENT, Field, Lro, ResourceType, Route, Verb
from azurelab.resources.expressions import evaluate, invalid
from azurelab.resources.template import Template

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["DEPLOYMENTS", "deployment_routes"]


def hash_of(template: Any) -> str:
    text = json.dumps(template, sort_keys=True)
    return str(int(hashlib.sha256(text.encode()).hexdigest()[:15], 16))


def _not_yet(template: Template, name: str, full: bool) -> Any:
    raise invalid(f"reference('{name}') is not possible here")


def _summary(template: Template) -> dict[str, Any]:
    """providers and dependencies as a deployment shows them."""
    spaces: dict[str, dict[str, list[str]]] = {}
    for r in template.resources:
        namespace, _, kind = r["type"].partition("/")
        held = spaces.setdefault(namespace, {}).setdefault(kind, [])
        location = str(evaluate(r.get("location") or "", template.scope)).replace(" ", "").lower()
        if location and location not in held:
            held.append(location)
    by = {r["id"].lower(): r for r in template.resources}

    def show(r: dict[str, Any]) -> dict[str, str]:
        return {"id": r["id"], "resourceType": r["type"], "resourceName": r["name"]}

    dependencies = []
    for r in template.resources:
        ups = [by[d.lower()] for d in r["dependsOn"] if d.lower() in by]
        if ups:
            dependencies.append({"dependsOn": [show(u) for u in ups], **show(r)})
    return {
        "providers": [
            {
                "namespace": n,
                "resourceTypes": [{"resourceType": k, "locations": at or [None]} for k, at in kinds.items()],
            }
            for n, kinds in spaces.items()
        ],
        "dependencies": dependencies,
    }


def _shown_parameters(template: Template) -> dict[str, Any]:
    """Secure ones without their value."""
    shown: dict[str, Any] = {}
    for name, about in (template.template.get("parameters") or {}).items():
        kind = str(about.get("type", "string"))
        word = {"securestring": "SecureString", "secureobject": "SecureObject", "string": "String"}.get(
            kind.lower(), kind
        )
        shown[name] = {"type": word}
        if not kind.lower().startswith("secure"):
            shown[name]["value"] = template.scope.parameters[name]
    return shown


def _prepare(ctx: Context) -> None:
    body = ctx.resource.properties
    mode = str(body.get("mode", ""))
    if mode.lower() != "incremental":
        raise ArmError(
            400,
            "InvalidDeploymentMode" if mode else "InvalidRequestContent",
            f"The deployment mode '{mode}' is not supported by this lab; it deploys incrementally.",
            target="mode",
        )
    template = Template(ctx, _not_yet)
    ordered = template.ordered()
    for r in ordered:
        parsed = parse_id(r["id"])
        if parsed is None or parsed.type.lower() not in ctx.lab.arm.types:
            raise invalid(f"The template resource '{r['name']}' has the unknown type '{r['type']}'.")
    ctx.memo["body"] = ctx.body
    ctx.memo["started"] = ctx.now()
    ctx.resource.doc["properties"] = {
        "templateHash": hash_of(body["template"]),
        "parameters": _shown_parameters(template),
        "mode": "Incremental",
        "timestamp": ctx.timestamp(),
        "duration": "PT0S",
        "correlationId": str(uuid.uuid4()),
        **_summary(template),
    }
    ctx.resource.hidden["operations"] = []
    ctx.resource.hidden["template"] = clone(ctx.body["properties"]["template"])


def _properties(ctx: Context, resource_id: str, full: bool) -> Any:
    """What `reference` gives: the properties of the resource as GET shows it, or the whole document."""
    found = ctx.get(resource_id)
    shown = ctx.lab.arm_get(found.id, found.api_version)
    return shown if full else shown["properties"]


def _run(ctx: Context) -> None:
    """Repeatable: every PUT is; a restart runs them all again."""
    ctx.body = ctx.memo["body"]
    template = Template(ctx, lambda t, name, full: _properties(ctx, t.named(name), full))
    outcome: list[dict[str, Any]] = []
    try:
        for r in template.ordered():
            body = template.body_of(r)
            try:
                ctx.lab.arm.perform("PUT", r["id"], body, str(r.get("apiVersion", "2024-07-01")), caller=ctx.caller)
            except ArmError as exc:
                outcome.append(
                    {"id": r["id"], "type": r["type"], "name": r["name"], "error": exc.error(), "status": exc.status}
                )
                raise ArmError(
                    exc.status,
                    "DeploymentFailed",
                    "At least one resource deployment operation failed. Please list deployment operations for details. "
                    "Please see https://aka.ms/arm-deployment-operations for usage details.",
                    details=[{**exc.error(), "target": exc.target or r["id"]}],
                ) from exc
            outcome.append({"id": r["id"], "type": r["type"], "name": r["name"], "status": 200})
            ctx.checkpoint(r["name"])
        outputs = {}
        for name, about in (template.template.get("outputs") or {}).items():
            value = evaluate(about.get("value"), template.scope)
            outputs[name] = {"type": str(about.get("type", "String")).capitalize(), "value": value}
        ctx.memo["outputs"] = outputs
    finally:
        with ctx.edit() as kept:
            kept.hidden["operations"] = outcome


def _duration(ctx: Context) -> str:
    seconds = max(0.0, ctx.now() - float(ctx.memo.get("started", ctx.now())))
    minutes, rest = divmod(seconds, 60)
    return f"PT{int(minutes)}M{rest:.7g}S" if minutes else f"PT{rest:.7g}S"


def _finish(ctx: Context) -> None:
    with ctx.edit() as r:
        p = r.properties
        p["timestamp"] = ctx.timestamp()
        p["duration"] = _duration(ctx)
        p["outputs"] = ctx.memo.get("outputs", {})
        p["outputResources"] = sorted(
            ({"id": o["id"]} for o in r.hidden["operations"]), key=lambda entry: str(entry["id"]).lower()
        )
        p["provisioningState"] = "Succeeded"


def _failed(ctx: Context, error: dict[str, Any]) -> None:
    with ctx.edit() as r:
        r.properties["timestamp"] = ctx.timestamp()
        r.properties["duration"] = _duration(ctx)
        r.properties["error"] = error


DEPLOYMENTS = ResourceType(
    name="Microsoft.Resources/deployments",
    flavor=DEPLOYMENT,
    put=Verb(
        new=201, existing=201, lro=Lro.AAO, state="Accepted", prepare=_prepare, run=_run, finish=_finish, failed=_failed
    ),
    delete=Verb(existing=202, lro=Lro.LOC, quick=True, empty=True, done_status=204),
    located=False,
    in_resources_list=False,
    fields=(Field(path="properties", kind=dict, required=True), Field(path="properties.mode", required=True)),
    body_error="InvalidRequestContent",
    delete_order=0,
    list_scopes=frozenset({"group"}),
)


def deployment_routes(lab: Lab) -> list[Route]:
    one = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}"

    def found(params: dict[str, str]) -> Resource:
        text = one.format(**params)
        r = lab.store.get(text)
        if r is None:
            raise ArmError(404, "DeploymentNotFound", f"Deployment '{params['name']}' could not be found.")
        return r

    def operations(call: Call, params: dict[str, str]) -> Response:
        return Response(200, {"value": entries(params)})

    def operation(call: Call, params: dict[str, str]) -> Response:
        for entry in entries(params):
            if entry["operationId"].lower() == params["operation"].lower():
                return Response(200, entry)
        raise ArmError(
            404, "DeploymentOperationNotFound", f"Deployment operation '{params['operation']}' could not be found."
        )

    def export(call: Call, params: dict[str, str]) -> Response:
        return Response(200, {"template": found(params).hidden.get("template", {})})

    def template_hash(call: Call, params: dict[str, str]) -> Response:
        text = json.dumps(call.object, separators=(",", ":"))
        return Response(200, {"minifiedTemplate": text, "templateHash": hash_of(call.object)})

    def entries(params: dict[str, str]) -> list[dict[str, Any]]:
        r = found(params)
        value = []
        for at, o in enumerate(r.hidden.get("operations", [])):
            failed = "error" in o
            properties = {
                "provisioningOperation": "Create",
                "provisioningState": "Failed" if failed else "Succeeded",
                "timestamp": r.properties["timestamp"],
                "statusCode": "OK" if not failed else str(o["status"]),
                "targetResource": {"id": o["id"], "resourceType": o["type"], "resourceName": o["name"]},
            }
            if failed:
                properties["statusMessage"] = {"status": "Failed", "error": o["error"]}
            operation = f"{at:016X}"
            value.append({"id": f"{r.id}/operations/{operation}", "operationId": operation, "properties": properties})
        return value

    def validate(call: Call, params: dict[str, str]) -> Response:
        rid = parse_id(one.format(**params))
        assert rid is not None
        lab.arm.check_group(rid)
        ctx = lab.arm.context(call, DEPLOYMENTS, rid)
        ctx.body = call.object
        template = Template(ctx, _not_yet)
        template.ordered()
        shown = {
            "id": rid.text,
            "name": rid.name,
            "type": DEPLOYMENTS.name,
            "properties": {
                "parameters": _shown_parameters(template),
                "mode": "Incremental",
                "provisioningState": "Succeeded",
                "timestamp": lab.clock.timestamp(),
                "duration": "PT0S",
                "correlationId": call.request_id,
                **_summary(template),
                "validatedResources": [{"id": r["id"]} for r in template.resources],
            },
        }
        return Response(200, shown)

    def head(call: Call, params: dict[str, str]) -> Response:
        return Response(204 if lab.store.get(one.format(**params)) is not None else 404)

    def cancel(call: Call, params: dict[str, str]) -> Response:
        state = found(params).properties.get("provisioningState")
        raise ArmError(
            409,
            "DeploymentCannotBeCancelled",
            f"The deployment '{params['name']}' cannot be cancelled; it is in state '{state}', and this lab cancels no "
            f"deployment that runs.",
        )

    return [
        Route(method="GET", path=f"{one}/operations", handle=operations),
        Route(method="GET", path=f"{one}/operations/{{operation}}", handle=operation),
        Route(method="POST", path=f"{one}/validate", handle=validate),
        Route(method="POST", path=f"{one}/exportTemplate", handle=export),
        Route(method="POST", path="/providers/Microsoft.Resources/calculateTemplateHash", handle=template_hash),
        Route(method="POST", path=f"{one}/cancel", handle=cancel),
        Route(method="HEAD", path=one, handle=head),
    ]

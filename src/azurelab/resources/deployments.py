"""Microsoft.Resources/deployments at resource-group scope: literal templates, as `az vm create` sends them.

Incremental mode only: resources are PUT in the order of their dependencies, nothing else in the group is touched.
Nested and linked templates, copy loops and conditions are refused (InvalidTemplate), not ignored.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import group_key, parse_id
from azurelab.arm.store import Resource
from azurelab.arm.types import DEPLOYMENT, Field, Lro, ResourceType, Route, Verb
from azurelab.resources.expressions import Scope, evaluate, resource_id

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["DEPLOYMENTS", "deployment_routes"]

_NOT_RESOURCE_KEYS = ("type", "name", "apiVersion", "dependsOn", "comments", "metadata", "scope")


def _invalid(message: str) -> ArmError:
    return ArmError(400, "InvalidTemplate", f"Deployment template validation failed: '{message}'.")


class _Template:
    """A checked template: resources with ids, evaluated but for `reference`, in the order in which they are made."""

    def __init__(self, ctx: Context, reference: Any) -> None:
        body = ctx.body["properties"]
        template = body.get("template")
        if not isinstance(template, dict):
            raise _invalid("the template is missing")
        self.template = template
        self.body = body
        assert ctx.id.group is not None
        assert ctx.id.subscription is not None
        group = ctx.store.get(group_key(ctx.id.subscription, ctx.id.group))
        assert group is not None
        self.subscription, self.group = ctx.id.subscription, group.name
        self.scope = Scope(
            subscription=ctx.id.subscription,
            group=group.doc,
            parameters=self._parameters(),
            variables={},
            reference=lambda name: reference(self, name),
        )
        self.scope.variables = evaluate(template.get("variables") or {}, self.scope)
        raw = template.get("resources") or []
        if isinstance(raw, dict):  # language version 2 names its resources
            raw = list(raw.values())
        self.resources = [self._one(item) for item in raw]
        self._check_dependencies()

    def _parameters(self) -> dict[str, Any]:
        declared = self.template.get("parameters") or {}
        given = self.body.get("parameters") or {}
        found: dict[str, Any] = {}
        for name, about in declared.items():
            held = next((v for k, v in given.items() if k.lower() == name.lower()), None)
            if isinstance(held, dict) and "value" in held:
                found[name] = held["value"]
            elif "defaultValue" in about:
                found[name] = about["defaultValue"]
            else:
                raise _invalid(f"The value for the template parameter '{name}' is not provided.")
        for name in given:
            if not any(name.lower() == d.lower() for d in declared):
                raise _invalid(f"The template parameters '{name}' in the parameters file are not valid.")
        return found

    def _one(self, item: dict[str, Any]) -> dict[str, Any]:
        for word in ("copy", "condition"):
            if word in item:
                raise _invalid(f"'{word}' is not supported by this lab")
        kind, name = str(item.get("type", "")), evaluate(item.get("name"), self.scope)
        if not kind or not isinstance(name, str):
            raise _invalid("every resource needs type and name")
        if kind.lower() == "microsoft.resources/deployments":
            raise _invalid("nested deployments are not supported by this lab")
        at = resource_id(self.subscription, self.group, kind, *name.split("/"))
        if item.get("scope"):
            at = f"{evaluate(item['scope'], self.scope)}/providers/{kind}/{name}"
        return {**item, "name": name, "id": at, "dependsOn": [self._dependency(d) for d in item.get("dependsOn") or ()]}

    def _dependency(self, text: str) -> str:
        """A full id, `Provider/type/name` (what az sends), or just a name."""
        value = str(evaluate(text, self.scope))
        if value.startswith("/subscriptions/"):
            return value
        words = value.split("/")
        if len(words) >= 3 and "." in words[0]:
            half = (len(words) - 1) // 2
            kinds, names = words[1::2], words[2::2]
            if len(kinds) == len(names):
                path = "".join(f"/{k}/{n}" for k, n in zip(kinds, names, strict=True))
            else:
                path = "".join(f"/{k}/{n}" for k, n in zip(words[1 : half + 1], words[half + 1 :], strict=False))
            return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/{words[0]}{path}"
        return value

    def _check_dependencies(self) -> None:
        known = {r["id"].lower() for r in self.resources} | {r["name"].lower() for r in self.resources}
        for r in self.resources:
            for wanted in r["dependsOn"]:
                if wanted.lower() not in known:
                    raise _invalid(
                        f"The resource '{wanted}' is not defined in the template. Please see "
                        f"https://aka.ms/arm-syntax for usage details."
                    )

    def ordered(self) -> list[dict[str, Any]]:
        """Dependencies first. InvalidTemplate on a circle."""
        done: list[dict[str, Any]] = []
        names: set[str] = set()
        waiting = list(self.resources)
        while waiting:
            ready = [r for r in waiting if all(d.lower() in names for d in r["dependsOn"])]
            if not ready:
                raise _invalid("Circular dependency detected on resource: " + waiting[0]["id"])
            for r in ready:
                done.append(r)
                names |= {r["id"].lower(), r["name"].lower()}
            waiting = [r for r in waiting if r not in ready]
        return done

    def named(self, text: str) -> str:
        """The id that `reference(text)` means."""
        if text.startswith("/subscriptions/"):
            return text
        for r in self.resources:
            if text.lower() in (r["name"].lower(), f"{r['type']}/{r['name']}".lower()):
                return str(r["id"])
        return self._dependency(text)


def _not_yet(template: _Template, name: str) -> Any:
    raise _invalid(f"reference('{name}') is not possible here")


def _summary(template: _Template) -> dict[str, Any]:
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


def _shown_parameters(template: _Template) -> dict[str, Any]:
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
    template = _Template(ctx, _not_yet)
    ordered = template.ordered()
    for r in ordered:
        parsed = parse_id(r["id"])
        if parsed is None or parsed.type.lower() not in ctx.lab.arm.types:
            raise _invalid(f"The template resource '{r['name']}' has the unknown type '{r['type']}'.")
    ctx.memo["body"] = ctx.body
    ctx.memo["started"] = ctx.now()
    text = json.dumps(body["template"], sort_keys=True)
    ctx.resource.doc["properties"] = {
        "templateHash": str(int(hashlib.sha256(text.encode()).hexdigest()[:15], 16)),
        "parameters": _shown_parameters(template),
        "mode": "Incremental",
        "timestamp": ctx.timestamp(),
        "duration": "PT0S",
        "correlationId": str(uuid.uuid4()),
        **_summary(template),
    }
    ctx.resource.hidden["operations"] = []


def _properties(ctx: Context, resource_id: str) -> Any:
    """What `reference` gives: the properties of the resource as GET shows it."""
    found = ctx.get(resource_id)
    shown = ctx.lab.arm_get(found.id, found.api_version)
    return shown["properties"]


def _run(ctx: Context) -> None:
    """Repeatable: every PUT is; a restart runs them all again."""
    ctx.body = ctx.memo["body"]
    template = _Template(ctx, lambda t, name: _properties(ctx, t.named(name)))
    outcome: list[dict[str, Any]] = []
    try:
        for r in template.ordered():
            body = {k: evaluate(v, template.scope) for k, v in r.items() if k not in (*_NOT_RESOURCE_KEYS, "id")}
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
        return Response(200, {"value": value})

    def validate(call: Call, params: dict[str, str]) -> Response:
        rid = parse_id(one.format(**params))
        assert rid is not None
        lab.arm.check_group(rid)
        ctx = lab.arm.context(call, DEPLOYMENTS, rid)
        ctx.body = call.object
        template = _Template(ctx, _not_yet)
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
        Route(method="POST", path=f"{one}/validate", handle=validate),
        Route(method="POST", path=f"{one}/cancel", handle=cancel),
        Route(method="HEAD", path=one, handle=head),
    ]

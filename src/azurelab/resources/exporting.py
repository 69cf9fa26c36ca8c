"""exportTemplate of a resource group: its top-level resources as a template that would make them again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.store import clone
from azurelab.arm.types import Lro, Verb

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["EXPORT"]

_SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
_API_VERSION = "2024-07-01"
# What only the provider says, at any depth.
_OWN = {"provisioningState", "resourceGuid", "etag", "uniqueId", "vmId", "timeCreated", "diskState", "diskSizeBytes"}
_IDENTITY = ("id", "name", "type", "etag", "managedBy")


def _prepare(ctx: Context) -> None:
    body = ctx.body if isinstance(ctx.body, dict) else {}
    wanted = body.get("resources")
    if not isinstance(wanted, list) or not wanted:
        raise ArmError(400, "ExportTemplateInvalidRequest", "The resources of the request are missing.")  # (unverified)
    ctx.memo["all"] = wanted == ["*"]
    ctx.memo["wanted"] = [str(w).lower() for w in wanted]


def _result(ctx: Context) -> Any:
    parameters: dict[str, Any] = {}
    resources = []
    names: dict[str, str] = {}
    types = ctx.lab.arm.types
    found = [r for r in ctx.store.in_group(ctx.id.text) if types[r.type.lower()].in_resources_list]
    if not ctx.memo["all"]:
        found = [r for r in found if r.key in ctx.memo["wanted"]]
    for r in found:
        kind = r.type.split("/", 1)[1].replace("/", "_")
        word = re.sub(r"[^A-Za-z0-9]", "_", f"{kind}_{r.name}_name")
        parameters[word] = {"defaultValue": r.name, "type": "String"}
        names[r.key] = f"[resourceId('{r.type}', parameters('{word}'))]"
    for r in found:
        kind = r.type.split("/", 1)[1].replace("/", "_")
        word = re.sub(r"[^A-Za-z0-9]", "_", f"{kind}_{r.name}_name")
        shown = ctx.lab.arm_get(r.id, _API_VERSION)
        body = {k: _without_own(v) for k, v in shown.items() if k not in _IDENTITY}
        text = str(body).lower()
        needed = [names[key] for key in names if key != r.key and key in text]
        resources.append(
            {
                "type": r.type,
                "apiVersion": _API_VERSION,
                "name": f"[parameters('{word}')]",
                **body,
                **({"dependsOn": needed} if needed else {}),
            }
        )
    template = {"$schema": _SCHEMA, "contentVersion": "1.0.0.0", "parameters": parameters, "variables": {}}
    return {"template": {**template, "resources": resources}}


def _without_own(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_own(v) for k, v in value.items() if k not in _OWN}
    if isinstance(value, list):
        return [_without_own(v) for v in value]
    return clone(value)


EXPORT = Verb(existing=202, lro=Lro.LOC, prepare=_prepare, result=_result, empty=True, quick=True)

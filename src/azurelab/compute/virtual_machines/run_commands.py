"""Microsoft.Compute/virtualMachines/runCommands: managed run commands, kept as data. No script runs in a guest.

`protectedParameters` and the run-as password are taken and never shown. The instance view says that nothing ran.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import conflict, invalid_parameter
from azurelab.arm.fields import fields_of
from azurelab.arm.store import Resource
from azurelab.arm.types import COMPUTE, Lro, ResourceType, Verb
from azurelab.compute.services import VM_TYPE

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["RUN_COMMANDS_TYPE"]


def _prepare(ctx: Context) -> None:
    assert ctx.id.parent is not None
    if ctx.get(ctx.id.parent.text).hidden.get("power") != "running":
        raise conflict("OperationNotAllowed", "The operation requires the VM to be running (or set to run).")
    properties = ctx.resource.properties
    if not isinstance(properties.get("source"), dict):
        raise invalid_parameter("source", "Required parameter 'source' is missing (null).")
    for word in ("protectedParameters", "runAsPassword"):
        properties.pop(word, None)
    properties.setdefault("asyncExecution", False)
    properties.setdefault("timeoutInSeconds", 0)
    ctx.resource.hidden["started"] = ctx.timestamp()


def _view(ctx: Context, resource: Resource) -> dict[str, Any]:
    if "instanceview" not in ctx.query.get("$expand", "").lower():
        return resource.doc
    time = str(resource.hidden.get("started", ctx.timestamp()))
    told = {
        "executionState": "Succeeded",
        "executionMessage": "azurelab does not run commands in guests.",
        "exitCode": 0,
        "output": "",
        "error": "",
        "startTime": time,
        "endTime": time,
        "statuses": [],
    }
    return {**resource.doc, "properties": {**resource.properties, "instanceView": told}}


_FIELDS = fields_of(
    """
properties! object
properties.source.script text
properties.source.scriptUri text
properties.source.commandId text
properties.parameters[].name text
properties.parameters[].value text
properties.asyncExecution bool
properties.timeoutInSeconds int
properties.runAsUser text
"""
)

RUN_COMMANDS_TYPE = ResourceType(
    name=f"{VM_TYPE}/runCommands",
    flavor=COMPUTE,
    put=Verb(new=201, existing=200, lro=Lro.AAO, seconds=30, bucket="UpdateVM", prepare=_prepare),
    patch=Verb(existing=200, lro=Lro.AAO, seconds=30, bucket="UpdateVM", prepare=_prepare),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=5, bucket="UpdateVM", empty=True),
    fields=_FIELDS,
    readonly=("properties.instanceView",),
    view=_view,
    read_bucket="LowCostGet",
    delete_order=5,
    in_resources_list=False,
    list_scopes=frozenset(),
)

"""Microsoft.Compute/virtualMachines/extensions: kept as data. Nothing runs in the guest; the instance view says so.

`protectedSettings` are taken and, as on Azure, never shown again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import conflict
from azurelab.arm.store import Resource
from azurelab.arm.types import COMPUTE, Lro, ResourceType, Verb
from azurelab.compute.services import VM_TYPE
from azurelab.compute.virtual_machines.fields import EXTENSION_FIELDS
from azurelab.compute.virtual_machines.viewing import extension_view

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["EXTENSIONS_TYPE"]


def _prepare(ctx: Context) -> None:
    assert ctx.id.parent is not None
    machine = ctx.get(ctx.id.parent.text)
    if (machine.properties.get("osProfile") or {}).get("allowExtensionOperations") is False:
        raise conflict(
            "OperationNotAllowed",
            "This operation cannot be performed when extension operations are disallowed. To allow, please ensure VM "
            "Agent is installed on the VM and the osProfile.allowExtensionOperations property is true.",
        )
    if machine.hidden.get("power") != "running":
        raise conflict(
            "OperationNotAllowed",
            "Cannot modify extensions in the VM when the VM is not running.",
        )
    properties = ctx.resource.properties
    properties.setdefault("autoUpgradeMinorVersion", False)
    for word in ("protectedSettings", "protectedSettingsFromKeyVault"):
        if properties.pop(word, None) is not None:
            ctx.resource.hidden["protected"] = True


def _view(ctx: Context, extension: Resource) -> dict[str, Any]:
    if "instanceview" not in ctx.query.get("$expand", "").lower():
        return extension.doc
    shown = {**extension_view(extension), "substatuses": []}
    return {**extension.doc, "properties": {**extension.properties, "instanceView": shown}}


EXTENSIONS_TYPE = ResourceType(
    name=f"{VM_TYPE}/extensions",
    flavor=COMPUTE,
    put=Verb(new=201, existing=200, lro=Lro.AAO, seconds=70.6, bucket="UpdateVM", prepare=_prepare),
    patch=Verb(existing=200, lro=Lro.AAO, seconds=0.3, bucket="UpdateVM", prepare=_prepare),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=30.4, bucket="UpdateVM", empty=True),
    fields=EXTENSION_FIELDS,
    readonly=("properties.instanceView",),
    view=_view,
    read_bucket="LowCostGet",
    delete_order=5,
    list_scopes=frozenset(),
)

"""runCommand, capture, retrieveBootDiagnosticsData and the sizes that a machine can have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import bad_request, conflict, not_found
from azurelab.arm.types import Verb
from azurelab.compute.virtual_machines.actions import long_action
from azurelab.compute.virtual_machines.guest import hypervisor_of
from azurelab.world.sizes import Size

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["ACTIONS", "size_entry"]


def _prepare_run_command(ctx: Context) -> None:
    if ctx.resource.hidden.get("power") != "running":
        raise conflict(
            "OperationNotAllowed",
            "The operation requires the VM to be running (or set to run).",
        )
    if not (ctx.body or {}).get("commandId"):
        raise bad_request("InvalidParameter", "Required parameter 'commandId' is missing (null).", "commandId")


def _run_command_result(ctx: Context) -> Any:
    """Accepted and answered in Azure's shape. Guests of this lab have no agent that runs scripts: the text says so."""
    os_type = str((ctx.resource.properties["storageProfile"].get("osDisk") or {}).get("osType", "Linux"))
    told = "azurelab does not run commands in guests."
    if os_type == "Linux":
        status = {"code": "ProvisioningState/succeeded", "level": "Info", "displayStatus": "Provisioning succeeded"}
        return {"value": [{**status, "message": f"Enable succeeded: \n[stdout]\n\n[stderr]\n{told}\n"}]}
    status = {"level": "Info", "displayStatus": "Provisioning succeeded"}
    return {
        "value": [
            {"code": "ComponentStatus/StdOut/succeeded", **status, "message": ""},
            {"code": "ComponentStatus/StdErr/succeeded", **status, "message": told},
        ]
    }


def _prepare_capture(ctx: Context) -> None:
    if not ctx.resource.hidden.get("generalized"):
        raise conflict(
            "OperationNotAllowed",
            f"Operation 'capture' is not allowed on VM '{ctx.id.name}' because the VM is not generalized.",
        )
    body = ctx.body if isinstance(ctx.body, dict) else {}
    for word in ("vhdPrefix", "destinationContainerName", "overwriteVhds"):
        if word not in body:
            raise bad_request("InvalidParameter", f"Required parameter '{word}' is missing (null).", word)
    ctx.memo["prefix"] = str(body["vhdPrefix"])


def _capture_result(ctx: Context) -> Any:
    """The template that Azure's capture answers with (recorded). No blob is written: there is no storage account."""
    vm = ctx.resource
    os_disk = vm.properties["storageProfile"].get("osDisk") or {}
    stem = str((os_disk.get("vhd") or {}).get("uri", "")).rsplit("/", 2)[0]
    name = f"{ctx.memo['prefix']}-osDisk.{vm.properties['vmId']}.vhd"
    entry: dict[str, Any] = {
        "osType": os_disk.get("osType"),
        "name": name,
        "createOption": "FromImage",
        "caching": os_disk.get("caching", "ReadWrite"),
    }
    entry["image"] = {"uri": f"{stem}/system/Microsoft.Compute/Images/vhds/{name}"}
    entry["vhd"] = {"uri": f"{stem}/vmcontainer/osDisk.vhd"}
    text = {"type": "string"}
    return {
        "$schema": "http://schema.management.azure.com/schemas/2014-04-01-preview/VM_IP.json",
        "contentVersion": "1.0.0.0",
        "parameters": {
            "vmName": text,
            "vmSize": {**text, "defaultValue": vm.properties["hardwareProfile"]["vmSize"]},
            "adminUserName": text,
            "adminPassword": {"type": "securestring"},
            "networkInterfaceId": text,
        },
        "resources": [
            {
                "name": "[parameters('vmName')]",
                "type": "Microsoft.Compute/virtualMachines",
                "location": vm.location,
                "apiVersion": ctx.api_version,
                "properties": {
                    "hardwareProfile": {"vmSize": "[parameters('vmSize')]"},
                    "storageProfile": {"osDisk": entry},
                    "osProfile": {
                        "computerName": "[parameters('vmName')]",
                        "adminUsername": "[parameters('adminUsername')]",
                        "adminPassword": "[parameters('adminPassword')]",
                    },
                    "networkProfile": {"networkInterfaces": [{"id": "[parameters('networkInterfaceId')]"}]},
                    "provisioningState": 0,
                },
            }
        ],
    }


def _boot_diagnostics(ctx: Context) -> Any:
    diagnostics = (ctx.resource.properties.get("diagnosticsProfile") or {}).get("bootDiagnostics") or {}
    if not diagnostics.get("enabled"):
        raise conflict("OperationNotAllowed", f"Boot diagnostics are not enabled on VM '{ctx.id.name}'.")
    url = f"{ctx.lab.http_url}/azurelab/vms/console?id={ctx.resource.id}"
    return {"consoleScreenshotBlobUri": url, "serialConsoleLogBlobUri": url}


def console_of(ctx_lab: Any, vm_id: str) -> bytes:
    vm = ctx_lab.store.get(vm_id)
    if vm is None:
        raise not_found(vm_id, None)
    return hypervisor_of(ctx_lab).console(vm.key)


def size_entry(size: Size) -> dict[str, Any]:
    """One row of a `vmSizes` answer (recorded)."""
    return {
        "name": size.name,
        "numberOfCores": size.vcpus,
        "osDiskSizeInMB": 1047552,
        "resourceDiskSizeInMB": size.temp_mb,
        "memoryInMB": int(size.memory_gb * 1024),
        "maxDataDiskCount": size.max_data_disks,
    }


def _vm_sizes(ctx: Context) -> Any:
    return {"value": [size_entry(size) for size, _, _ in ctx.lab.market.sizes(ctx.resource.location)]}


ACTIONS = {
    "runCommand": long_action(30.4, prepare=_prepare_run_command, result=_run_command_result),
    "capture": long_action(0.3, prepare=_prepare_capture, result=_capture_result),
    "retrieveBootDiagnosticsData": Verb(existing=200, bucket="GetVM", result=_boot_diagnostics),
    "vmSizes": Verb(method="GET", answer=_vm_sizes, bucket="LowCostGet"),
}

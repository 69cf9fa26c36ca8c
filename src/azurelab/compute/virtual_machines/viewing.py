"""What clients see of a machine: the document as GET shows it, and the instance view."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.store import Resource
from azurelab.compute.services import VM_TYPE
from azurelab.compute.virtual_machines.guest import agent_of
from azurelab.guests.hypervisor import Agent

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["extension_view", "instance_view", "view"]

_POWER_WORDS = {
    "starting": "VM starting",
    "running": "VM running",
    "stopping": "VM stopping",
    "stopped": "VM stopped",
    "deallocating": "VM deallocating",
    "deallocated": "VM deallocated",
}
_CONTROLLERS_SINCE = "2022-08-01"
"""The api-version that brought `diskControllerType`; every size of this lab has SCSI."""
_AGENT_VERSION = "2.11.1.12"


def view(ctx: Context, vm: Resource) -> dict[str, Any]:
    if str(ctx.query.get("statusonly", "")).lower() == "true" and ctx.method == "GET":
        return {
            **{k: vm.doc[k] for k in ("name", "id", "type", "location") if k in vm.doc},
            "properties": {
                "vmId": vm.properties["vmId"],
                "provisioningState": vm.properties.get("provisioningState"),
                "instanceView": instance_view(ctx, vm),
            },
        }
    properties = {**vm.properties, "storageProfile": _storage(vm)}
    if ctx.api_version >= _CONTROLLERS_SINCE:
        properties["storageProfile"] = {"diskControllerType": "SCSI", **properties["storageProfile"]}
    expand = str(ctx.query.get("$expand", "")).lower()
    if "instanceview" in expand:
        properties["instanceView"] = instance_view(ctx, vm)
    if "userdata" in expand and "user_data" in vm.hidden:
        properties["userData"] = vm.hidden["user_data"]
    doc = {**vm.doc, "properties": properties}
    extensions = ctx.store.children(vm.id, f"{VM_TYPE}/extensions")
    if extensions:
        doc["resources"] = [e.doc for e in extensions]
    return doc


def _storage(vm: Resource) -> dict[str, Any]:
    """A deallocated machine's disks show neither size nor account type (recorded)."""
    profile = vm.properties.get("storageProfile") or {}
    if vm.hidden.get("power") != "deallocated":
        return profile
    shown = {**profile}
    if isinstance(profile.get("osDisk"), dict):
        shown["osDisk"] = _bare(profile["osDisk"])
    shown["dataDisks"] = [_bare(d) for d in profile.get("dataDisks") or ()]
    return shown


def _bare(entry: dict[str, Any]) -> dict[str, Any]:
    if "managedDisk" not in entry:
        return entry
    found = {k: v for k, v in entry.items() if k != "diskSizeGB"}
    found["managedDisk"] = {k: v for k, v in entry["managedDisk"].items() if k != "storageAccountType"}
    return found


def instance_view(ctx: Context, vm: Resource) -> dict[str, Any]:
    power = str(vm.hidden.get("power", "stopped"))
    found: dict[str, Any] = {}
    if (vm.properties.get("availabilitySet") or {}).get("id") and power != "deallocated":
        found |= {"platformUpdateDomain": 0, "platformFaultDomain": 0}
    profile = vm.properties.get("storageProfile") or {}
    time = str(vm.hidden.get("started_at") or vm.properties.get("timeCreated") or ctx.timestamp())
    if power == "running":
        found |= _inside(ctx, vm, agent_of(ctx.lab, vm), ctx.timestamp())
    elif power == "stopped" and "last_agent" in vm.hidden:
        word, at = vm.hidden["last_agent"]
        found |= _inside(ctx, vm, Agent(word), str(at))
    entries = [profile.get("osDisk") or {}, *(profile.get("dataDisks") or ())]
    found["disks"] = [{"name": e["name"], "statuses": [_provisioned(time)]} for e in entries if "name" in e]
    diagnostics = (vm.properties.get("diagnosticsProfile") or {}).get("bootDiagnostics") or {}
    if diagnostics.get("enabled"):
        found["bootDiagnostics"] = _boot_diagnostics(vm, str(diagnostics.get("storageUri") or ""))
    extensions = ctx.store.children(vm.id, f"{VM_TYPE}/extensions")
    if extensions:
        found["extensions"] = [extension_view(e) for e in extensions]
    generation = _generation(ctx, vm)
    found["hyperVGeneration"] = generation
    found["statuses"] = [_state(vm, time), _power_status(power)]
    if vm.hidden.get("generalized"):
        found["statuses"].insert(0, {"code": "OSState/generalized", "level": "Info", "displayStatus": "VM generalized"})
    if generation == "V2" and power == "running" and ctx.lab.guests_kind == "qemu":
        found["statuses"].append(
            {
                "code": "Firmware/bios",
                "level": "Info",
                "displayStatus": "Booted by BIOS",
                "message": "azurelab records generation 2 and enforces its rules, but boots the guest by BIOS.",
            }
        )
    return found


def _boot_diagnostics(vm: Resource, account: str) -> dict[str, Any]:
    """With an account of the client's own, where Azure would put its blobs; with a managed one, nothing."""
    if not account:
        return {}
    vm_id = str(vm.properties["vmId"])
    short = "".join(c for c in vm.name.lower() if c.isalnum())[:9]
    stem = f"{account.rstrip('/')}/bootdiagnostics-{short}-{vm_id}/{vm.name}.{vm_id}"
    return {
        "consoleScreenshotBlobUri": f"{stem}.screenshot.bmp",
        "serialConsoleLogBlobUri": f"{stem}.serialconsole.log",
    }


def _generation(ctx: Context, vm: Resource) -> str:
    os_disk = (vm.properties.get("storageProfile") or {}).get("osDisk") or {}
    disk_id = (os_disk.get("managedDisk") or {}).get("id")
    disk = ctx.store.get(disk_id) if disk_id else None
    stated = disk.properties.get("hyperVGeneration") if disk is not None else None
    return str(stated or vm.hidden.get("generation") or "V1")


def _inside(ctx: Context, vm: Resource, agent: Agent, time: str) -> dict[str, Any]:
    """What the agent told of the guest at this time."""
    if agent is Agent.ABSENT:
        return {}
    if agent is Agent.NOT_READY:
        return {
            "vmAgent": {
                "vmAgentVersion": "Unknown",
                "statuses": [
                    {
                        "code": "ProvisioningState/Unavailable",
                        "level": "Warning",
                        "displayStatus": "Not Ready",
                        "message": "VM status blob is found but not yet populated.",
                        "time": time,
                    }
                ],
            }
        }
    os_type = str((vm.properties["storageProfile"].get("osDisk") or {}).get("osType", "Linux"))
    name, version = vm.hidden.get("os") or (("linux", "1") if os_type == "Linux" else ("Windows Server", "10.0"))
    profile = vm.properties.get("osProfile") or {}
    return {
        "computerName": str(profile.get("computerName") or vm.hidden.get("host_name") or vm.name),
        "osName": name,
        "osVersion": version,
        "vmAgent": {
            "vmAgentVersion": _AGENT_VERSION,
            "statuses": [
                {
                    "code": "ProvisioningState/succeeded",
                    "level": "Info",
                    "displayStatus": "Ready",
                    "message": "Guest Agent is running",
                    "time": time,
                }
            ],
            "extensionHandlers": [_handler(e) for e in ctx.store.children(vm.id, f"{VM_TYPE}/extensions")],
        },
    }


def _provisioned(time: str) -> dict[str, Any]:
    return {
        "code": "ProvisioningState/succeeded",
        "level": "Info",
        "displayStatus": "Provisioning succeeded",
        "time": time,
    }


def _state(vm: Resource, time: str) -> dict[str, Any]:
    state = str(vm.properties.get("provisioningState", "Succeeded"))
    if state == "Succeeded":
        return _provisioned(time)
    words = {"Failed": "failed", "Creating": "creating", "Updating": "updating", "Deleting": "deleting"}
    word = words.get(state, state.lower())
    status = {
        "code": f"ProvisioningState/{word}",
        "level": "Error" if state == "Failed" else "Info",
        "displayStatus": f"Provisioning {word}" if state == "Failed" else state,
        "time": time,
    }
    failure = vm.hidden.get("failure")
    if state == "Failed" and isinstance(failure, dict):
        status["code"] = f"ProvisioningState/failed/{failure.get('code', 'Unknown')}"
        status["message"] = str(failure.get("message", ""))
    return status


def _power_status(power: str) -> dict[str, Any]:
    return {"code": f"PowerState/{power}", "level": "Info", "displayStatus": _POWER_WORDS[power]}


def extension_view(extension: Resource) -> dict[str, Any]:
    properties = extension.properties
    return {
        "name": extension.name,
        "type": f"{properties.get('publisher', '')}.{properties.get('type', '')}",
        "typeHandlerVersion": f"{properties.get('typeHandlerVersion', '1.0')}.0.0",
        "statuses": [
            {
                "code": "ProvisioningState/succeeded",
                "level": "Info",
                "displayStatus": "Provisioning succeeded",
                "message": "Kept as data by azurelab; nothing ran in the guest.",
            }
        ],
    }


def _handler(extension: Resource) -> dict[str, Any]:
    properties = extension.properties
    return {
        "type": f"{properties.get('publisher', '')}.{properties.get('type', '')}",
        "typeHandlerVersion": f"{properties.get('typeHandlerVersion', '1.0')}.0.0",
        "status": {
            "code": "ProvisioningState/succeeded",
            "level": "Info",
            "displayStatus": "Ready",
            "message": "Kept as data by azurelab; nothing ran in the guest.",
        },
    }

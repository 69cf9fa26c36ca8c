"""The only place that speaks to the hypervisor: from a machine's document to a running guest, and back."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.ids import parse_id
from azurelab.arm.store import Resource
from azurelab.compute.services import VM_TYPE, disks_of
from azurelab.compute.virtual_machines.documents import CUSTOM_DATA
from azurelab.compute.virtual_machines.storage import held_disks
from azurelab.guests.hypervisor import Agent, BootFailed, DiskAttachment, GuestSpec, Hypervisor, NicAttachment, Power
from azurelab.network.attachment import cards

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = [
    "RUNNING",
    "adopt_guests",
    "agent_of",
    "attachment_of",
    "boot",
    "guest_changed_power",
    "halt",
    "hypervisor_of",
    "spec_of",
]

RUNNING = ("starting", "running")
"""Values of `hidden["power"]` under which a guest should run."""


def hypervisor_of(lab: Lab) -> Hypervisor:
    if lab.hypervisor is None:
        raise ArmError(500, "InternalServerError", "This lab has no hypervisor.")
    return lab.hypervisor


def attachment_of(lab: Lab, disk: Resource, lun: int) -> DiskAttachment:
    """The disk as its guest reaches it. `lun` −1 is the OS disk."""
    return _attachment(lab, str(disk.hidden["volume"]), None if lun < 0 else lun)


def _attachment(lab: Lab, volume: str, lun: int | None) -> DiskAttachment:
    service = disks_of(lab)
    return DiskAttachment(lun, service.nbd.path, volume, service.store.get(volume).size_bytes)


def spec_of(lab: Lab, vm: Resource) -> GuestSpec:
    """Everything that the hypervisor needs, from what is stored now."""
    attached = []
    if "os_volume" in vm.hidden:
        attached.append(_attachment(lab, str(vm.hidden["os_volume"]), None))
    for word, volume in (vm.hidden.get("data_volumes") or {}).items():
        attached.append(_attachment(lab, str(volume), int(word)))
    for lun, disk_id in held_disks(vm):
        disk = lab.store.get(disk_id)
        if disk is not None:
            attached.append(attachment_of(lab, disk, lun))
    profile = vm.properties.get("osProfile") or {}
    custom = vm.hidden.get(CUSTOM_DATA)
    return GuestSpec(
        key=vm.key,
        vm_id=str(vm.properties["vmId"]),
        host_name=str(profile.get("computerName") or vm.hidden.get("host_name") or vm.name),
        disks=tuple(attached),
        nics=tuple(
            NicAttachment(c.nic_id, c.mac, c.private_ip, c.prefix_length, c.public_ip, c.primary)
            for c in cards(lab.store, vm.id)
        ),
        compute=_metadata(vm),
        custom_data=base64.b64decode(custom) if custom else None,
    )


def _metadata(vm: Resource) -> dict[str, Any]:
    """The `compute` object of the instance metadata service, api-version 2021-02-01."""
    properties = vm.properties
    profile = properties.get("osProfile") or {}
    storage = properties.get("storageProfile") or {}
    image = storage.get("imageReference") or {}
    linux = profile.get("linuxConfiguration") or {}
    keys = (linux.get("ssh") or {}).get("publicKeys") or []
    rid = parse_id(vm.id)
    return {
        "azEnvironment": "AzurePublicCloud",
        "customData": "",
        "evictionPolicy": properties.get("evictionPolicy", ""),
        "location": vm.location,
        "name": vm.name,
        "offer": image.get("offer", ""),
        "osProfile": {
            "adminUsername": profile.get("adminUsername", ""),
            "computerName": profile.get("computerName", ""),
            "disablePasswordAuthentication": str(bool(linux.get("disablePasswordAuthentication"))).lower(),
        },
        "osType": (storage.get("osDisk") or {}).get("osType", "Linux"),
        "plan": vm.doc.get("plan") or {"name": "", "product": "", "publisher": ""},
        "priority": properties.get("priority", ""),
        "provider": "Microsoft.Compute",
        "publicKeys": [{"keyData": k.get("keyData", ""), "path": k.get("path", "")} for k in keys],
        "publisher": image.get("publisher", ""),
        "resourceGroupName": rid.group if rid is not None else "",
        "resourceId": vm.id,
        "sku": image.get("sku", ""),
        "storageProfile": {"imageReference": image, "osDisk": storage.get("osDisk") or {},
                           "dataDisks": storage.get("dataDisks") or []},
        "subscriptionId": rid.subscription if rid is not None else "",
        "tags": ";".join(f"{k}:{v}" for k, v in vm.tags.items()),
        "tagsList": [{"name": k, "value": v} for k, v in vm.tags.items()],
        "userData": str(vm.hidden.get("user_data", "")),
        "version": image.get("exactVersion") or image.get("version", ""),
        "vmId": properties["vmId"],
        "vmScaleSetName": "",
        "vmSize": (properties.get("hardwareProfile") or {}).get("vmSize", ""),
        "zone": str((vm.doc.get("zones") or [""])[0]),
    }  # fmt: skip


def boot(lab: Lab, vm: Resource) -> None:
    """Run the guest. A guest that cannot be started ends the operation as Azure's provisioning time-out does."""
    try:
        hypervisor_of(lab).start(spec_of(lab, vm))
    except BootFailed as exc:
        raise ArmError(
            409,
            "OSProvisioningTimedOut",
            f"OS Provisioning for VM '{vm.name}' did not finish in the allotted time. The VM may still finish "
            f"provisioning successfully. Please check provisioning state later. ({exc})",
        ) from exc


def halt(lab: Lab, key: str, *, graceful: bool) -> None:
    hypervisor_of(lab).stop(key, graceful=graceful)


def agent_of(lab: Lab, vm: Resource) -> Agent:
    if vm.hidden.get("power") != "running":
        return Agent.ABSENT
    profile = vm.properties.get("osProfile") or {}
    for word in ("linuxConfiguration", "windowsConfiguration"):
        if (profile.get(word) or {}).get("provisionVMAgent") is False:
            return Agent.ABSENT
    return hypervisor_of(lab).agent(vm.key)


def adopt_guests(lab: Lab, *, forgive: bool) -> None:
    """After a start of azurelab: guests that ran go on; one that ended meanwhile is a machine that stopped.

    `forgive`: they were ended together with azurelab, and the caller boots them again.
    """
    should_run = [vm for vm in lab.store.of_type(VM_TYPE) if vm.hidden.get("power") in RUNNING and _has_bytes(lab, vm)]
    hypervisor = hypervisor_of(lab)
    hypervisor.adopt({vm.key: spec_of(lab, vm) for vm in should_run})
    for vm in should_run:
        if not forgive and vm.hidden["power"] == "running" and hypervisor.power(vm.key) is Power.OFF:
            guest_changed_power(lab, vm.key, Power.OFF)


def _has_bytes(lab: Lab, vm: Resource) -> bool:
    """False for a machine whose creation was cut off before its disks were made: its operation makes them."""
    store = disks_of(lab).store
    volumes = [vm.hidden["os_volume"]] if "os_volume" in vm.hidden else []
    volumes += (vm.hidden.get("data_volumes") or {}).values()
    for _, disk_id in held_disks(vm):
        disk = lab.store.get(disk_id)
        volumes += [disk.hidden["volume"]] if disk is not None else []
    return all(store.find(str(volume)) is not None for volume in volumes)


def guest_changed_power(lab: Lab, key: str, power: Power) -> None:
    """A guest stopped (or started) by itself. An operation that is under way says so itself."""
    with lab.store.transaction():
        vm = lab.store.get(key)
        if vm is None or lab.operations.busy(vm.key):
            return
        was, now = vm.hidden.get("power"), "stopped" if power is Power.OFF else "running"
        if was == now or was not in ("running", "stopped"):
            return
        with lab.store.edit(vm.id) as r:
            r.hidden["power"] = now
        lab.store.log("power", vm.id, power=now, was=was, why="guest")

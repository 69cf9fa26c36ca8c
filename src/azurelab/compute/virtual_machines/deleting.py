"""DELETE of a machine: the guest ends, then disks, cards and public addresses stay or go as their deleteOption says.

`forceDeletion`: since api-version 2024-11-01 a DELETE without it is a force delete when every disk is marked Delete
(vendor's REST page). Here a force delete pulls the plug instead of shutting the guest down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.store import Resource
from azurelab.compute.services import disks_of
from azurelab.compute.virtual_machines.guest import halt, hypervisor_of
from azurelab.compute.virtual_machines.storage import free_disk, held_disks
from azurelab.compute.virtual_machines.updating import set_power
from azurelab.network.attachment import detach, take_down

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["finish", "prepare", "run"]

_FORCED_SINCE = "2024-11-01"


def prepare(ctx: Context) -> None:
    ctx.memo["force"] = _forced(ctx)


def _forced(ctx: Context) -> bool:
    said = ctx.query.get("forcedeletion")
    if said is not None:
        return str(said).lower() == "true"
    profile = ctx.resource.properties.get("storageProfile") or {}
    disks = [profile.get("osDisk") or {}, *(profile.get("dataDisks") or ())]
    return ctx.api_version >= _FORCED_SINCE and all(_deletes(d) for d in disks)


def _deletes(entry: dict[str, Any]) -> bool:
    return str(entry.get("deleteOption", "Detach")).lower() == "delete"


def run(ctx: Context) -> None:
    vm = ctx.found
    if vm is None:
        return
    halt(ctx.lab, vm.key, graceful=not ctx.memo.get("force"))
    hypervisor_of(ctx.lab).remove(vm.key)
    if vm.hidden.get("power") not in ("deallocated", "stopped"):
        set_power(ctx, "stopped")
    ctx.checkpoint("guest ended")


def finish(ctx: Context) -> None:
    """Under the lock, in the transaction in which the machine goes: nothing is ever free and held at once."""
    vm = ctx.found
    if vm is not None:
        let_go(ctx, vm)


def let_go(ctx: Context, vm: Resource) -> None:
    take_down(ctx, vm.id)
    profile = vm.properties.get("storageProfile") or {}
    options = {-1: profile.get("osDisk") or {}, **{int(d["lun"]): d for d in profile.get("dataDisks") or ()}}
    for lun, disk_id in held_disks(vm):
        free_disk(ctx, disk_id, vm.id)
        disk = ctx.store.get(disk_id)
        if disk is not None and _deletes(options[lun]) and not disk.doc.get("managedBy"):
            _delete_volume(ctx, str(disk.hidden["volume"]))
            ctx.remove(disk_id)
    if "os_volume" in vm.hidden:
        _delete_volume(ctx, str(vm.hidden["os_volume"]))
    for volume in (vm.hidden.get("data_volumes") or {}).values():
        _delete_volume(ctx, str(volume))
    for card in (vm.properties.get("networkProfile") or {}).get("networkInterfaces") or ():
        _let_card_go(ctx, vm, card)
    for child in ctx.store.children(vm.id):
        ctx.remove(child.id)


def _delete_volume(ctx: Context, volume: str) -> None:
    service = disks_of(ctx.lab)
    # After the commit: a kill before it must leave the disk with its bytes.
    ctx.store.after_commit(lambda: service.delete(volume))


def _let_card_go(ctx: Context, vm: Resource, card: dict[str, Any]) -> None:
    nic_id = str(card.get("id", ""))
    nic = ctx.store.get(nic_id)
    if nic is None:
        return
    detach(ctx, nic_id, vm.id)
    if not _deletes(card.get("properties") or {}):
        return
    addresses = [
        reference
        for config in nic.properties.get("ipConfigurations") or ()
        if (reference := (config["properties"].get("publicIPAddress") or {})).get("id")
    ]
    ctx.remove(nic_id)
    for reference in addresses:
        marked = {**reference, **(reference.get("properties") or {})}
        address = ctx.store.get(str(reference["id"]))
        own = (address.properties if address is not None else {}).get("deleteOption")
        if address is not None and _deletes({"deleteOption": marked.get("deleteOption") or own or "Detach"}):
            ctx.remove(address.id)

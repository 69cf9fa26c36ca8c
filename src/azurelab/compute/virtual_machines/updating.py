"""PUT and PATCH: a machine made, or an existing one changed, and then made true at the hypervisor."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, conflict
from azurelab.arm.store import Resource, clone
from azurelab.compute.services import GHOST_SETTING, disks_of
from azurelab.compute.virtual_machines.allocating import allocate, check_allocation
from azurelab.compute.virtual_machines.documents import take_secrets
from azurelab.compute.virtual_machines.guest import RUNNING, agent_of, attachment_of, boot, halt, hypervisor_of, spec_of
from azurelab.compute.virtual_machines.network import settle_network
from azurelab.compute.virtual_machines.rules import (
    check_generation,
    check_os_profile,
    check_priority,
    check_security,
    check_unchanged,
    shape_of,
)
from azurelab.compute.virtual_machines.storage import free_unnamed, settle_storage
from azurelab.guests.hypervisor import GuestBusy
from azurelab.network.attachment import bring_up

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["answer", "prepare", "remember_agent", "run", "set_power"]


def set_power(ctx: Context, power: str, why: str = "") -> None:
    """Write the machine's power at the moment at which it becomes true, with its entry in the event log."""
    with ctx.edit() as vm:
        was = vm.hidden.get("power")
        vm.hidden["power"] = power
        if power == "running":
            vm.hidden["started_at"] = ctx.timestamp()
    if was != power:
        ctx.log("power", power=power, was=was, why=why or ctx.method)


def remember_agent(ctx: Context) -> None:
    """A machine that is stopped, but not deallocated, goes on showing what its agent said last (recorded)."""
    with ctx.edit() as vm:
        vm.hidden["last_agent"] = [agent_of(ctx.lab, vm).value, ctx.timestamp()]


def prepare(ctx: Context) -> None:
    vm, before = ctx.resource, ctx.before
    if vm.doc.get("zones") == []:
        vm.doc.pop("zones")
    _refuse_generalized(ctx)
    shape = shape_of(vm)
    check_priority(ctx)
    check_unchanged(ctx)
    check_os_profile(ctx)
    if before is None:
        vm.properties["vmId"] = str(uuid.uuid4())
        vm.properties["timeCreated"] = ctx.timestamp()
        if ctx.store.setting(GHOST_SETTING + vm.key):
            ctx.store.set_setting(GHOST_SETTING + vm.key, None)
        check_allocation(ctx, vm)
    elif before.hidden.get("unborn") and ctx.method == "PUT":
        check_allocation(ctx, vm)
        vm.hidden["power"] = "starting"
    elif _size_of(before) != shape.name and before.hidden.get("power") != "deallocated":
        check_allocation(ctx, vm)
        ctx.memo["resized"] = True
    settle_network(ctx, shape)
    changes = settle_storage(ctx, shape)
    check_generation(shape, _generation(ctx, vm))
    check_security(vm, _generation(ctx, vm))
    _settle_identity(ctx, vm)
    take_secrets(vm)
    if before is None:
        vm.hidden["power"] = "starting"
        vm.hidden["unborn"] = True  # until it has run once: a PUT on a machine whose creation failed tries again
        ctx.log("power", power="starting", was=None, why="PUT")
        vm.hidden["generation"] = _generation(ctx, vm) or "V1"
    ctx.memo["new"] = bool(vm.hidden.get("unborn")) and ctx.method == "PUT"
    ctx.memo.update(asdict(changes))


def _refuse_generalized(ctx: Context) -> None:
    before = ctx.before
    if before is not None and before.hidden.get("generalized") and ctx.body.get("properties"):
        raise conflict(
            "OperationNotAllowed",
            f"Operation '{ctx.method}' is not allowed on VM '{ctx.id.name}' since the VM is generalized.",
        )


def _size_of(vm: Resource) -> str:
    return str((vm.properties.get("hardwareProfile") or {}).get("vmSize", ""))


def _generation(ctx: Context, vm: Resource) -> str | None:
    """Of the OS disk; a machine whose disk does not say is of generation 1."""
    os_disk = (vm.properties.get("storageProfile") or {}).get("osDisk") or {}
    disk_id = (os_disk.get("managedDisk") or {}).get("id")
    disk = ctx.store.get(disk_id) if disk_id else None
    found = disk.properties.get("hyperVGeneration") if disk is not None else None
    return str(found) if found else None


def _settle_identity(ctx: Context, vm: Resource) -> None:
    """A system-assigned identity gets a principal; a machine made anew gets a new one."""
    identity = vm.doc.get("identity")
    if not isinstance(identity, dict):
        return
    kind = str(identity.get("type", "None"))
    if kind.lower() == "none":
        vm.doc.pop("identity")
        return
    had = (ctx.before.doc.get("identity") or {}) if ctx.before is not None else {}
    identity.pop("principalId", None)
    identity.pop("tenantId", None)
    if "systemassigned" in kind.lower():
        identity["principalId"] = had.get("principalId") or str(uuid.uuid4())
        identity["tenantId"] = ctx.lab.tenant
    for user in (identity.get("userAssignedIdentities") or {}).values():
        if isinstance(user, dict):
            user.setdefault("principalId", str(uuid.uuid4()))
            user.setdefault("clientId", str(uuid.uuid4()))


def answer(ctx: Context) -> Any:
    """The immediate answer: the machine as it will be, with data disks still on their way out (recorded)."""
    vm = ctx.resource
    body = clone(ctx.lab.arm.view(ctx, vm))
    leaving = {str(disk_id).lower() for _, disk_id in ctx.memo["detached"]}
    if leaving and ctx.before is not None:
        had = (ctx.before.properties.get("storageProfile") or {}).get("dataDisks") or ()
        profile = body["properties"]["storageProfile"]
        staying = {_disk_key(d): d for d in profile["dataDisks"]}
        shown = []
        for disk in had:
            if _disk_key(disk) in leaving:
                shown.append({**clone(disk), "toBeDetached": True})
            elif _disk_key(disk) in staying:
                shown.append(staying.pop(_disk_key(disk)))
        profile["dataDisks"] = [*shown, *staying.values()]
    return body


def _disk_key(entry: dict[str, Any]) -> str:
    return str((entry.get("managedDisk") or {}).get("id", "")).lower()


# -- making it true ---------------------------------------------------------------------------------------------------


def run(ctx: Context) -> None:
    """Bytes first, then the guest. Every part may be repeated."""
    make_volumes(ctx, ctx.memo["volumes"])
    for volume, size_bytes in ctx.memo["grown"]:
        disks_of(ctx.lab).ensure_size(volume, int(size_bytes))
    ctx.checkpoint("disks made")
    if ctx.memo["new"]:
        start_guest(ctx)
        return
    running = ctx.resource.hidden.get("power") in RUNNING
    os_swapped = any(lun == -1 for lun, _ in ctx.memo["detached"])
    if running and (ctx.memo.get("resized") or os_swapped):
        _restart_changed(ctx)
    elif running:
        _plug(ctx)
    if running and not ctx.memo.get("resized"):
        _tell_guest(ctx)
    _free(ctx)


def make_volumes(ctx: Context, wanted: list[dict[str, Any]]) -> None:
    service = disks_of(ctx.lab)
    for volume in wanted:
        source = volume["source"]
        if source is not None and service.store.find(source) is not None:
            size_bytes = max(int(volume["size"]), service.store.get(source).size_bytes)
            service.ensure_clone(source, volume["id"], size_bytes)
        else:
            service.ensure_empty(volume["id"], int(volume["size"]))


def start_guest(ctx: Context) -> None:
    """From nothing to running: capacity, addresses, guest. A refusal leaves the machine as Azure does: failed, and
    holding its disks and cards until it is deleted."""
    allocate(ctx)
    with ctx.transaction():
        bring_up(ctx, ctx.resource.id)
    ctx.checkpoint("allocated")
    try:
        boot(ctx.lab, ctx.resource)
    except ArmError:
        set_power(ctx, "stopped", "boot failed")
        raise
    with ctx.edit() as vm:
        for word in ("unborn", "last_agent"):
            vm.hidden.pop(word, None)
    set_power(ctx, "running")


def _restart_changed(ctx: Context) -> None:
    """A resize, or another OS disk under a running machine: the guest goes down and comes up again."""
    halt(ctx.lab, ctx.resource.key, graceful=True)
    set_power(ctx, "stopped")
    _free(ctx)
    start_guest(ctx)


def _plug(ctx: Context) -> None:
    """Data disks of a running guest."""
    lab, key = ctx.lab, ctx.resource.key
    try:
        for lun, disk_id in ctx.memo["detached"]:
            hypervisor_of(lab).detach(key, lun)
            free_unnamed(ctx, disk_id)
        for lun, disk_id in ctx.memo["attached"]:
            disk = ctx.store.get(disk_id)
            if disk is not None:
                hypervisor_of(lab).attach(key, attachment_of(lab, disk, lun))
    except GuestBusy as exc:
        raise ArmError(
            409, "OperationNotAllowed", f"The guest of VM '{ctx.id.name}' does not take the change of its disks: {exc}"
        ) from exc


def _tell_guest(ctx: Context) -> None:
    hypervisor_of(ctx.lab).readdress(spec_of(ctx.lab, ctx.resource))


def _free(ctx: Context) -> None:
    for _, disk_id in ctx.memo["detached"]:
        free_unnamed(ctx, disk_id)

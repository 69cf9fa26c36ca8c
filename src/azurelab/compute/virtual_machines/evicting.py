"""Spot eviction: announced to the guest, then the machine is deallocated or deleted as its policy says.

`evict` is what the world calls; `simulateEviction` is Azure's own way to ask for it. The eviction itself is an
operation on the machine like any other, so it waits its turn and survives a kill.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from azurelab.arm.errors import ArmError, conflict
from azurelab.arm.types import Lro, Verb
from azurelab.compute.services import GHOST_SETTING, VM_TYPE
from azurelab.compute.virtual_machines.allocating import release
from azurelab.compute.virtual_machines.guest import RUNNING, halt
from azurelab.compute.virtual_machines.rules import is_spot
from azurelab.compute.virtual_machines.updating import set_power
from azurelab.network.attachment import take_down

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.arm.context import Context

__all__ = ["ACTIONS", "EVICT", "NOTICE_SETTING", "evict", "resume_evictions"]

EVICT = "azurelab.evict"
"""The eviction as an action. Not one of Azure's: a name that no client of Azure can mean."""

NOTICE_SETTING = "eviction.notice_s"
"""Lab seconds between the notice and the end. Azure gives 30; a lab without guests gives 0: nobody would hear it."""


def evict(lab: Lab, vm_id: str, *, notice_s: float | None = None) -> None:
    """Announce and schedule the eviction of a machine; returns at once. A machine that is gone by then stays so."""
    vm = lab.store.get(vm_id)
    if vm is None:
        return
    if notice_s is None:
        default = 30.0 if lab.guests_kind == "qemu" else 0.0
        notice_s = float(lab.store.setting(NOTICE_SETTING, default))
    lab.store.log("eviction-announced", vm.id, notice_s=notice_s)
    due = lab.clock.now() + notice_s
    if vm.hidden.get("power") in RUNNING and lab.hypervisor is not None:
        lab.hypervisor.notify_preempt(vm.key, due)
    with lab.store.edit(vm.id) as r:
        r.hidden["evict_at"] = due
    vm_unique = str(vm.properties["vmId"])
    lab.timers.at(due, _beginner(lab, vm_id, vm_unique))


def resume_evictions(lab: Lab) -> None:
    """After a restart: what was announced still comes."""
    for vm in lab.store.of_type(VM_TYPE):
        due = vm.hidden.get("evict_at")
        if due is not None:
            lab.timers.at(float(due), _beginner(lab, vm.id, str(vm.properties["vmId"])))


def _beginner(lab: Lab, vm_id: str, unique: str) -> Callable[[], None]:
    return lambda: _begin(lab, vm_id, unique)


def _begin(lab: Lab, vm_id: str, unique: str) -> None:
    """From the timers' thread, which must not wait: the operation runs in a thread of its own."""
    threading.Thread(target=_carry_out, args=(lab, vm_id, unique), name="azurelab-evict", daemon=True).start()


def _carry_out(lab: Lab, vm_id: str, unique: str) -> None:
    vm = lab.store.get(vm_id)
    if vm is None or str(vm.properties["vmId"]) != unique or "evict_at" not in vm.hidden:
        return
    try:
        lab.arm.perform("POST", f"{vm_id}/{EVICT}")
        found = lab.store.get(vm_id)
        if found is not None and str(found.properties.get("evictionPolicy", "")).lower() == "delete":
            lab.store.set_setting(GHOST_SETTING + found.key, True)
            lab.arm.perform("DELETE", vm_id, query={"forceDeletion": "true"})
    except ArmError as exc:
        # A machine that was deleted while its eviction waited: nothing is left to evict. Seen in the event log.
        lab.store.log("eviction-failed", vm_id, code=exc.code, message=exc.message)


def _prepare_simulate(ctx: Context) -> None:
    if not is_spot(ctx.resource):
        raise conflict("OperationNotAllowed", "Operation 'simulateEviction' is allowed only for Spot Virtual Machines")


def _finish_simulate(ctx: Context) -> None:
    lab, vm_id = ctx.lab, ctx.resource.id
    ctx.store.after_commit(lambda: evict(lab, vm_id))


def _run_evict(ctx: Context) -> None:
    vm = ctx.found
    if vm is None:
        return
    deletes = str(vm.properties.get("evictionPolicy", "")).lower() == "delete"
    if vm.hidden.get("power") != "deallocated":
        ctx.log("evicted", policy="Delete" if deletes else "Deallocate")
        halt(ctx.lab, vm.key, graceful=False)
        with ctx.transaction():
            take_down(ctx, vm.id)
            release(ctx)
            set_power(ctx, "deallocated", "evicted")
    with ctx.edit() as r:
        r.hidden.pop("evict_at", None)
        r.hidden["evicted"] = True


ACTIONS = {
    "simulateEviction": Verb(
        existing=204, bucket="DeleteVM", prepare=_prepare_simulate, finish=_finish_simulate, empty=True
    ),
    EVICT: Verb(existing=202, lro=Lro.BOTH, run=_run_evict, empty=True),
}

"""start, powerOff, deallocate, restart, redeploy, reapply, generalize: what they need and what they do.

The table says from which power states a verb does something, does nothing, or is refused; `next_power` is pure and
tested for every pair.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from azurelab.arm.errors import ArmError, conflict
from azurelab.arm.types import Verb
from azurelab.compute.virtual_machines.actions import long_action
from azurelab.compute.virtual_machines.allocating import check_allocation, release
from azurelab.compute.virtual_machines.guest import boot, halt, hypervisor_of
from azurelab.compute.virtual_machines.updating import remember_agent, set_power, start_guest
from azurelab.guests.hypervisor import BootFailed
from azurelab.network.attachment import take_down

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["ACTIONS", "Refused", "next_power"]

_ON = ("starting", "running")
_ALLOCATED = (*_ON, "stopping", "stopped")


class Refused(Exception):
    """The verb is not possible from this power state."""


def next_power(power: str, verb: str) -> str:
    """The power state after the verb has succeeded. `Refused`: Azure answers 409 OperationNotAllowed."""
    if verb == "start":
        return "running"
    if verb == "powerOff":
        return "stopped" if power in _ALLOCATED else power
    if verb == "deallocate":
        return "deallocated"
    if verb == "restart":
        if power not in _ALLOCATED:
            raise Refused
        return "running"
    if verb in ("redeploy", "reapply"):
        return power
    if verb == "generalize":
        if power in _ON:
            raise Refused
        return power
    raise ValueError(verb)


def _power(ctx: Context) -> str:
    return str(ctx.resource.hidden.get("power", "stopped"))


def _refuse_generalized(ctx: Context) -> None:
    if ctx.resource.hidden.get("generalized"):
        raise conflict(
            "OperationNotAllowed",
            f"Operation '{ctx.method}' is not allowed on VM '{ctx.id.name}' since the VM is generalized.",
        )


def _refuse_impossible(ctx: Context) -> None:
    try:
        next_power(_power(ctx), ctx.method)
    except Refused as exc:
        raise conflict(
            "OperationNotAllowed",
            f"Cannot perform operation '{ctx.method}' on VM '{ctx.id.name}' while it is {_power(ctx)}.",
        ) from exc


def _prepare_start(ctx: Context) -> None:
    _refuse_generalized(ctx)
    if _power(ctx) == "deallocated":
        check_allocation(ctx, ctx.resource)


def _run_start(ctx: Context) -> None:
    if _power(ctx) != "running":
        set_power(ctx, "starting")
    was_allocated = ctx.resource.hidden.get("allocated") is not None
    try:
        start_guest(ctx)
    except ArmError:
        set_power(ctx, "stopped" if was_allocated else "deallocated", "start failed")
        raise


def _run_power_off(ctx: Context) -> None:
    if _power(ctx) not in _ALLOCATED:
        return
    graceful = str(ctx.query.get("skipshutdown", "false")).lower() != "true"
    if _power(ctx) in _ON:
        remember_agent(ctx)
        set_power(ctx, "stopping")
    halt(ctx.lab, ctx.resource.key, graceful=graceful)
    set_power(ctx, "stopped")


def _prepare_deallocate(ctx: Context) -> None:
    if "os_volume" in ctx.resource.hidden and _is_ephemeral(ctx):
        raise conflict(
            "OperationNotAllowed",
            f"Operation 'deallocate' is not supported for VM '{ctx.id.name}' with an ephemeral OS disk.",
        )


def _is_ephemeral(ctx: Context) -> bool:
    os_disk = (ctx.resource.properties.get("storageProfile") or {}).get("osDisk") or {}
    return bool((os_disk.get("diffDiskSettings") or {}).get("option"))


def _run_deallocate(ctx: Context) -> None:
    if _power(ctx) == "deallocated":
        return
    if _power(ctx) in _ON:
        set_power(ctx, "deallocating")
    halt(ctx.lab, ctx.resource.key, graceful=True)
    with ctx.transaction():
        take_down(ctx, ctx.resource.id)
        release(ctx)
        set_power(ctx, "deallocated")


def _prepare_restart(ctx: Context) -> None:
    _refuse_generalized(ctx)
    _refuse_impossible(ctx)


def _run_restart(ctx: Context) -> None:
    if _power(ctx) not in _ON:
        start_guest(ctx)
        return
    try:
        hypervisor_of(ctx.lab).restart(ctx.resource.key)
    except BootFailed as exc:
        set_power(ctx, "stopped", "boot failed")
        raise ArmError(409, "OSProvisioningTimedOut", f"VM '{ctx.id.name}' did not boot again: {exc}") from exc
    ctx.log("restarted")


def _run_redeploy(ctx: Context) -> None:
    """Another host: down, and up again. A machine that was off stays off (recorded)."""
    if _power(ctx) not in _ON:
        return
    halt(ctx.lab, ctx.resource.key, graceful=True)
    set_power(ctx, "stopped")
    start_guest(ctx)


def _run_reapply(ctx: Context) -> None:
    """What should run runs."""
    if _power(ctx) in _ON:
        boot(ctx.lab, ctx.resource)


def _prepare_generalize(ctx: Context) -> None:
    if _is_ephemeral(ctx):
        raise conflict("OperationNotAllowed", f"VM '{ctx.id.name}' has an ephemeral OS disk and cannot be generalized.")
    if _power(ctx) in _ON:
        raise conflict(
            "OperationNotAllowed",
            f"The Virtual Machine '{ctx.id.name}' is not stopped; please power it off before it is set to generalized.",
        )


def _run_generalize(ctx: Context) -> None:
    with ctx.edit() as vm:
        vm.hidden["generalized"] = True
    ctx.log("generalized")


ACTIONS = {
    "start": long_action(7.6, run=_run_start, prepare=_prepare_start),
    "powerOff": long_action(9.9, run=_run_power_off),
    "deallocate": long_action(40.5, bucket="DeleteVM", run=_run_deallocate, prepare=_prepare_deallocate),
    "restart": long_action(0.3, run=_run_restart, prepare=_prepare_restart),
    "redeploy": long_action(42.5, run=_run_redeploy, prepare=_refuse_generalized),
    "reapply": long_action(1.5, run=_run_reapply),
    "generalize": Verb(existing=200, bucket="UpdateVM", prepare=_prepare_generalize, run=_run_generalize, empty=True),
}

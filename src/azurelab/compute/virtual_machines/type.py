"""Microsoft.Compute/virtualMachines put together."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, not_found
from azurelab.arm.store import Resource
from azurelab.arm.types import COMPUTE, Etags, Lro, ResourceType, Verb
from azurelab.compute.services import GHOST_SETTING, VM_TYPE
from azurelab.compute.virtual_machines import (
    commands,
    converting,
    deleting,
    evicting,
    maintaining,
    powering,
    updating,
)
from azurelab.compute.virtual_machines.documents import merge_patch, merge_put
from azurelab.compute.virtual_machines.fields import VM_FIELDS
from azurelab.compute.virtual_machines.network import card_ids
from azurelab.compute.virtual_machines.storage import held_disks
from azurelab.compute.virtual_machines.viewing import instance_view, view

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["VIRTUAL_MACHINES_TYPE"]


_IDLE_SINCE = "2021-03-01"
"""From some api-version between 2020-06-01 (an operation) and 2021-07-01 (none; both recorded)."""


def _changes_nothing(ctx: Context) -> bool:
    """A PATCH of what is so already."""
    before, memo = ctx.before, ctx.memo
    if before is None or ctx.api_version < _IDLE_SINCE:
        return False
    work = ("volumes", "attached", "detached", "grown", "resized")
    return ctx.resource.doc == before.doc and not any(memo.get(w) for w in work)


def _failed(ctx: Context, error: dict[str, Any]) -> None:
    """Azure keeps a machine whose creation failed, with all that it holds, until somebody deletes it."""
    with ctx.edit() as vm:
        vm.hidden["failure"] = error
        if vm.hidden.get("power") == "starting":
            vm.hidden["power"] = "stopped" if vm.hidden.get("allocated") else "deallocated"


def _finish(ctx: Context) -> None:
    if "failure" in ctx.resource.hidden:
        with ctx.edit() as vm:
            vm.hidden.pop("failure")


def _instance_view(ctx: Context) -> Any:
    return instance_view(ctx, ctx.resource)


def _missing(ctx: Context) -> Exception:
    """A machine that its own provider took away, by an eviction, is missed there and not at ARM's front door."""
    if ctx.store.setting(GHOST_SETTING + ctx.id.key):
        return ArmError(404, "NotFound", "The entity was not found in this Azure location.")
    return not_found(ctx.id.named(), ctx.id.group)


_SCALE_SET = re.compile(r"^'?virtualMachineScaleSet/id'?\s+eq\s+'([^']*)'$", re.IGNORECASE)


def _listed(ctx: Context, vm: Resource) -> bool:
    """The one `$filter` of machines: those of a scale set."""
    text = ctx.query.get("$filter", "").strip()
    if not text:
        return True
    wanted = _SCALE_SET.match(text)
    if wanted is None:
        raise ArmError(400, "BadRequest", f"The filter '{text}' is not supported.", target="$filter")  # (unverified)
    held = str((vm.properties.get("virtualMachineScaleSet") or {}).get("id", ""))
    return held.lower() == wanted.group(1).lower()


def _refs(vm: Resource) -> list[str]:
    return [*(disk_id for _, disk_id in held_disks(vm)), *card_ids(vm.properties)]


VIRTUAL_MACHINES_TYPE = ResourceType(
    name=VM_TYPE,
    flavor=COMPUTE,
    etags=Etags.COUNTER,
    put=Verb(
        new=201,
        existing=200,
        lro=Lro.AAO,
        seconds=10.7,
        bucket="PutVM",
        prepare=updating.prepare,
        run=updating.run,
        finish=_finish,
        failed=_failed,
        answer=updating.answer,
    ),
    patch=Verb(
        existing=200,
        lro=Lro.AAO,
        seconds=3.7,
        bucket="PutVM",
        prepare=updating.prepare,
        run=updating.run,
        finish=_finish,
        failed=_failed,
        answer=updating.answer,
        idle=_changes_nothing,
    ),
    delete=Verb(
        existing=202,
        lro=Lro.BOTH,
        seconds=10.4,
        bucket="DeleteVM",
        prepare=deleting.prepare,
        run=deleting.run,
        finish=deleting.finish,
        empty=True,
    ),
    actions={
        "instanceView": Verb(method="GET", answer=_instance_view, bucket="LowCostGet"),
        **powering.ACTIONS,
        **evicting.ACTIONS,
        **commands.ACTIONS,
        **converting.ACTIONS,
        **maintaining.ACTIONS,
    },
    fields=VM_FIELDS,
    merge=merge_put,
    merge_patch=merge_patch,
    view=view,
    refs=_refs,
    missing=_missing,
    listed=_listed,
    read_bucket="LowCostGet",
    list_bucket="HighCostGet",
    delete_order=10,
)

"""Actions that keep machines up to date: patches, maintenance, reimage; and attachDetachDataDisks.

No guest of this lab patches itself: assessments find nothing, installations install nothing.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import conflict, invalid_parameter
from azurelab.arm.store import clone
from azurelab.compute.disk_sources import absolute_id
from azurelab.compute.virtual_machines import updating
from azurelab.compute.virtual_machines.actions import long_action
from azurelab.compute.virtual_machines.viewing import view

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["ACTIONS"]


def _refuse_off(ctx: Context) -> None:
    if ctx.resource.hidden.get("power") != "running":
        raise conflict("OperationNotAllowed", "The operation requires the VM to be running (or set to run).")
    ctx.memo["at"] = ctx.timestamp()
    ctx.memo["activity"] = str(uuid.uuid4())


def _assessed(ctx: Context) -> Any:
    return {
        "status": "Succeeded",
        "assessmentActivityId": ctx.memo["activity"],
        "rebootPending": False,
        "criticalAndSecurityPatchCount": 0,
        "otherPatchCount": 0,
        "startDateTime": ctx.memo["at"],
        "availablePatches": [],
    }


def _prepare_install(ctx: Context) -> None:
    body = ctx.body if isinstance(ctx.body, dict) else {}
    if not body.get("rebootSetting"):
        raise invalid_parameter("rebootSetting", "Required parameter 'rebootSetting' is missing (null).")
    _refuse_off(ctx)


def _installed(ctx: Context) -> Any:
    counts = ("excluded", "notSelected", "pending", "installed", "failed")
    return {
        "status": "Succeeded",
        "installationActivityId": ctx.memo["activity"],
        "rebootStatus": "NotNeeded",
        "maintenanceWindowExceeded": False,
        **{f"{word}PatchCount": 0 for word in counts},
        "patches": [],
        "startDateTime": ctx.memo["at"],
    }


def _refuse_maintenance(ctx: Context) -> None:
    raise conflict(
        "OperationNotAllowed",
        f"Operation 'performMaintenance' is not allowed on VM '{ctx.id.name}' since the Subscription of this VM is not "
        f"eligible.",
    )


def _refuse_reimage(ctx: Context) -> None:
    raise conflict(
        "OperationNotAllowed",
        "The Reimage and OSUpgrade Virtual Machine actions require that the virtual machine has Automatic OS Upgrades "
        "enabled.",
    )


# -- attachDetachDataDisks --------------------------------------------------------------------------------------------


def _prepare_disks(ctx: Context) -> None:
    """The same as a PATCH of the list of data disks, said by what comes and what goes."""
    before = ctx.before
    assert before is not None
    body = ctx.body if isinstance(ctx.body, dict) else {}
    coming, going = body.get("dataDisksToAttach") or [], body.get("dataDisksToDetach") or []
    if not coming and not going:
        raise invalid_parameter("dataDisksToAttach", "No disks to attach or to detach are given.")
    vm = before.copy()
    profile = vm.properties.setdefault("storageProfile", {})
    disks = list(profile.get("dataDisks") or ())
    for entry in going:
        wanted = _disk_id(entry, "dataDisksToDetach")
        if not any(_held(d) == wanted for d in disks):
            raise invalid_parameter(
                "dataDisksToDetach.diskId", f"The disk '{entry['diskId']}' is not attached to VM '{ctx.id.name}'."
            )
        disks = [d for d in disks if _held(d) != wanted]
    taken = {int(d["lun"]) for d in disks}
    for entry in coming:
        _disk_id(entry, "dataDisksToAttach")
        lun = entry.get("lun")
        if lun is None:
            lun = next(n for n in range(65) if n not in taken)
        taken.add(int(lun))
        words = {k: clone(v) for k, v in entry.items() if k not in ("diskId", "lun", "diskEncryptionSet")}
        managed = {"id": absolute_id(str(entry["diskId"]))}
        disks.append({**words, "lun": lun, "createOption": "Attach", "managedDisk": managed})
    profile["dataDisks"] = disks
    ctx.draft = vm
    updating.prepare(ctx)


def _disk_id(entry: Any, word: str) -> str:
    if not isinstance(entry, dict) or not isinstance(entry.get("diskId"), str):
        raise invalid_parameter(f"{word}.diskId", f"Required parameter '{word}.diskId' is missing (null).")
    return absolute_id(entry["diskId"]).lower()


def _held(disk: dict[str, Any]) -> str:
    return str((disk.get("managedDisk") or {}).get("id", "")).lower()


def _profile(ctx: Context) -> Any:
    return view(ctx, ctx.resource)["properties"]["storageProfile"]


ACTIONS = {
    "assessPatches": long_action(30, prepare=_refuse_off, result=_assessed),
    "installPatches": long_action(120, prepare=_prepare_install, result=_installed),
    "performMaintenance": long_action(60, prepare=_refuse_maintenance),
    "reimage": long_action(60, prepare=_refuse_reimage),
    "attachDetachDataDisks": long_action(3.7, prepare=_prepare_disks, run=updating.run, result=_profile),
}

"""What is done to the machine that is taken over: marked, drained, stopped, and, where Azure leaves no other way, its
object deleted while all its parts stay."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from holdfast.clouds.azure.succession import (
    blobs_by_lun,
    detach_parts,
    parts_of,
    recreated,
    restore_options,
    with_pools,
    without_pools,
)
from holdfast.clouds.azure.succession.names import resource_group_of
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Power, PowerLevel
from holdfast.core.errors import HoldfastError, Retry
from holdfast.core.ids import OperationId
from holdfast.core.tags import OUR_TAGS
from holdfast.engine import NotYet
from holdfast.imports.actions import originals
from holdfast.imports.extensions import extension_again
from holdfast.imports.plan import ImportPlan
from holdfast.imports.steps.case import Case, StepCall, cloud_of, is_made_here, part_of, plan_of_case, tagged, warn
from holdfast.machines import ledger
from holdfast.machines.claims import claim_recreatable
from holdfast.machines.ledger import Part

__all__ = [
    "detach_original",
    "dissolve_original",
    "drained",
    "leave_pools",
    "level_before",
    "mark_originals",
    "may_be_deleted_late",
    "original_now",
    "put_back_object",
    "recreate_original",
    "rejoin_pools",
    "require_original_off",
    "require_same_disks",
    "restore_delete_options",
    "restore_power",
    "stop_original",
    "take_in_converted_disks",
    "unmark_originals",
]  # fmt: skip


class OriginalChanged(HoldfastError):
    """The machine under the original's name is not the one that was described."""

    code, retry = "import.original_changed", Retry.AFTER_CHANGE
    text = "{ref} is not the machine that was planned for: {problem}."
    remedy = "Nothing more was done to it. Look at it, then plan again."


class OriginalStarted(HoldfastError):
    """Somebody started the original while its successor was being made."""

    code, retry = "import.original_started", Retry.AFTER_CHANGE
    text = "{ref} was started by somebody during the import; it must not run beside its copy."
    remedy = "The import was given up and the original runs. Keep schedules off it, then import again."


class SuccessorStillThere(HoldfastError):
    """The original must not start beside its successor: both would write to the same data."""

    code, retry = "import.successor_still_there", Retry.LATER
    text = "The new machine {ref} still exists, so the original is not started yet."
    remedy = "Nothing to do: it is deleted first. If it stays, delete it by hand and retry."


def level_before(plan: ImportPlan) -> PowerLevel:
    """The power that the original had."""
    return {Power.RUNNING: PowerLevel.RUNNING, Power.STOPPED: PowerLevel.STOPPED}.get(
        plan.facts.power, PowerLevel.DEALLOCATED
    )


def mark_originals(call: StepCall, case: Case) -> None:
    """Mark the originals as part of this import"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for role, document in originals(plan.facts):
        cloud.mark(call, document.ref, call.services.owner.tags(OperationId(case.operation), role))


def unmark_originals(call: StepCall, case: Case) -> None:
    """Take our tags off the originals"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for _, document in originals(plan.facts):
        cloud.unmark(call, document.ref, OUR_TAGS)


def leave_pools(call: StepCall, case: Case) -> datetime:
    """Take the original out of its load-balancer pools"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for nic in plan.facts.nics:
        now = cloud.read(nic.ref, nic.api_version) if pools_of(nic) else None
        if now is not None and pools_of(now):
            cloud.write(call, without_pools(now))
    return call.clock.now()


def rejoin_pools(call: StepCall, case: Case) -> None:
    """Put the original back into its load-balancer pools"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for nic in plan.facts.nics:
        if not pools_of(nic):
            continue
        now = cloud.read(nic.ref, nic.api_version)
        if now is not None and set(pools_of(now)) != set(pools_of(nic)):
            cloud.write(call, with_pools(now, nic))


def drained(call: StepCall, case: Case, left_at: datetime) -> None:
    """Wait for open connections to end"""
    plan = plan_of_case(call, case)
    waited = (call.clock.now() - left_at).total_seconds()
    if waited < plan.options.draining_timeout_s:
        raise NotYet(f"draining, {plan.options.draining_timeout_s - int(waited)} s left")


def detach_original(call: StepCall, case: Case) -> None:
    """Set every part of the original to outlive its machine object"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    now = _as_planned(cloud.read(plan.machine), plan)
    _require_its_parts(now, plan)
    if patch := detach_parts(now):
        cloud.patch(call, plan.machine, patch)


def restore_delete_options(call: StepCall, case: Case) -> None:
    """Give every part of the original its delete option back"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    _require_no_successor(call, case, plan)
    now = original_now(call, case, plan)
    if now is None:
        warn(call, case, f"{plan.machine} is not the machine that was imported any more; nothing was done to it.")
    elif may_be_deleted_late(call, case):
        warn(call, case, "The parts of the original get their delete options back in ten minutes: until then a lost "
                         "request could still delete its object, and must not take them along.")  # fmt: skip
    elif patch := restore_options(plan.facts.machine, now):
        cloud.patch(call, plan.machine, patch)


def stop_original(call: StepCall, case: Case) -> None:
    """Stop the original"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    _require_its_parts(_as_planned(cloud.read(plan.machine), plan), plan)
    if plan.facts.power is Power.RUNNING:
        cloud.power(call, plan.machine, PowerLevel.DEALLOCATED)


def restore_power(call: StepCall, case: Case) -> None:
    """Give the original its former power state"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    _require_no_successor(call, case, plan)
    if original_now(call, case, plan) is None:
        warn(call, case, f"{plan.machine} is not the machine that was imported any more; nothing was done to it.")
        return
    cloud.power(call, plan.machine, level_before(plan))


def require_same_disks(call: StepCall, case: Case, plan: ImportPlan) -> None:
    """The machine that was described, with disks at the same luns, blobs or not. Raises OriginalChanged."""
    now = _as_planned(cloud_of(call, case).read(plan.machine), plan)
    planned, found = {disk.lun for disk in plan.facts.disks}, set(blobs_by_lun(now))
    if planned != found:
        luns = ", ".join(sorted(f"lun {lun}" for lun in planned ^ found))
        raise OriginalChanged(ref=plan.machine, problem=f"its disks changed since the plan ({luns})")


def take_in_converted_disks(call: StepCall, case: Case) -> None:
    """Mark the disks that Azure made of the original's blobs, and set them to outlive its machine object"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    for role, document in originals(plan.facts):
        if part_of(role) is Part.DISK:
            cloud.mark(call, document.ref, call.services.owner.tags(OperationId(case.operation), role))
    now = _as_planned(cloud.read(plan.machine), plan)
    _require_its_parts(now, plan)
    if plan.options.object_goes and (patch := detach_parts(now)):
        cloud.patch(call, plan.machine, patch)


def require_original_off(call: StepCall, case: Case, plan: ImportPlan) -> None:
    """Somebody may have started it meanwhile; it must not run beside its successor. Raises OriginalStarted."""
    now = original_now(call, case, plan)
    if now is not None and cloud_of(call, case).power_of(plan.machine)[0] is Power.RUNNING:
        raise OriginalStarted(ref=plan.machine)


def dissolve_original(call: StepCall, case: Case) -> None:
    """Delete the original's machine object and keep all its parts"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    with call.read() as session:
        entry = ledger.entry(session, case.operation, "original/machine")
    now = cloud.read(plan.machine)
    if now is None:
        return  # an earlier try of this step deleted it
    if now.identity != entry.identity:
        raise OriginalChanged(ref=plan.machine, problem="another machine has its name now")
    _require_its_parts(now, plan)
    options = parts_of(now)
    kept = tuple(ref for ref, option in options.items() if option == "Detach")
    cloud.delete(call, claim_recreatable(entry, kept=kept, parts=tuple(options)))


def recreate_original(call: StepCall, case: Case) -> None:
    """Create the original's machine object again from its own parts"""
    plan = plan_of_case(call, case)
    put_back_object(call, case, recreated(plan.facts.machine), plan)


def put_back_object(call: StepCall, case: Case, document: Document, plan: ImportPlan) -> None:
    """The original's object as `document` composes it, unless it was never deleted. Its extensions follow it."""
    cloud = cloud_of(call, case)
    _require_no_successor(call, case, plan)
    with call.read() as session:
        entry = ledger.entry(session, case.operation, "original/machine")
    now = cloud.read(plan.machine)
    if now is not None and now.identity == entry.identity:
        return
    if now is not None and not is_made_here(now, case.operation, "original/machine"):
        warn(call, case, f"{plan.machine} is not the machine that was imported any more; nothing was done to it.")
        return
    made = cloud.ensure(call, tagged(call, case.operation, "original/machine", document))
    for extension in plan.facts.extensions:
        _put_back_extension(call, case, extension, plan)
    call.write(partial(ledger.seen, operation=case.operation, role="original/machine", identity=made.identity))


def _put_back_extension(call: StepCall, case: Case, extension: Document, plan: ImportPlan) -> None:
    """What it installed lives on in the disk; one that Azure will not take again must not hold up the way back."""
    cloud = cloud_of(call, case)
    again = extension_again(extension, plan.facts, resource_group_of(plan.machine), plan.vm_name)
    try:
        made = cloud.ensure(call, tagged(call, case.operation, f"original/extension/{extension.name}", again))
        cloud.unmark(call, made.ref, OUR_TAGS)
    except HoldfastError as error:
        if error.retry in (Retry.NOW, Retry.LATER):
            raise
        warn(call, case, f"The extension {extension.name} could not be created again: {error.message}")


def original_now(call: StepCall, case: Case, plan: ImportPlan) -> Document | None:
    """The original as it is; None when it is gone, or its name is another machine's by now."""
    now = cloud_of(call, case).read(plan.machine)
    if now is None or is_made_here(now, case.operation, "machine"):
        return None
    with call.read() as session:
        entry = ledger.entry(session, case.operation, "original/machine")
    known = now.identity == entry.identity or is_made_here(now, case.operation, "original/machine")
    return now if known else None


def may_be_deleted_late(call: StepCall, case: Case) -> bool:
    """Whether a DELETE of the original's object was begun and never answered: it may still land, and has no fence."""
    step = next(
        (step for step in call.engine.steps(OperationId(case.operation)) if step.key == "dissolve_original"), None
    )
    if step is None or step.state == "done":
        return False
    return step.error is None or step.error.retry in (Retry.NOW, Retry.LATER)


def _require_no_successor(call: StepCall, case: Case, plan: ImportPlan) -> None:
    ref = plan.succession.machine.ref
    if is_made_here(cloud_of(call, case).read(ref), case.operation, "machine"):
        raise SuccessorStillThere(ref=ref)


def _require_its_parts(now: Document, plan: ImportPlan) -> None:
    """A disk that was attached since the plan would be left behind without a word."""
    planned, found = set(parts_of(plan.facts.machine)), set(parts_of(now))
    if planned != found:
        names = ", ".join(sorted(ref.rsplit("/", 1)[-1] for ref in planned ^ found))
        raise OriginalChanged(ref=plan.machine, problem=f"its disks or cards changed since the plan ({names})")


def _as_planned(now: Document | None, plan: ImportPlan) -> Document:
    """The machine that was described, or an error: its name alone proves nothing."""
    if now is None:
        raise OriginalChanged(ref=plan.machine, problem="it is gone")
    if now.identity != plan.facts.machine.identity:
        raise OriginalChanged(ref=plan.machine, problem="another machine has its name now")
    return now

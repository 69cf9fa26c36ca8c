"""What is done to the machine that is taken over: marked, drained, stopped, and, where Azure leaves no other way, its
object deleted while all its parts stay."""

from __future__ import annotations

from datetime import datetime
from functools import partial

from holdfast.clouds.azure.succession import (
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
from holdfast.imports.steps.case import Case, StepCall, cloud_of, is_made_here, plan_of_case, tagged
from holdfast.machines import ledger
from holdfast.machines.claims import claim_recreatable

__all__ = ["detach_original", "dissolve_original", "drained", "leave_pools", "level_before", "mark_originals",
           "recreate_original", "rejoin_pools", "restore_delete_options", "restore_power", "stop_original",
           "unmark_originals"]  # fmt: skip


class OriginalChanged(HoldfastError):
    """The machine under the original's name is not the one that was described."""

    code, retry = "import.original_changed", Retry.AFTER_CHANGE
    text = "{ref} is not the machine that was planned for: {problem}."
    remedy = "Nothing more was done to it. Look at it, then plan again."


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
    if patch := detach_parts(now):
        cloud.patch(call, plan.machine, patch)


def restore_delete_options(call: StepCall, case: Case) -> None:
    """Give every part of the original its delete option back"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    now = cloud.read(plan.machine)
    if now is None or is_made_here(now, case.operation, "machine"):
        raise SuccessorStillThere(ref=plan.machine)
    patch = restore_options(plan.facts.machine)
    if patch and parts_of(now) != parts_of(plan.facts.machine):
        cloud.patch(call, plan.machine, patch)


def stop_original(call: StepCall, case: Case) -> None:
    """Stop the original"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    if plan.facts.power is Power.RUNNING:
        _as_planned(cloud.read(plan.machine), plan)
        cloud.power(call, plan.machine, PowerLevel.DEALLOCATED)


def restore_power(call: StepCall, case: Case) -> None:
    """Give the original its former power state"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    if is_made_here(cloud.read(plan.succession.machine.ref), case.operation, "machine"):
        raise SuccessorStillThere(ref=plan.succession.machine.ref)
    cloud.power(call, plan.machine, level_before(plan))


def dissolve_original(call: StepCall, case: Case) -> None:
    """Delete the original's machine object and keep all its parts"""
    cloud, plan = cloud_of(call, case), plan_of_case(call, case)
    with call.read() as session:
        entry = ledger.entry(session, case.operation, "original/machine")
    now = cloud.read(plan.machine)
    if now is None or now.identity != entry.identity:
        return  # an earlier try of this step deleted it
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
    with call.read() as session:
        entry = ledger.entry(session, case.operation, "original/machine")
    now = cloud.read(plan.machine)
    if now is not None and now.identity == entry.identity and not is_made_here(now, case.operation, "machine"):
        return
    if is_made_here(now, case.operation, "machine"):
        raise SuccessorStillThere(ref=plan.machine)
    made = cloud.ensure(call, tagged(call, case.operation, "original/machine", document))
    group = resource_group_of(plan.machine)
    for extension in plan.facts.extensions:
        again = extension_again(extension, plan.facts, group, plan.vm_name)
        cloud.ensure(call, tagged(call, case.operation, f"original/extension/{extension.name}", again))
    call.write(partial(ledger.seen, operation=case.operation, role="original/machine", identity=made.identity))


def _as_planned(now: Document | None, plan: ImportPlan) -> Document:
    """The machine that was described, or an error: its name alone proves nothing."""
    if now is None:
        raise OriginalChanged(ref=plan.machine, problem="it is gone")
    if now.identity != plan.facts.machine.identity:
        raise OriginalChanged(ref=plan.machine, problem="another machine has its name now")
    return now

"""Undo: give an imported machine back as it was, during the retention.

The node's machine is stopped, its disks get snapshots that are kept, and only what the import created is deleted, and
only after the original was proven. Until that proof the node can be started again: where Azure cannot allocate the
original, the undo stays stuck, to be retried, or cancelled, which starts the node.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from holdfast.clouds.azure.succession import recreated
from holdfast.clouds.azure.succession.composing import role_of_disk
from holdfast.clouds.azure.succession.disks import disk_from_snapshot, snapshot_of
from holdfast.clouds.azure.succession.names import all_fitted, resource_group_of
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Agent, Cloud, Power, PowerLevel
from holdfast.core.errors import HoldfastError, Retry
from holdfast.core.tags import OPERATION, OUR_TAGS
from holdfast.engine import NotYet, Operation, Role, operation
from holdfast.engine.timers import Timers
from holdfast.imports.actions import originals
from holdfast.imports.following import follow_undo
from holdfast.imports.options import DiskSource
from holdfast.imports.plan import ImportPlan
from holdfast.imports.records import ImportRow, plan_of, the_import
from holdfast.imports.retention import KEEP_STATE_FOR, DiscardSpec, arm_discard
from holdfast.imports.steps.case import (
    Case,
    StepCall,
    cloud_of,
    delete_alone,
    ensure_made,
    is_made_here,
    part_of,
    plan_of_case,
    remove_made,
)
from holdfast.imports.steps.machine import join_pools, leave_pools_again, require_proof
from holdfast.imports.steps.originals import leave_pools, level_before, put_back_object, rejoin_pools
from holdfast.machines import ledger
from holdfast.machines.claims import claim_after_return, claim_own_work
from holdfast.machines.ledger import Fate, Origin, Part
from holdfast.nodes.records import NodeRow, happened
from holdfast.nodes.states import NodeEvent

__all__ = ["UndoSpec", "discard_kept", "undo_import"]

_ORDER = (Part.MACHINE, Part.NIC, Part.PUBLIC_IP, Part.DISK, Part.SNAPSHOT)


@dataclass(frozen=True)
class UndoSpec:
    """to_import_point: disks as they were at the import, made new from the snapshots, instead of as they are now."""

    import_id: str
    cloud: str
    to_import_point: bool = False


@dataclass(frozen=True)
class UndoCase:
    """The import's case, and what its node's machine is now. `undo` is the operation that keeps the node's state.

    disks: those that the node has now, by role. to_import_point: only where the node runs on the original's own disks;
    elsewhere they are at the import point anyway. boots: whether the original runs during the undo, to be proven.
    """

    case: Case
    undo: str
    machine: Document | None
    disks: dict[str, Document]
    power: Power
    to_import_point: bool
    prove_timeout_s: int
    boots: bool
    stops_again: bool
    object_goes: bool
    is_in_pools: bool


class OriginalNotAllocated(HoldfastError):
    """Azure has no hardware for the original now. Nothing was lost: node and original are both stopped."""

    code, retry = "import.original_not_allocated", Retry.AFTER_CHANGE
    holds = True  # the engine stops here, stuck, instead of unwinding
    text = "Azure cannot allocate the original now: {problem}"
    remedy = "'holdfast import retry' tries again; 'holdfast import cancel' starts the node again instead."


class UndoNotPossible(HoldfastError):
    """What the undo needs is not there any more."""

    code, retry, exit_code, http_status = "import.undo_not_possible", Retry.AFTER_CHANGE, 4, 409
    text = "The import cannot be undone: {problem}."
    remedy = "The node goes on as it is; nothing was changed."


@operation("undo-import", version=1, spec=UndoSpec, role=Role.OPERATOR, on_state=follow_undo)
def undo_import(op: Operation, spec: UndoSpec) -> None:
    """Give the imported machine back"""
    undo = op.do(look_at_both, spec)

    if undo.is_in_pools:
        op.do(node_leaves_pools, undo, undo=node_joins_pools)
    op.do(stop_node, undo, undo=start_node)
    op.do(keep_node_state, undo, undo=discard_node_state)
    if undo.to_import_point:
        op.do(make_point_disks, undo, undo=delete_point_disks)
    if undo.object_goes:
        op.do(dissolve_node, undo, undo=relaunch_node)
    op.do(bring_back_original, undo, undo=put_original_away)
    if undo.boots:
        since = op.wait(original_runs, undo, every_s=1, timeout_s=undo.prove_timeout_s)
        op.wait(prove_original, undo, since, every_s=1, timeout_s=undo.prove_timeout_s)
    if undo.stops_again:
        op.do(match_original_power, undo)
    if undo.is_in_pools:
        op.do(original_joins_pools, undo, undo=original_leaves_pools)

    op.pivot(give_back, undo)  # one transaction: the node is no more, its state is kept for a while
    op.do(delete_successor, undo)
    op.do(unmark_after_undo, undo)


@operation("discard-kept", version=1, spec=DiscardSpec, role=Role.OPERATOR)
def discard_kept(op: Operation, spec: DiscardSpec) -> None:
    """Delete what an undo or a failed import kept for a while"""
    op.pivot(begin_to_discard, spec)  # so that what fails is tried again, and shows as stuck in the end
    op.do(discard_kept_state, spec)


def look_at_both(call: StepCall, spec: UndoSpec) -> UndoCase:
    """Look at the node and at what is retained"""
    cloud = call.services.open_cloud(spec.cloud)
    with call.read() as session:
        row = the_import(session, spec.import_id)
        plan, successor = plan_of(row), row.successor
        rows = ledger.entries(session, operation=row.operation)
    case = Case(import_id=spec.import_id, cloud=spec.cloud, operation=row.operation)
    to_import_point = spec.to_import_point and plan.options.disks is DiskSource.REATTACH
    for entry in rows:
        if entry.origin is Origin.ORIGINAL and entry.fate in (Fate.RETAINED, Fate.IN_USE):
            now = cloud.read(entry.ref)
            if now is None or now.identity != entry.identity:
                raise UndoNotPossible(problem=f"{entry.ref} is gone")
        if to_import_point and entry.role.startswith("final/") and cloud.read(entry.ref) is None:
            raise UndoNotPossible(problem=f"the snapshot {entry.ref} is gone")
    machine = cloud.read(successor["ref"])
    if machine is not None and machine.identity != successor["identity"]:
        raise UndoNotPossible(problem=f"{successor['ref']} is another machine now")
    power = cloud.power_of(successor["ref"])[0] if machine is not None else Power.DEALLOCATED
    ran_before = plan.facts.power is Power.RUNNING
    undo = UndoCase(
        case=case,
        undo=call.operation,
        machine=machine,
        disks=_disks_of(cloud, plan, machine),
        power=power,
        to_import_point=to_import_point,
        prove_timeout_s=plan.options.prove_timeout_s,
        boots=ran_before or plan.options.object_goes,  # an object that is made again boots, whatever it was before
        stops_again=not ran_before and plan.options.object_goes,
        object_goes=plan.options.object_goes and machine is not None,
        is_in_pools=any(pools_of(nic) for nic in plan.facts.nics),
    )
    call.write(partial(_announce, undo=undo, plan=plan))
    return undo


def node_leaves_pools(call: StepCall, undo: UndoCase) -> None:
    """Take the node's machine out of the load-balancer pools"""
    leave_pools_again(call, undo.case)


def node_joins_pools(call: StepCall, undo: UndoCase) -> None:
    """Put the node's machine back into the load-balancer pools"""
    join_pools(call, undo.case)


def stop_node(call: StepCall, undo: UndoCase) -> None:
    """Stop the node's machine"""
    _stop_node(call, undo)


def start_node(call: StepCall, undo: UndoCase) -> None:
    """Start the node's machine again"""
    if undo.machine is not None and undo.power is Power.RUNNING:
        _require_original_off(call, undo)
        cloud_of(call, undo.case).power(call, undo.machine.ref, PowerLevel.RUNNING)


def keep_node_state(call: StepCall, undo: UndoCase) -> None:
    """Take snapshots of the node's disks, to be kept"""
    for role, document in _node_snapshots(call, undo).items():
        ensure_made(call, undo.case, role, document, operation=undo.undo)


def discard_node_state(call: StepCall, undo: UndoCase) -> None:
    """Delete the snapshots of the node's disks"""
    for role in _node_snapshots(call, undo):
        remove_made(call, undo.case, role, operation=undo.undo)


def make_point_disks(call: StepCall, undo: UndoCase) -> None:
    """Make disks as they were at the import"""
    for role, document in _point_disks(plan_of_case(call, undo.case), undo).items():
        ensure_made(call, undo.case, role, document, operation=undo.undo)


def delete_point_disks(call: StepCall, undo: UndoCase) -> None:
    """Delete the disks that were made as they were at the import"""
    for role in _point_disks(plan_of_case(call, undo.case), undo):
        remove_made(call, undo.case, role, operation=undo.undo)


def dissolve_node(call: StepCall, undo: UndoCase) -> None:
    """Delete the node's machine object and keep its parts"""
    _delete_node_object(call, undo)


def relaunch_node(call: StepCall, undo: UndoCase) -> None:
    """Create the node's machine object again from its parts"""
    cloud = cloud_of(call, undo.case)
    if undo.machine is None:
        return
    now = cloud.read(undo.machine.ref)
    if now is None or not is_made_here(now, undo.case.operation, "machine"):
        if now is not None:
            _require_original_off(call, undo)
        now = cloud.ensure(call, recreated(undo.machine))
    call.write(partial(_node_again, undo=undo, identity=now.identity))  # also when an earlier try of this made it
    if undo.power is not Power.RUNNING:
        cloud.power(call, undo.machine.ref, PowerLevel.DEALLOCATED)


def bring_back_original(call: StepCall, undo: UndoCase) -> None:
    """Bring the original back to its former state"""
    cloud, plan = cloud_of(call, undo.case), plan_of_case(call, undo.case)
    if not undo.object_goes:
        _stop_node(call, undo)  # somebody may have started it since; both have the same data
    try:
        if plan.options.object_goes:
            put_back_object(call, undo.case, recreated(plan.facts.machine, _replaced(plan, undo)), plan)
        cloud.power(call, plan.machine, PowerLevel.RUNNING if undo.boots else level_before(plan))
    except HoldfastError as error:
        if getattr(error, "next_choice", False):
            raise OriginalNotAllocated(problem=error.message) from error
        raise


def match_original_power(call: StepCall, undo: UndoCase) -> None:
    """Stop the original again, as it was off"""
    plan = plan_of_case(call, undo.case)
    cloud_of(call, undo.case).power(call, plan.machine, level_before(plan))


def put_original_away(call: StepCall, undo: UndoCase) -> None:
    """Stop the original again"""
    cloud, plan = cloud_of(call, undo.case), plan_of_case(call, undo.case)
    now = cloud.read(plan.machine)
    if now is None or is_made_here(now, undo.case.operation, "machine"):
        return
    if not plan.options.object_goes:
        cloud.power(call, plan.machine, PowerLevel.DEALLOCATED)
    elif is_made_here(now, undo.case.operation, "original/machine"):
        with call.read() as session:
            entry = ledger.entry(session, undo.case.operation, "original/machine")
        again = ledger.Entry(**{**vars(entry), "identity": now.identity, "origin": Origin.MADE, "fate": Fate.PRESENT})
        delete_alone(call, cloud, claim_own_work(again), now)


def original_runs(call: StepCall, undo: UndoCase) -> datetime:
    """Wait until the original runs"""
    plan = plan_of_case(call, undo.case)
    power, _ = cloud_of(call, undo.case).power_of(plan.machine)
    if power is not Power.RUNNING:
        raise NotYet(f"it is {power.value}")
    return call.clock.now()


def prove_original(call: StepCall, undo: UndoCase, since: datetime) -> None:
    """Prove the original"""
    plan = plan_of_case(call, undo.case)
    agent_counts = plan.facts.agent is Agent.READY or plan.facts.power is not Power.RUNNING
    require_proof(call, undo.case, plan, plan.machine, plan.vm_name, since, agent_counts=agent_counts)


def original_joins_pools(call: StepCall, undo: UndoCase) -> None:
    """Put the original back into its load-balancer pools"""
    rejoin_pools(call, undo.case)


def original_leaves_pools(call: StepCall, undo: UndoCase) -> None:
    """Take the original out of its load-balancer pools again"""
    leave_pools(call, undo.case)


def give_back(call: StepCall, undo: UndoCase) -> None:
    """The machine is given back; from here on only what the import made is cleared away"""
    now = call.clock.now()
    plan = plan_of_case(call, undo.case)
    replaced = _replaced(plan, undo)
    call.write(partial(_give_back, timers=call.engine.timers, undo=undo, replaced=tuple(replaced), now=now))


def delete_successor(call: StepCall, undo: UndoCase) -> None:
    """Delete what the import created"""
    cloud = cloud_of(call, undo.case)
    with call.read() as session:
        rows = ledger.entries(session, operation=undo.case.operation, origin=Origin.MADE)
    for part in _ORDER:
        for entry in rows:
            if entry.part is part and entry.fate is not Fate.GONE:
                now = cloud.read(entry.ref)
                if now is not None and is_made_here(now, undo.case.operation, entry.role):
                    delete_alone(call, cloud, claim_after_return(entry, now.identity), now)
                call.write(partial(ledger.settle, operation=entry.operation, roles=[entry.role], fate=Fate.GONE))


def unmark_after_undo(call: StepCall, undo: UndoCase) -> None:
    """Take our tags off the originals"""
    cloud, plan = cloud_of(call, undo.case), plan_of_case(call, undo.case)
    replaced = _replaced(plan, undo)
    for role, document in originals(plan.facts):
        if document.ref.lower() not in replaced:  # those keep their tags: whoever takes them off keeps the disk
            cloud.unmark(call, document.ref, OUR_TAGS)
        call.progress(None, role)
    for ref in replaced.values():
        cloud.unmark(call, ref, OUR_TAGS)


def begin_to_discard(call: StepCall, spec: DiscardSpec) -> None:
    """Begin to delete what was kept"""


def discard_kept_state(call: StepCall, spec: DiscardSpec) -> None:
    """Delete what was kept"""
    cloud = call.services.open_cloud(spec.cloud)
    with call.read() as session:
        rows = ledger.entries(session, operation=spec.operation, fates=[Fate.RETAINED])
    for entry in rows:
        now = cloud.read(entry.ref)
        ours = now is not None and now.identity == entry.identity and now.tags.get(OPERATION) == entry.operation
        if now is not None and ours and now.get("managedBy") is None:
            cloud.delete(call, claim_after_return(entry, entry.identity))
        fate = Fate.GONE if now is None or ours else Fate.RETURNED  # taken into use, or its tags taken off: kept
        call.write(partial(ledger.settle, operation=entry.operation, roles=[entry.role], fate=fate))


# --- what the steps share ---------------------------------------------------------------------------------------------


def _announce(session: Session, undo: UndoCase, plan: ImportPlan) -> None:
    """Ledger rows for what this undo will make, before it makes it."""
    case = undo.case
    snapshots = _snapshots_of_node(plan, undo)
    disks = _point_disks(plan, undo) if undo.to_import_point else {}
    for role, document in {**snapshots, **disks}.items():
        ledger.planned(session, undo.undo, case.import_id, case.cloud, role, part_of(role), document)


def _node_snapshots(call: StepCall, undo: UndoCase) -> dict[str, Document]:
    return _snapshots_of_node(plan_of_case(call, undo.case), undo)


def _snapshots_of_node(plan: ImportPlan, undo: UndoCase) -> dict[str, Document]:
    """One of each disk that the node has now."""
    group, ending = resource_group_of(plan.succession.machine.ref), f"-hf-{undo.undo[-6:]}-node"
    names = all_fitted({role: disk.name for role, disk in undo.disks.items()}, ending)
    return {f"undo/{role}": snapshot_of(disk, group, names[role], {}) for role, disk in undo.disks.items()}


def _point_disks(plan: ImportPlan, undo: UndoCase) -> dict[str, Document]:
    """The original's disks as they were at the import, under new names beside the old ones."""
    made = {}
    stems = {disk.lun: disk.document.name for disk in plan.facts.disks if disk.document is not None}
    names = all_fitted(stems, f"-{undo.undo[-6:]}")
    for role, disk in zip(plan.succession.final, plan.facts.disks, strict=True):
        if disk.document is not None:
            name = names[disk.lun]
            group = resource_group_of(disk.document.ref)
            made[f"point-{role}"] = disk_from_snapshot(disk.document, plan.succession.final[role].ref, group, name, {})
    return made


def _replaced(plan: ImportPlan, undo: UndoCase) -> dict[str, str]:
    """The original's disk ids (lower case) → ids of the disks as they were at the import."""
    if not undo.to_import_point:
        return {}
    made = _point_disks(plan, undo)
    roles = zip(plan.succession.final, plan.facts.disks, strict=True)
    return {disk.document.ref.lower(): made[f"point-{role}"].ref for role, disk in roles if disk.document is not None}


def _require_original_off(call: StepCall, undo: UndoCase) -> None:
    """Never two machines with the same data."""
    plan, cloud = plan_of_case(call, undo.case), cloud_of(call, undo.case)
    now = cloud.read(plan.machine)
    if now is None or is_made_here(now, undo.case.operation, "machine"):
        return
    power, _ = cloud.power_of(plan.machine)
    if power is Power.RUNNING:
        raise OriginalStillRuns(ref=plan.machine)


class OriginalStillRuns(HoldfastError):
    """The node must not start beside its original."""

    code, retry = "import.original_still_runs", Retry.LATER
    text = "The original {ref} runs, so the node is not started yet."
    remedy = "Nothing to do: it is stopped first. If it keeps running, stop it by hand and retry."


def _delete_node_object(call: StepCall, undo: UndoCase) -> None:
    cloud = cloud_of(call, undo.case)
    with call.read() as session:
        entry = ledger.entry(session, undo.case.operation, "machine")
    now = cloud.read(entry.ref)
    if now is None or not is_made_here(now, undo.case.operation, "machine"):
        return
    released = ledger.Entry(**{**vars(entry), "identity": now.identity, "fate": Fate.PRESENT})
    delete_alone(call, cloud, claim_own_work(released), now)


def _stop_node(call: StepCall, undo: UndoCase) -> None:
    """Whatever it was when the undo began: it may have been started since."""
    cloud = cloud_of(call, undo.case)
    if undo.machine is not None and is_made_here(cloud.read(undo.machine.ref), undo.case.operation, "machine"):
        cloud.power(call, undo.machine.ref, PowerLevel.DEALLOCATED)


def _disks_of(cloud: Cloud, plan: ImportPlan, machine: Document | None) -> dict[str, Document]:
    """The disks that the node's machine has now, by role; those that the plan gave it where the machine is gone."""
    if machine is not None:
        storage = machine.get("properties.storageProfile", {})
        attached = [(None, storage["osDisk"]), *((disk["lun"], disk) for disk in storage.get("dataDisks") or [])]
        refs = {role_of_disk(lun): disk["managedDisk"]["id"] for lun, disk in attached}
    else:
        own = {role_of_disk(disk.lun): disk.document.ref for disk in plan.facts.disks if disk.document is not None}
        refs = {
            role: plan.succession.disks[role].ref if role in plan.succession.disks else ref for role, ref in own.items()
        }
    found = {role: cloud.read(ref) for role, ref in refs.items()}
    return {role: document for role, document in found.items() if document is not None}


def _node_again(session: Session, undo: UndoCase, identity: str | None) -> None:
    ledger.seen(session, undo.case.operation, "machine", identity)
    ledger.settle(session, undo.case.operation, ["machine"], Fate.IN_USE)
    row = the_import(session, undo.case.import_id)
    row.successor = {**row.successor, "identity": identity}
    node = session.get_one(NodeRow, row.node_id)
    node.machine_identity = identity


def _give_back(session: Session, timers: Timers, undo: UndoCase, replaced: tuple[str, ...], now: datetime) -> None:
    row = the_import(session, undo.case.import_id)
    node = session.get_one(NodeRow, row.node_id)
    happened(node, NodeEvent.GIVEN_BACK, now)
    until = now + KEEP_STATE_FOR
    row.retained_until = until
    originals_now = ledger.entries(session, operation=undo.case.operation, origin=Origin.ORIGINAL)
    for entry in originals_now:
        fate = Fate.RETURNED if entry.ref.lower() not in replaced else Fate.RETAINED
        ledger.settle(session, undo.case.operation, [entry.role], fate, until if fate is Fate.RETAINED else None)
    kept = ledger.entries(session, operation=undo.undo)
    for entry in kept:
        fate = Fate.RETAINED if entry.part is Part.SNAPSHOT else Fate.RETURNED
        ledger.settle(session, undo.undo, [entry.role], fate, until if fate is Fate.RETAINED else None)
    _arm_discards(session, timers, row, undo, until)


def _arm_discards(session: Session, timers: Timers, row: ImportRow, undo: UndoCase, until: datetime) -> None:
    for operation_id in (undo.undo, undo.case.operation):
        arm_discard(timers, session, row, operation_id, until)

"""Import: take a running machine over as a stateful node.

Until the pivot, failure, cancel or crash gives the original back as it was described. After it the import only goes
forward: the originals stay, recorded and tagged, until `undoing` or `finishing` ends their retention.

    network   disks      what happens to the original
    new       snapshot   stopped, keeps its name; a copy becomes the node's machine, with new addresses
    keep      snapshot   its object is deleted; the node's machine takes name, cards and addresses, on copied disks
    new       reattach   its object is deleted; the node's machine takes its disks, with new addresses
    keep      reattach   its object is deleted; the node's machine takes everything
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from sqlalchemy.orm import Session

from holdfast.clouds.azure.succession import blobs_by_lun, blobs_of, converted
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.clouds.protocols import Power
from holdfast.core.errors import InvalidInput
from holdfast.core.ids import NodeId
from holdfast.engine import Operation, Role, operation
from holdfast.engine.timers import Timers
from holdfast.imports.actions import originals
from holdfast.imports.following import follow_import
from holdfast.imports.gathering import gather
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource
from holdfast.imports.plan import ImportPlan, LaunchMarket, PlanStale, differences, recorded
from holdfast.imports.planning import plan_import
from holdfast.imports.records import ImportRow, Launched, plan_of, the_import
from holdfast.imports.retention import arm_retention
from holdfast.imports.steps.case import Case, StepCall, cloud_of, part_of, plan_of_case, warn
from holdfast.imports.steps.machine import (
    Proof,
    dissolve_machine,
    join_pools,
    launch_machine,
    leave_pools_again,
    machine_runs,
    prove_machine,
    recreate_extensions,
)
from holdfast.imports.steps.originals import (
    detach_original,
    dissolve_original,
    drained,
    leave_pools,
    level_before,
    mark_originals,
    original_now,
    recreate_original,
    rejoin_pools,
    require_same_disks,
    restore_delete_options,
    restore_power,
    stop_original,
    take_in_converted_disks,
    unmark_originals,
)
from holdfast.imports.steps.parts import (
    delete_disks,
    delete_network,
    discard_early_snapshots,
    discard_final_snapshots,
    make_disks,
    make_network,
    take_early_snapshots,
    take_final_snapshots,
)
from holdfast.machines import ledger
from holdfast.machines.ledger import Fate
from holdfast.nodes.records import NodeRow, happened
from holdfast.nodes.states import NodeEvent

__all__ = ["ImportSpec", "Planned", "import_machine"]


@dataclass(frozen=True)
class ImportSpec:
    """What was asked for. approved_digest: of the plan that was agreed to."""

    import_id: str
    cloud: str
    machine: str
    options: ImportOptions
    node: dict[str, Any]
    seed: str
    approved_digest: str


@dataclass(frozen=True)
class Planned:
    """What the story itself needs of the plan."""

    case: Case
    markets: tuple[LaunchMarket, ...]
    draining_timeout_s: int
    prove_timeout_s: int
    came_off: bool
    object_goes: bool
    converts_disks: bool
    makes_network: bool
    makes_disks: bool
    takes_early_snapshots: bool
    is_in_pools: bool
    recreates_extensions: bool


@operation("import", version=1, spec=ImportSpec, role=Role.OPERATOR, on_state=follow_import)
def import_machine(op: Operation, spec: ImportSpec) -> NodeId:
    """Take a machine over as a stateful node"""
    plan = op.do(describe_and_plan, spec)  # every refusal is raised here; nothing has been written to the cloud
    case = plan.case

    op.do(mark_originals, case, undo=unmark_originals)
    if plan.object_goes:
        op.do(detach_original, case, undo=restore_delete_options)
    if plan.makes_network:
        op.do(make_network, case, undo=delete_network)
    if plan.takes_early_snapshots:
        op.do(take_early_snapshots, case, undo=discard_early_snapshots)
    if plan.is_in_pools:
        left_at = op.do(leave_pools, case, undo=rejoin_pools)
        op.wait(drained, case, left_at, every_s=5, timeout_s=plan.draining_timeout_s + 60)
    op.do(stop_original, case, undo=restore_power)
    if plan.converts_disks:
        plan = op.do(convert_and_plan_again, case, spec, undo=say_that_disks_stay_managed)
        op.do(take_in_converted_disks, case)
    op.do(take_final_snapshots, case, undo=discard_final_snapshots)
    if plan.makes_disks:
        op.do(make_disks, case, undo=delete_disks)
    if plan.object_goes:
        op.do(dissolve_original, case, undo=recreate_original)
    launched = op.first_of(plan.markets, launch_machine, case, undo=dissolve_machine)
    since = op.wait(machine_runs, case, launched, every_s=1, timeout_s=plan.prove_timeout_s)
    proof = op.wait(prove_machine, case, launched, since, every_s=1, timeout_s=plan.prove_timeout_s)
    if plan.is_in_pools:
        op.do(join_pools, case, undo=leave_pools_again)
    if plan.recreates_extensions:
        op.do(recreate_extensions, case)

    node = op.pivot(hand_over, case, launched, proof)  # one transaction: node, retained originals, timer, this step
    if plan.came_off:
        op.do(match_power, case, launched)  # a machine that came off has run once, to be proven; it stops again
    return node


def describe_and_plan(call: StepCall, spec: ImportSpec) -> Planned:
    """Describe the machine and check that the agreed plan still fits it"""
    cloud = call.services.open_cloud(spec.cloud)
    inputs = gather(cloud, spec.machine, spec.options, call.services.owner, call.clock.now())
    plan = plan_import(inputs, spec.options, spec.node, spec.seed)
    if plan.digest != spec.approved_digest:
        with call.read() as session:
            changed = differences(plan_of(the_import(session, spec.import_id)), plan)
        raise PlanStale(summary=changed[0] if changed else "its digest differs", differences=changed)
    plan.require_startable()
    case = Case(import_id=spec.import_id, cloud=spec.cloud, operation=call.operation)
    call.write(partial(_record_plan, case=case, plan=plan))
    return _planned(case, plan)


def convert_and_plan_again(call: StepCall, case: Case, spec: ImportSpec) -> Planned:
    """Make managed disks of the original's blobs, and plan with what Azure made of them"""
    cloud, agreed = cloud_of(call, case), plan_of_case(call, case)
    require_same_disks(call, case, agreed)  # it cannot be taken back, so never of a machine that merely has the name
    cloud.convert_disks(call, agreed.machine)
    inputs = gather(cloud, spec.machine, agreed.options, call.services.owner, call.clock.now())
    inputs = replace(inputs, facts=converted(agreed.facts, inputs.facts))
    plan = plan_import(inputs, agreed.options, spec.node, spec.seed, after_conversion=True)
    plan.require_startable()
    call.write(partial(_record_plan, case=case, plan=plan))
    return _planned(case, plan)


def say_that_disks_stay_managed(call: StepCall, case: Case, spec: ImportSpec) -> None:
    """Say what cannot be taken back"""
    now = original_now(call, case, plan_of_case(call, case))
    if now is not None and not any(blobs_by_lun(now).values()):
        warn(call, case, "Azure made managed disks of the original's blobs; that cannot be taken back.")


def _planned(case: Case, plan: ImportPlan) -> Planned:
    return Planned(
        case=case,
        markets=plan.markets,
        draining_timeout_s=plan.options.draining_timeout_s,
        prove_timeout_s=plan.options.prove_timeout_s,
        came_off=plan.facts.power is not Power.RUNNING,
        object_goes=plan.options.object_goes,
        converts_disks=bool(blobs_of(plan.facts)),
        makes_network=bool(plan.succession.nics),
        makes_disks=bool(plan.succession.disks),
        takes_early_snapshots=bool(plan.succession.early),
        is_in_pools=any(pools_of(nic) for nic in plan.facts.nics),
        recreates_extensions=bool(plan.extensions),
    )


def hand_over(call: StepCall, case: Case, launched: Launched, proof: Proof) -> NodeId:
    """Hand the machine over to the node; from here on the import only goes forward"""
    plan = plan_of_case(call, case)
    now = call.clock.now()
    with call.read() as session:
        node_id = the_import(session, case.import_id, light=True).node_id
    timers = call.engine.timers
    call.write(partial(_hand_over, timers=timers, case=case, plan=plan, launched=launched, proof=proof, now=now))
    return NodeId(node_id)


def match_power(call: StepCall, case: Case, launched: Launched) -> None:
    """Stop the new machine again, as the original was off"""
    cloud_of(call, case).power(call, launched.ref, level_before(plan_of_case(call, case)))


def _record_plan(session: Session, case: Case, plan: ImportPlan) -> None:
    """The plan, and a ledger row for everything that will be touched or made: before the first write to the cloud."""
    row = the_import(session, case.import_id, light=True)
    row.plan, row.plan_digest = recorded(plan), plan.digest
    for role, document in originals(plan.facts):
        ledger.record(session, case.operation, case.import_id, case.cloud, role, part_of(role), document)
    succession = plan.succession
    made = {f"final/{role}": document for role, document in succession.final.items()}
    made |= {f"early/{role}": document for role, document in succession.early.items()}
    made |= {**succession.public_ips, **succession.nics, **succession.disks, "machine": succession.machine}
    for role, document in made.items():
        ledger.planned(session, case.operation, case.import_id, case.cloud, role, part_of(role), document)


def _hand_over(
    session: Session,
    timers: Timers,
    case: Case,
    plan: ImportPlan,
    launched: Launched,
    proof: Proof,
    now: datetime,
) -> None:
    row = the_import(session, case.import_id, light=True)
    row.imported_at = now
    row.successor = {**vars(launched), "launched_at": launched.launched_at.isoformat()}
    row.retained_until = now + plan.options.retention
    _hand_over_node(session, row, plan, launched, proof, now)
    rows = ledger.entries(session, operation=case.operation)
    fates = {entry.role: _fate_after(entry, plan) for entry in rows}
    for fate in Fate:
        roles = [role for role, given in fates.items() if given is fate]
        ledger.settle(session, case.operation, roles, fate, row.retained_until if fate is Fate.RETAINED else None)
    arm_retention(timers, session, row, row.retained_until)


def _hand_over_node(
    session: Session, row: ImportRow, plan: ImportPlan, launched: Launched, proof: Proof, now: datetime
) -> None:
    node = session.get(NodeRow, row.node_id)
    if node is None:
        raise InvalidInput(field="node", problem=f"the node {row.node_id} of the import is gone")
    node.machine, node.machine_identity, node.vm_name = launched.ref, launched.identity, launched.name
    node.size, node.zone, node.spot = launched.size, launched.zone, launched.spot
    node.private_ip, node.public_ip = proof.private_ip, proof.public_ip
    node.health = "HEALTHY"
    runs = plan.facts.power is Power.RUNNING
    happened(node, NodeEvent.HANDED_OVER if runs else NodeEvent.HANDED_OVER_OFF, now)


def _fate_after(entry: ledger.Entry, plan: ImportPlan) -> Fate:
    """What becomes of a resource at the hand-over."""
    part = entry.role.rpartition("/")[2]
    if entry.origin is ledger.Origin.MADE:
        return Fate.RETAINED if entry.part is ledger.Part.SNAPSHOT else Fate.IN_USE
    if part == "machine":
        return Fate.GONE if plan.options.object_goes else Fate.RETAINED
    if entry.part is ledger.Part.DISK:
        return Fate.IN_USE if plan.options.disks is DiskSource.REATTACH else Fate.RETAINED
    return Fate.IN_USE if plan.options.network is NetworkSource.KEEP else Fate.RETAINED

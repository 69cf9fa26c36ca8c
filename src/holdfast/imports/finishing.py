"""Finish: delete the retained originals, after the retention or when asked for.

Right before, the node is proven once more and the originals are looked at. Anything that is not as it should be stops
the clean-up with a finding and keeps everything. Only recorded identities are deleted, never what the node uses.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from holdfast.clouds.azure.succession import parts_of
from holdfast.clouds.azure.succession.network import public_ip_refs
from holdfast.clouds.documents import Document, same_ref
from holdfast.clouds.protocols import Agent, Cloud, Power, Probe
from holdfast.core.errors import HoldfastError, Retry
from holdfast.engine import Operation, Role, operation
from holdfast.imports.following import follow_finish
from holdfast.imports.records import recorded_plan, the_import
from holdfast.imports.retention import FinishSpec
from holdfast.imports.steps.case import Case, StepCall, cloud_of, delete_alone
from holdfast.machines import ledger
from holdfast.machines.claims import claim_after_proof
from holdfast.machines.ledger import Entry, Fate, Part
from holdfast.nodes.records import the_node
from holdfast.nodes.states import NodeState

__all__ = ["CleanUpSuspended", "finish_import"]

MOST_CLOCK_OFFSET = timedelta(minutes=5)


class CleanUpSuspended(HoldfastError):
    """Something is not as it should be: everything is kept. `reason` is a stable code of its own."""

    code, retry, exit_code, http_status = "import.clean_up_suspended", Retry.AFTER_CHANGE, 4, 409
    text = "{reason}: {problem}. The originals are kept."
    remedy = "Mend it, or undo the import; the clean-up is tried again every hour, or at once with 'import finish'."


@dataclass(frozen=True)
class Cleaning:
    """What is claimed: roles of the import's ledger, in the order of their deletion."""

    case: Case
    machines: tuple[str, ...]
    cards: tuple[str, ...]
    disks: tuple[str, ...]
    snapshots: tuple[str, ...]


@operation("finish-import", version=1, spec=FinishSpec, role=Role.OPERATOR, on_state=follow_finish)
def finish_import(op: Operation, spec: FinishSpec) -> None:
    """Delete the retained originals"""
    cleaning = op.do(prove_node_again, spec)
    op.pivot(begin_to_delete, cleaning)  # from here on the originals cannot be brought back
    op.do(delete_original_machine, cleaning)
    op.do(delete_original_network, cleaning)
    op.do(delete_original_disks, cleaning)
    op.do(delete_import_snapshots, cleaning)


def prove_node_again(call: StepCall, spec: FinishSpec) -> Cleaning:
    """Prove the node once more and look at the originals"""
    with call.read() as session:
        row = the_import(session, spec.import_id, light=True)
        rows = ledger.entries(session, operation=row.operation, fates=[Fate.RETAINED])
    case = Case(import_id=spec.import_id, cloud=spec.cloud, operation=row.operation)
    _require_safe(call, case, rows)
    _require_unlocked(cloud_of(call, case), rows)
    roles = {part: tuple(entry.role for entry in rows if entry.part is part) for part in Part}
    return Cleaning(
        case=case,
        machines=roles[Part.MACHINE],
        cards=(*roles[Part.NIC], *roles[Part.PUBLIC_IP]),
        disks=roles[Part.DISK],
        snapshots=roles[Part.SNAPSHOT],
    )


def begin_to_delete(call: StepCall, cleaning: Cleaning) -> None:
    """Begin to delete; from here on the originals cannot be brought back"""


def delete_original_machine(call: StepCall, cleaning: Cleaning) -> None:
    """Delete the original's machine object"""
    _delete(call, cleaning.case, cleaning.machines)


def delete_original_network(call: StepCall, cleaning: Cleaning) -> None:
    """Delete the original's network cards and addresses"""
    _delete(call, cleaning.case, cleaning.cards)


def delete_original_disks(call: StepCall, cleaning: Cleaning) -> None:
    """Delete the original's disks"""
    _delete(call, cleaning.case, cleaning.disks)


def delete_import_snapshots(call: StepCall, cleaning: Cleaning) -> None:
    """Delete the import's snapshots"""
    _delete(call, cleaning.case, cleaning.snapshots)


def _delete(call: StepCall, case: Case, roles: tuple[str, ...]) -> None:
    """Each after one more look: a node that failed meanwhile keeps what is left."""
    cloud = cloud_of(call, case)
    for role in roles:
        with call.read() as session:
            entry = ledger.entry(session, case.operation, role)
            left = ledger.entries(session, operation=case.operation, fates=[Fate.RETAINED])
        if entry.fate is not Fate.RETAINED:
            continue
        used = _require_safe(call, case, left)
        now = cloud.read(entry.ref)
        claim = claim_after_proof(entry, used)
        if now is not None and now.identity == entry.identity:
            delete_alone(call, cloud, claim, now)  # a disk that somebody attached to it since must not go with it
        call.write(partial(ledger.settle, operation=case.operation, roles=[role], fate=Fate.GONE))


def _require_safe(call: StepCall, case: Case, retained: tuple[Entry, ...]) -> frozenset[str]:
    """Lower-case ids of all that the node uses. Raises CleanUpSuspended."""
    cloud = cloud_of(call, case)
    machine = _require_healthy_node(call, case, cloud)
    if call.services.checks_clock:
        _require_right_clock(cloud)  # after a fresh answer of the cloud
    used = set(parts_of(machine)) | {machine.ref.lower()}
    for ref in list(used):
        if "/networkinterfaces/" in ref and (card := cloud.read(ref)) is not None:
            used |= {address.lower() for address in public_ip_refs(card)}
    for entry in retained:
        _require_untouched(cloud, entry, retained, used)
    return frozenset(used)


def _require_unlocked(cloud: Cloud, retained: tuple[Entry, ...]) -> None:
    """Before the first is deleted: a lock on one of them would leave an original that is neither whole nor gone."""
    for lock in cloud.locks_on([entry.ref for entry in retained]):
        about = lock.ref.rpartition("/providers/Microsoft.Authorization/")[0]
        raise CleanUpSuspended(reason="LOCKED", problem=f"the lock {lock.name} on {about} forbids to delete")


def _require_right_clock(cloud: Cloud) -> None:
    """A retention that ended by a wrong clock has not ended (architecture 8)."""
    offset = getattr(cloud, "clock_offset", None)
    if offset is not None and abs(offset) > MOST_CLOCK_OFFSET:
        problem = f"our clock is {int(abs(offset).total_seconds())} s off the cloud's"
        raise CleanUpSuspended(reason="CLOCK_OFFSET", problem=problem)


def _require_healthy_node(call: StepCall, case: Case, cloud: Cloud) -> Document:
    with call.read() as session:
        row = the_import(session, case.import_id, light=True)
        node, plan = the_node(session, row.node_id), recorded_plan(session, case.import_id)
    machine = cloud.read(str(node.machine))
    if machine is None or machine.identity != node.machine_identity:
        raise CleanUpSuspended(reason="NODE_MACHINE_GONE", problem=f"the node's machine {node.machine} is gone")
    power, agent = cloud.power_of(machine.ref)
    if node.state == NodeState.STOPPED.value and plan.facts.power is not Power.RUNNING:
        return machine  # it came off, was proven once, and is off again as it was
    if node.state == NodeState.ERROR.value or power is not Power.RUNNING:
        why = node.reason or f"its machine is {power.value}"
        raise CleanUpSuspended(reason="NODE_NOT_HEALTHY", problem=f"the node {node.id} is not healthy ({why})")
    if plan.facts.agent is Agent.READY and agent is not Agent.READY:
        raise CleanUpSuspended(reason="NODE_NOT_HEALTHY", problem=f"the guest agent of {node.id} is {agent.value}")
    for url in plan.options.probes:
        answer = cloud.probe(machine.ref, Probe(url))
        if not answer.passed:
            raise CleanUpSuspended(reason="NODE_NOT_HEALTHY", problem=f"{url} of {node.id}: {answer.detail}")
    return machine


def _require_untouched(cloud: Cloud, entry: Entry, retained: tuple[Entry, ...], used: set[str]) -> None:
    """The original does not run again, and nobody else uses what is retained of it."""
    now = cloud.read(entry.ref)
    if now is None or now.identity != entry.identity:
        return
    if entry.part is not Part.MACHINE and entry.ref.lower() in used:
        raise CleanUpSuspended(reason="RETAINED_PART_IN_USE", problem=f"the node uses {entry.ref} now")
    if entry.part is Part.MACHINE:
        power, _ = cloud.power_of(entry.ref)
        if power is Power.RUNNING:
            raise CleanUpSuspended(reason="ORIGINAL_RUNS", problem=f"the original {entry.ref} runs again")
    owner = now.get("managedBy") or now.get("properties.virtualMachine.id") or _card_of(now)
    if owner and not _is_retained(cloud, owner, retained):
        raise CleanUpSuspended(reason="RETAINED_PART_IN_USE", problem=f"{entry.ref} is attached to {owner}")


def _card_of(address: Document) -> str | None:
    """The card that a public address is on: the part of its configuration's id before `/ipConfigurations/`."""
    configuration = address.get("properties.ipConfiguration.id")
    return None if configuration is None else str(configuration).rsplit("/ipConfigurations/", 1)[0]


def _is_retained(cloud: Cloud, owner: str, retained: tuple[Entry, ...]) -> bool:
    """By id and identity: a machine that somebody made under the original's name is not the original."""
    entry = next((one for one in retained if same_ref(one.ref, owner)), None)
    if entry is None:
        return False
    now = cloud.read(owner)
    return now is None or now.identity == entry.identity

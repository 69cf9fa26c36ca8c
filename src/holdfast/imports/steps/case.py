"""What every step of an import is given, and the few verbs that they share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from sqlalchemy.orm import Session

from holdfast.clouds.azure.succession import detach_parts
from holdfast.clouds.azure.succession.machine import MACHINES
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Claim, Cloud
from holdfast.core.ids import OperationId
from holdfast.core.tags import OPERATION, ROLE
from holdfast.engine import Call
from holdfast.imports.plan import ImportPlan
from holdfast.imports.records import recorded_plan, the_import
from holdfast.machines import ledger
from holdfast.machines.claims import claim_own_work
from holdfast.machines.ledger import Fate, Part
from holdfast.machines.services import Services

__all__ = [
    "Case",
    "StepCall",
    "cloud_of",
    "delete_alone",
    "ensure_made",
    "is_made_here",
    "plan_of_case",
    "remove_made",
    "tagged",
    "warn",
]

StepCall = Call[Services]


@dataclass(frozen=True)
class Case:
    """Which import. The plan is read from its record, so that step records stay small.

    operation: the operation whose ledger rows are meant: the import's own, also for steps of an undo.
    """

    import_id: str
    cloud: str
    operation: str


def plan_of_case(call: StepCall, case: Case) -> ImportPlan:
    with call.read() as session:
        return recorded_plan(session, case.import_id)


def cloud_of(call: StepCall, case: Case) -> Cloud:
    return call.services.open_cloud(case.cloud)


def tagged(call: StepCall, operation: str, role: str, document: Document) -> Document:
    """The document with our three tags."""
    ours = call.services.owner.tags(OperationId(operation), role)
    return document.with_value("tags", {**document.tags, **ours})


def ensure_made(call: StepCall, case: Case, role: str, document: Document, *, operation: str | None = None) -> Document:
    """Create what the ledger announced, and note its identity with the step's result."""
    operation = operation or case.operation
    made = cloud_of(call, case).ensure(call, tagged(call, operation, role, document))
    call.write(partial(ledger.seen, operation=operation, role=role, identity=made.identity))
    return made


def is_made_here(document: Document | None, operation: str, role: str) -> bool:
    """Whether a resource carries the tags of this operation and role: a name alone proves nothing."""
    return document is not None and document.tags.get(OPERATION) == operation and document.tags.get(ROLE) == role


def remove_made(call: StepCall, case: Case, role: str, *, operation: str | None = None) -> None:
    """Unwind one creation: copes with none, some or all of it done. What is not ours under that name is left alone."""
    operation = operation or case.operation
    cloud = cloud_of(call, case)
    with call.read() as session:
        entry = ledger.entry(session, operation, role)
    now = cloud.read(entry.ref)
    if now is not None and is_made_here(now, operation, role):
        with_identity = ledger.Entry(**{**vars(entry), "identity": now.identity})
        delete_alone(call, cloud, claim_own_work(with_identity), now)
    call.write(partial(ledger.settle, operation=operation, roles=[role], fate=Fate.GONE))


def delete_alone(call: StepCall, cloud: Cloud, claim: Claim, now: Document) -> None:
    """Delete one resource and nothing with it: a machine's parts, whoever attached them, are detached first."""
    if now.type.lower() == MACHINES.lower() and (patch := detach_parts(now)) is not None:
        cloud.patch(call, now.ref, patch)
    cloud.delete(call, claim)


def warn(call: StepCall, case: Case, text: str) -> None:
    """Add a line to the import's warnings, once, with the step's result."""
    call.write(partial(_warn, import_id=case.import_id, text=text))


def _warn(session: Session, import_id: str, text: str) -> None:
    row = the_import(session, import_id, light=True)
    if text not in row.warnings:
        row.warnings = [*row.warnings, text]


def part_of(role: str) -> Part:
    """The kind of part that a role names: original/nic-0 → NIC, final/os-disk → SNAPSHOT."""
    scope, _, last = role.rpartition("/")
    if scope in ("early", "final", "undo"):
        return Part.SNAPSHOT
    if last == "machine":
        return Part.MACHINE
    if last.startswith("nic"):
        return Part.NIC
    return Part.PUBLIC_IP if last.startswith("public-ip") else Part.DISK

"""After a failed or cancelled import has closed: a request that its dead worker had sent may still land.

For some minutes the cloud is compared with what the import left behind: late creates are deleted, a late stop or a
late deletion of the original's object is made good, our tags leave the originals. Only what carries this operation's
tags and stands in its ledger as made by it is deleted. After an undo that came to nothing a late start of the original
is undone.
"""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.clouds.azure.succession import recreated, restore_options
from holdfast.clouds.documents import same_ref
from holdfast.clouds.protocols import Cloud, Power, PowerLevel
from holdfast.core.errors import NotFound
from holdfast.core.tags import OPERATION, OUR_TAGS
from holdfast.engine import CLOSED, OperationView, Watch
from holdfast.engine.tables import OperationRow
from holdfast.imports.records import ImportRow, plan_of
from holdfast.imports.states import ImportState
from holdfast.imports.steps.case import Case, StepCall, is_made_here
from holdfast.imports.steps.originals import level_before, may_be_deleted_late, original_now, put_back_object
from holdfast.machines import ledger
from holdfast.machines.claims import claim_own_work
from holdfast.machines.ledger import Entry, Fate, Origin, Part
from holdfast.store.audit import audit

__all__ = ["WATCHES", "nodes_being_changed", "sweep_import", "sweep_undo"]

# Azure keeps a request that it has accepted for at most its long-running operation's time; creates of what an import
# makes end within ten minutes in every recording (azure.md section 4). Longer only costs list calls.
SWEEP_FOR_S = 900.0
SWEEP_EVERY_S = 60.0

# A stop that lands late does so within its own duration (41 s is usual, 5 minutes is long). Longer would fight a person
# who stops the machine after the import has failed.
POWER_FOR = timedelta(minutes=5)

# A deletion that Azure accepted ends within six minutes in every recording (324 s at most, azure.md section 4).
LATE_DELETE_FOR = timedelta(minutes=10)

_ORDER = (Part.MACHINE, Part.NIC, Part.PUBLIC_IP, Part.DISK, Part.SNAPSHOT)
_OURS_TO_KEEP = (Fate.IN_USE, Fate.RETAINED, Fate.RETURNED)


def sweep_import(call: StepCall, view: OperationView) -> None:
    """Compare one closed import with the cloud."""
    with call.read() as session:
        row = session.scalar(select(ImportRow).where(ImportRow.operation == view.id))
        if row is None or row.state not in (ImportState.FAILED.value, ImportState.CANCELLED.value):
            return
        recorded = {entry.role: entry for entry in ledger.entries(session, operation=view.id)}
    try:
        cloud = call.services.open_cloud(row.cloud)
    except NotFound:
        return  # disconnected since: there is nothing to compare with
    _delete_late(call, cloud, view, recorded)
    _restore_object(call, cloud, view, row)
    _restore_power(call, cloud, view, row, recorded)
    _unmark(call, cloud, view, recorded)


def sweep_undo(call: StepCall, view: OperationView) -> None:
    """An undo that was given up has started the node again: its original must not run beside it."""
    with call.read() as session:
        row = session.scalar(select(ImportRow).where(ImportRow.working == view.id))
        if row is None or row.state != ImportState.IMPORTED.value:
            return
        plan = plan_of(row)
    case = Case(import_id=row.id, cloud=row.cloud, operation=row.operation)
    if original_now(call, case, plan) is None:
        return
    cloud = call.services.open_cloud(row.cloud)
    if cloud.power_of(plan.machine)[0] is Power.RUNNING:
        cloud.power(call, plan.machine, PowerLevel.DEALLOCATED)
        _note(call, "import.original_stopped", view, plan.machine)


def _restore_object(call: StepCall, cloud: Cloud, view: OperationView, row: ImportRow) -> None:
    """A deletion of the original's object that was begun and never answered: its parts outlive it, so it can be made
    again; once none can land any more, the parts get their delete options back."""
    plan = plan_of(row)
    case = Case(import_id=row.id, cloud=row.cloud, operation=row.operation)
    if not plan.options.object_goes or view.closed_at is None or not may_be_deleted_late(call, case):
        return
    if cloud.read(plan.machine) is None:
        put_back_object(call, case, recreated(plan.facts.machine), plan)
        cloud.power(call, plan.machine, level_before(plan))
        cloud.unmark(call, plan.machine, OUR_TAGS)
        _note(call, "import.object_restored", view, plan.machine)
    elif call.clock.now() - view.closed_at >= LATE_DELETE_FOR:
        now = original_now(call, case, plan)
        if now is not None and (patch := restore_options(plan.facts.machine, now)):
            cloud.patch(call, plan.machine, patch)
            _note(call, "import.options_restored", view, plan.machine)


def _delete_late(call: StepCall, cloud: Cloud, view: OperationView, recorded: dict[str, Entry]) -> None:
    """What landed after the unwind had deleted it, or had found it absent."""
    late: list[Entry] = []
    for document in cloud.find({OPERATION: view.id}):
        for role, entry in recorded.items():
            if not is_made_here(document, view.id, role) or not same_ref(document.ref, entry.ref):
                continue
            if entry.origin is Origin.MADE and entry.fate not in _OURS_TO_KEEP:
                late.append(Entry(**{**vars(entry), "identity": document.identity}))
    for entry in sorted(late, key=lambda one: _ORDER.index(one.part)):
        if entry.identity is None and (now := cloud.read(entry.ref)) is not None:
            entry = Entry(**{**vars(entry), "identity": now.identity})
        cloud.delete(call, claim_own_work(entry))
        _note(call, "import.swept", view, entry.ref)


def _restore_power(
    call: StepCall, cloud: Cloud, view: OperationView, row: ImportRow, recorded: dict[str, Entry]
) -> None:
    """Start the original again if a late stop took it down; never beside a successor."""
    if view.closed_at is None or call.clock.now() - view.closed_at > POWER_FOR:
        return
    plan = plan_of(row)
    stopped_by_us = "original/machine" in recorded
    successor = recorded.get("machine")
    if plan.facts.power is not Power.RUNNING or not stopped_by_us:
        return
    if successor is not None and is_made_here(cloud.read(successor.ref), view.id, "machine"):
        return
    case = Case(import_id=row.id, cloud=row.cloud, operation=row.operation)
    if original_now(call, case, plan) is None or cloud.power_of(plan.machine)[0] is not Power.DEALLOCATED:
        return
    cloud.power(call, plan.machine, PowerLevel.RUNNING)
    _note(call, "import.power_restored", view, plan.machine)


def _unmark(call: StepCall, cloud: Cloud, view: OperationView, recorded: dict[str, Entry]) -> None:
    """Tags of ours that a late PATCH put on what was never ours."""
    for document in cloud.find({OPERATION: view.id}):
        for entry in recorded.values():
            if entry.origin is Origin.ORIGINAL and same_ref(document.ref, entry.ref):
                cloud.unmark(call, document.ref, OUR_TAGS)
                _note(call, "import.unmarked", view, document.ref)


def _note(call: StepCall, action: str, view: OperationView, ref: str) -> None:
    def write(session: Session) -> None:
        audit(session, call.clock.now(), "holdfast", action, subject=ref, operation=view.id)

    call.write(write)


def nodes_being_changed(session: Session) -> frozenset[str]:
    """Nodes whose machine an open import or undo switches, stops or deletes: what it does is our own doing."""
    query = (
        select(ImportRow.node_id)
        .join(OperationRow, OperationRow.id == ImportRow.working)
        .where(
            OperationRow.state.not_in([state.value for state in CLOSED]),
            OperationRow.kind.in_(["import", "undo-import"]),
        )
    )
    return frozenset(session.scalars(query))


WATCHES: tuple[Watch, ...] = (
    Watch("import", sweep_import, for_s=SWEEP_FOR_S, every_s=SWEEP_EVERY_S),
    Watch("undo-import", sweep_undo, for_s=SWEEP_FOR_S, every_s=SWEEP_EVERY_S),
)

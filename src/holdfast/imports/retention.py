"""The retention of originals: one timer for each import, armed in the transaction of the hand-over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy.orm import Session

from holdfast.engine import reconciler
from holdfast.engine.tables import OperationRow
from holdfast.engine.timers import Timers
from holdfast.imports.records import ImportRow, the_imports
from holdfast.imports.states import ImportState
from holdfast.imports.steps.case import StepCall

__all__ = [
    "KEEP_STATE_FOR",
    "DiscardSpec",
    "FinishSpec",
    "arm_discard",
    "arm_retention",
    "disarm_retention",
    "keep_retention_armed",
    "retention_key",
    "subject_of",
]

LOOK_AGAIN_AFTER = timedelta(hours=1)  # a suspended clean-up is tried again; sooner would only repeat the finding


KEEP_STATE_FOR = timedelta(hours=96)  # what an undo or a failed import keeps beside what it gives back


@dataclass(frozen=True)
class FinishSpec:
    """Which import's originals to delete."""

    import_id: str
    cloud: str


@dataclass(frozen=True)
class DiscardSpec:
    """What an operation kept for a while, to be deleted after it."""

    import_id: str
    cloud: str
    operation: str


def subject_of(cloud: str, machine: str) -> str:
    """At most one operation changes a machine at a time."""
    return f"machine:{cloud}:{machine.lower()}"


def retention_key(import_id: str) -> str:
    return f"retention:{import_id}"


def arm_retention(timers: Timers, session: Session, row: ImportRow, due_at: datetime) -> None:
    """Arm the timer, or move it."""
    timers.arm(
        session,
        retention_key(row.id),
        due_at,
        "finish-import",
        FinishSpec(import_id=row.id, cloud=row.cloud),
        subject=subject_of(row.cloud, row.machine),
        deletes=True,
    )


def arm_discard(timers: Timers, session: Session, row: ImportRow, operation: str, due_at: datetime) -> None:
    """Delete at `due_at` what the operation's ledger then still retains."""
    timers.arm(
        session,
        f"kept:{operation}",
        due_at,
        "discard-kept",
        DiscardSpec(import_id=row.id, cloud=row.cloud, operation=operation),
        subject=f"kept:{operation}",  # not the machine: it may be imported again meanwhile
        deletes=True,
    )


def disarm_retention(timers: Timers, session: Session, row: ImportRow) -> None:
    timers.cancel(session, retention_key(row.id))


@reconciler("retention", every_s=60)
def keep_retention_armed(call: StepCall) -> None:
    """Arm the timer of every import that retains originals and has none: after a suspended clean-up or a failed undo"""
    timers, now = call.engine.timers, call.clock.now()
    with call.read() as session:
        resting = [row.id for row in the_imports(session, [ImportState.IMPORTED])]
        armed = {timer.key for timer in timers.list(session, state="armed", limit=100_000)}
    for import_id in resting:
        if retention_key(import_id) not in armed:
            with call.services.database.write() as session:
                _arm_if_resting(timers, session, import_id, now)


def _arm_if_resting(timers: Timers, session: Session, import_id: str, now: datetime) -> None:
    row = session.get(ImportRow, import_id, with_for_update=True)
    if row is None or row.state != ImportState.IMPORTED.value:
        return
    working = session.get(OperationRow, row.working)
    fired = timers.find(session, retention_key(import_id))
    by_timer = session.get(OperationRow, fired.operation) if fired and fired.operation else None
    if any(operation is not None and operation.open for operation in (working, by_timer)):
        return
    arm_retention(timers, session, row, max(row.retained_until or now, now + LOOK_AGAIN_AFTER))

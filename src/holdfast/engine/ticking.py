"""The tick: the net under everything. Level-triggered and right to run at any moment, in every worker at once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import CursorResult, select, text, update
from sqlalchemy.orm import Session

from holdfast.core.ids import OperationId
from holdfast.engine.states import State
from holdfast.engine.tables import OperationRow, PulseRow
from holdfast.store import audit

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

__all__ = ["Ticket", "due_tickets", "give_back_lost", "live_workers", "pulse", "take_over", "take_over_all"]

Ticket = tuple[OperationId, int, bool]
"""(operation, generation, urgent): what the scheduler is given."""

_BATCH = 500
_ONLY_ROW = 1


def pulse(engine: Engine) -> datetime | None:
    """Note that we live; returns until when destructive timers are held (None or past: they are not).

    A pause is judged by real time: the machine was down, suspended, or its clock was set. Moving the injected clock is
    not a pause. The hold itself passes on the injected clock.
    """
    real_s, now = engine.real_time(), engine.clock.now()
    with engine.database.read() as session:
        row = session.get(PulseRow, _ONLY_ROW)
    paused = row is not None and abs(real_s - row.ticked_s) > engine.settings.pause_s
    if row is not None and not paused and real_s - row.ticked_s < engine.settings.pause_s / 10:
        return row.hold_until  # fresh enough: no write in every tick
    with engine.database.write() as session:
        row = session.get(PulseRow, _ONLY_ROW, with_for_update=True)
        if row is None:
            session.add(PulseRow(row=_ONLY_ROW, ticked_s=real_s, hold_until=None))
            return None
        gap_s = real_s - row.ticked_s
        if abs(gap_s) > engine.settings.pause_s:
            row.hold_until = now + timedelta(seconds=engine.settings.hold_s)
            audit(session, now, "holdfast", "server.paused", gap_s=round(gap_s), hold_until=row.hold_until.isoformat())
        row.ticked_s = real_s
        return row.hold_until


def take_over(engine: Engine) -> int:
    """Take operations from owners without a fresh beat, whoever they are: one statement, no list of the dead."""
    now_s = engine.database.seconds()
    stale = (
        "owner is not null and open and not exists"
        f" (select 1 from workers w where w.id = operations.owner and w.beat_s > {now_s} - :lease)"
    )
    values = {"lease": engine.settings.lease_s}
    with engine.database.read() as session:
        if session.execute(text(f"select 1 from operations where {stale} limit 1"), values).first() is None:
            return 0
    skip = " for update skip locked" if engine.database.dialect == "postgresql" else ""
    with engine.database.write() as session:
        return _rows(
            session,
            text(
                "update operations set owner=null, generation=generation+1, enqueued_s=null, takeovers=takeovers+1"
                f" where id in (select id from operations where {stale}{skip})"
            ),
            values,
        )


def take_over_all(engine: Engine) -> int:
    """Where only one process can run on a home, nobody else lives at its start: nothing needs to wait for a lease."""
    with engine.database.write() as session:
        statement = (
            update(OperationRow)
            .where(OperationRow.owner.is_not(None), OperationRow.open.is_(True))
            .values(
                owner=None,
                generation=OperationRow.generation + 1,
                enqueued_s=None,
                takeovers=OperationRow.takeovers + 1,
            )
            .execution_options(synchronize_session=False)
        )
        return cast("CursorResult[Any]", session.execute(statement)).rowcount


def give_back_lost(engine: Engine) -> int:
    """Release what is ours in the database but does not run here: dropped segments, a lost scheduler database."""
    me = engine.worker.id
    with engine.database.read() as session:
        owned = session.execute(
            select(OperationRow.id, OperationRow.generation).where(
                OperationRow.owner == me, OperationRow.open.is_(True)
            )
        ).all()
    running = engine.worker.running()  # after the read: entering comes before claiming
    lost = [(row.id, row.generation) for row in owned if (row.id, row.generation) not in running]
    given = 0
    for operation, generation in lost:
        with engine.database.write() as session:
            given += _rows(
                session,
                text(
                    "update operations set owner=null, generation=generation+1, enqueued_s=null,"
                    " takeovers=takeovers+1 where id=:id and generation=:g and owner=:me and open"
                ),
                {"id": operation, "g": generation, "me": me},
            )
    return given


def due_tickets(engine: Engine, only: OperationId | None = None) -> list[Ticket]:
    """What should be given to the scheduler now, marked as given, each by one worker.

    What was given `doubt_s` ago and has no owner yet is asked about: still queued there → left; else it gets a new
    generation, which is always safe.
    """
    now = engine.clock.now()
    runnable = {(kind.name, kind.version): kind.urgent for kind in engine.registry.kinds()}
    now_s = engine.database.seconds()
    due = (
        (OperationRow.open.is_(True))
        & (OperationRow.owner.is_(None))
        & (OperationRow.state != State.STUCK.value)
        & ((OperationRow.wake_at.is_(None)) | (OperationRow.wake_at <= now))
    )
    if only is not None:
        due = due & (OperationRow.id == only) & (OperationRow.enqueued_s.is_(None))
    else:
        doubtful = OperationRow.enqueued_s < text(f"{now_s} - {float(engine.settings.doubt_s)}")
        due = due & ((OperationRow.enqueued_s.is_(None)) | doubtful)
    columns = (OperationRow.id, OperationRow.generation, OperationRow.kind, OperationRow.version)
    query = select(*columns, OperationRow.enqueued_s).where(due).order_by(OperationRow.created_at).limit(_BATCH)
    with engine.database.read() as session:
        rows = [row for row in session.execute(query).all() if (row.kind, row.version) in runnable]
    if not rows:
        return []
    doubted = [(OperationId(row.id), row.generation) for row in rows if row.enqueued_s is not None]
    queued = engine.still_queued(doubted) if doubted else set()
    tickets: list[Ticket] = []
    # A row locked by a frozen peer must not hold up the others: it is skipped, and looked at by the next tick.
    free = " and id = (select o.id from operations o where o.id=:id for update skip locked)"
    unlocked = free if engine.database.dialect == "postgresql" else ""
    with engine.database.write() as session:
        for row in rows:
            if (row.id, row.generation) in queued:
                continue
            renew = row.enqueued_s is not None
            marked = _rows(
                session,
                text(
                    f"update operations set generation=generation+:renew, enqueued_s={now_s}"
                    " where id=:id and generation=:g and owner is null and open"
                    + (" and enqueued_s is not null" if renew else " and enqueued_s is null")
                    + unlocked
                ),
                {"renew": int(renew), "id": row.id, "g": row.generation},
            )
            if marked:
                tickets.append((OperationId(row.id), row.generation + int(renew), runnable[row.kind, row.version]))
    return tickets


def _rows(session: Session, statement: Any, values: dict[str, Any]) -> int:
    return cast("CursorResult[Any]", session.execute(statement, values)).rowcount


def live_workers(engine: Engine) -> frozenset[str]:
    """Ids of workers with a fresh beat, by the database's clock."""
    now_s = engine.database.seconds()
    with engine.database.read() as session:
        found = session.scalars(
            text(f"select id from workers where beat_s > {now_s} - :lease"), {"lease": engine.settings.lease_s}
        )
        return frozenset(str(one) for one in found)

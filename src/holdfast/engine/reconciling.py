"""Reconcilers: standing wishes that some worker compares with reality about every so often, and mends."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import CursorResult, select, update

from holdfast.core.errors import error_to_record
from holdfast.core.ids import OperationId
from holdfast.engine.call import Call
from holdfast.engine.errors import Draining, LeaseLost
from holdfast.engine.kinds import Reconciler, Watch
from holdfast.engine.seams import Moment
from holdfast.engine.submitting import insert_reconcilers
from holdfast.engine.tables import OperationRow, ReconcilerRow
from holdfast.engine.views import OperationView

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

__all__ = ["all_reconcilers", "claim_due", "run_reconciler"]

log = logging.getLogger("holdfast.engine")


def all_reconcilers(engine: Engine) -> dict[str, Reconciler]:
    """The registered ones, one for each watch, and the engine's own."""
    found = {one.name: one for one in engine.registry.reconcilers}
    for index, watch in enumerate(engine.registry.watches):
        name = f"watch {watch.kind} {index}"
        found[name] = Reconciler(name, watch.every_s, partial(_look_again, watch))
    found["purge"] = Reconciler("purge", 3600.0, _purge)
    return found


def claim_due(engine: Engine) -> tuple[Reconciler, ...]:
    """Those whose time has come and that no other worker took; their next time is set first, so one worker runs each.

    When a worker dies in one, the next round does what it left: level-triggered.
    """
    wanted = all_reconcilers(engine)
    now = engine.clock.now()
    with engine.database.read() as session:
        next_at = {row.name: row.next_at for row in session.execute(select(ReconcilerRow.name, ReconcilerRow.next_at))}
    due = [one for name, one in wanted.items() if name not in next_at or next_at[name] <= now]
    if not due:
        return ()
    claimed = []
    with engine.database.write() as session:
        insert_reconcilers(session, [one.name for one in due if one.name not in next_at], now)
        for one in due:
            taken = session.execute(
                update(ReconcilerRow)
                .where(ReconcilerRow.name == one.name, ReconcilerRow.next_at <= now)
                .values(next_at=now + timedelta(seconds=one.every_s))
                .execution_options(synchronize_session=False)
            )
            if cast("CursorResult[Any]", taken).rowcount == 1:
                claimed.append(one)
    return tuple(claimed)


def run_reconciler(engine: Engine, one: Reconciler) -> None:
    """One round. What it raises is logged and shown on its row; the next round comes anyway."""
    error = None
    try:
        with_call(engine, OperationId(f"reconciler/{one.name}"), one.name, one.act)
    except (LeaseLost, Draining):
        return
    except Exception as exc:
        log.exception("reconciler %s", one.name)
        error = error_to_record(exc)
    with engine.database.write() as session:
        session.execute(update(ReconcilerRow).where(ReconcilerRow.name == one.name).values(error=error))


def with_call(engine: Engine, operation: OperationId, step: str, act: Callable[[Call[Any]], None]) -> None:
    """Run `act` with a call of its own; what it wrote is committed together after it."""
    epoch = engine.worker.epoch

    def check() -> None:
        engine.seam.at(Moment.CHECK, operation, step, False)
        engine.worker.check(epoch)

    def report(percent: float | None, message: str) -> None:
        log.info("%s: %s", operation, message)

    call: Call[Any] = Call(
        operation=operation, step=step, attempt=1, undoing=False, engine=engine, check=check, report=report
    )
    act(call)
    if call.writes:
        engine.worker.check(epoch)
        with engine.database.write() as session:
            for change in call.writes:
                change(session)


def _look_again(watch: Watch, call: Call[Any]) -> None:
    """Compare each lately closed operation with the world; one that fails does not hide the others."""
    since = call.clock.now() - timedelta(seconds=watch.for_s)
    with call.read() as session:
        rows = session.scalars(
            select(OperationRow)
            .where(OperationRow.kind == watch.kind, OperationRow.open.is_(False), OperationRow.closed_at >= since)
            .order_by(OperationRow.closed_at)
        ).all()
        closed = [OperationView.of(row) for row in rows]
    failed: Exception | None = None
    for view in closed:
        try:
            with_call(call.engine, view.id, "after_close", lambda one, view=view: watch.check(one, view))  # type: ignore[misc]
        except Exception as exc:
            log.exception("looking again at operation %s", view.id)
            failed = exc
    if failed is not None:
        raise failed


def _purge(call: Call[Any]) -> None:
    """Forget what closed long ago."""
    engine = call.engine
    engine.purge(call.clock.now() - timedelta(seconds=engine.settings.keep_closed_s))

"""How the record of an import follows the operations that work on it: in the same transaction, never later."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.core.ids import OperationId
from holdfast.engine import OperationCancelled, State
from holdfast.engine.tables import OperationRow
from holdfast.imports.records import ImportRow
from holdfast.imports.states import ImportState, after_finishing, after_importing, after_undoing
from holdfast.nodes.records import NodeRow, happened
from holdfast.nodes.states import NodeEvent, NodeState

__all__ = ["follow_finish", "follow_import", "follow_undo"]


def follow_import(
    session: Session, operation: OperationId, old: State | None, new: State, error: dict[str, Any] | None
) -> None:
    """The import itself. One that came to nothing leaves no node."""
    row, now = _working(session, operation)
    if row is None:
        return
    cancelled = row.state == ImportState.CANCELLING.value or (
        error is not None and error["code"] == OperationCancelled.code
    )
    row.state = after_importing(new, cancelled=cancelled).value
    row.updated_at = now
    row.error = error if new is not State.DONE else None
    if new in (State.FAILED, State.CANCELLED):
        row.closed_at = now
        node = session.get(NodeRow, row.node_id)
        if node is not None and node.state == NodeState.IMPORTING.value:
            happened(node, NodeEvent.NOT_HANDED_OVER, now)


def follow_undo(
    session: Session, operation: OperationId, old: State | None, new: State, error: dict[str, Any] | None
) -> None:
    """An undo that came to nothing started the node again; the reconciler `retention` arms its timer anew."""
    row, now = _working(session, operation)
    if row is None:
        return
    row.state, row.updated_at, row.error = after_undoing(new).value, now, error
    if new is State.DONE:
        row.closed_at = now


def follow_finish(
    session: Session, operation: OperationId, old: State | None, new: State, error: dict[str, Any] | None
) -> None:
    """A suspended clean-up keeps everything and says why; the reconciler `retention` has it tried again."""
    row, now = _working(session, operation)
    if row is None:
        row = _of_timer(session, operation)
        if row is None:
            return
        row.working = operation
    row.state, row.updated_at, row.error = after_finishing(new).value, now, error
    if new is State.DONE:
        row.closed_at, row.attention = now, None
    elif new in (State.FAILED, State.CANCELLED, State.STUCK):
        row.attention = None if error is None else error["text"]


def _working(session: Session, operation: OperationId) -> tuple[ImportRow | None, datetime]:
    told = session.get_one(OperationRow, operation)
    row = session.scalar(select(ImportRow).where(ImportRow.working == operation))
    return row, told.updated_at


def _of_timer(session: Session, operation: OperationId) -> ImportRow | None:
    """A clean-up that its timer started: the import is named in its spec."""
    told = session.get_one(OperationRow, operation)
    return session.get(ImportRow, told.spec["value"]["import_id"])

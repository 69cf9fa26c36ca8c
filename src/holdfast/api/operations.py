"""/v1/operations: everything durable that runs or ran, with its steps and lines."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from holdfast.api import shown
from holdfast.api.access import Caller, Operator, TheHouse, Viewer
from holdfast.api.streams import events_answer
from holdfast.core.errors import Conflict
from holdfast.core.ids import OperationId
from holdfast.engine import OperationView, State
from holdfast.imports.records import ImportRow
from holdfast.store.audit import audit
from holdfast.wiring import House

__all__ = ["router"]

router = APIRouter(prefix="/v1/operations", tags=["operations"])


class CannotCancel(Conflict):
    """It has passed the point from which it only goes forward, unwinds already, or has ended."""

    code = "operation.cannot_cancel"
    text = "Operation {operation} is {state} and cannot be cancelled any more."
    remedy = "Wait for its end; what it did may have an undo of its own."


@router.get("", operation_id="listOperations")
def list_operations(
    house: TheHouse,
    caller: Viewer,
    kind: str | None = None,
    state: State | None = None,
    open_only: bool = False,
    limit: int = 100,
) -> list[dict[str, Any]]:
    """The newest first."""
    states = None if state is None else [state]
    found = house.engine.list(kind=kind, states=states, open_only=open_only, limit=max(1, min(limit, 1000)))
    return [shown.operation(view) for view in found if _sees(caller, view)]


@router.get("/{operation_id}", operation_id="getOperation")
def get_operation(operation_id: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    view = _allowed(house, caller, operation_id)
    steps = [shown.step(one) for one in house.engine.steps(view.id)]
    return {**shown.operation(view), "steps": steps}


@router.get("/{operation_id}/steps", operation_id="listSteps")
def list_steps(operation_id: str, house: TheHouse, caller: Viewer) -> list[dict[str, Any]]:
    view = _allowed(house, caller, operation_id)
    return [shown.step(one) for one in house.engine.steps(view.id)]


@router.get("/{operation_id}/events", operation_id="followOperation")
async def follow_operation(
    operation_id: str, request: Request, house: TheHouse, caller: Viewer, after: int = 0, wait_s: float = 0.0
) -> Response:
    """Lines with an id above `after`, as JSON after at most `wait_s` (30) seconds, or as an SSE stream."""
    view = await run_in_threadpool(_allowed, house, caller, operation_id)
    return await events_answer(request, house.engine, view.id, after, wait_s)


@router.post("/{operation_id}/cancel", operation_id="cancelOperation")
def cancel_operation(operation_id: str, house: TheHouse, caller: Operator) -> dict[str, Any]:
    """Ask to undo what it did."""
    view = _allowed(house, caller, operation_id)
    if (import_id := _import_of(house, operation_id)) is not None:
        house.imports.cancel(import_id, actor=caller.name)
    elif not house.engine.cancel(view.id):
        raise CannotCancel(operation=operation_id, state=view.state.value)
    else:
        _audit(house, caller, "operation.cancel", view.id)
    return shown.operation(house.engine.get(view.id))


@router.post("/{operation_id}/retry", operation_id="retryOperation")
def retry_operation(operation_id: str, house: TheHouse, caller: Operator) -> dict[str, Any]:
    """Let a stuck operation go on."""
    view = _allowed(house, caller, operation_id)
    house.engine.retry(view.id)
    _audit(house, caller, "operation.retry", view.id)
    return shown.operation(house.engine.get(view.id))


def _audit(house: House, caller: Caller, action: str, operation: OperationId) -> None:
    with house.database.write() as session:
        audit(session, house.clock.now(), caller.name, action, operation=operation)


def _import_of(house: House, operation: str) -> str | None:
    with house.database.read() as session:
        return session.scalar(select(ImportRow.id).where(ImportRow.working == operation))


def _allowed(house: House, caller: Caller, operation: str) -> OperationView:
    view = house.engine.get(OperationId(operation))
    cloud = _cloud_of(view)
    if cloud is not None:
        caller.require_cloud(cloud)
    else:
        caller.require_all_clouds()
    return view


def _sees(caller: Caller, view: OperationView) -> bool:
    cloud = _cloud_of(view)
    return caller.clouds is None or (cloud is not None and caller.sees(cloud))


def _cloud_of(view: OperationView) -> str | None:
    """Every specification of an operation in a cloud says which."""
    told = view.spec.get("cloud") if isinstance(view.spec, dict) else None
    return told if isinstance(told, str) else None

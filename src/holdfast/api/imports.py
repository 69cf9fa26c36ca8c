"""/v1/imports: plan, start, follow, cancel, undo, retry, extend, finish."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from holdfast.api import shown
from holdfast.api.access import Caller, Operator, TheHouse, Viewer
from holdfast.api.machines import machine_ref
from holdfast.api.streams import events_answer
from holdfast.core.errors import InvalidInput, NotFound
from holdfast.core.ids import OperationId
from holdfast.imports.options import RETENTION_MOST_S, DiskSource, ImportOptions, NetworkSource, Priority
from holdfast.imports.plan import ImportPlan, load_plan
from holdfast.imports.records import LIGHT, ImportRow, plan_of, the_import
from holdfast.imports.retention import retention_key
from holdfast.imports.states import ImportState
from holdfast.machines import ledger
from holdfast.wiring import House

__all__ = ["router"]

router = APIRouter(prefix="/v1/imports", tags=["imports"])


class Options(BaseModel):
    """How to import. What is left out has the default; what is given counts against a specification that disagrees."""

    model_config = ConfigDict(extra="forbid")

    network: NetworkSource | None = None
    disks: DiskSource | None = None
    priority: Priority | None = None
    retention_s: int | None = None
    draining_timeout_s: int | None = None
    probes: list[str] | None = None
    prove_for_s: int | None = None
    prove_timeout_s: int | None = None
    accept: list[str] | None = None
    recreate_extensions: list[str] | None = None
    delete_originals_immediately: bool | None = None
    convert_unmanaged_disks: bool | None = None

    def chosen(self) -> tuple[ImportOptions, frozenset[str]]:
        """The options, and the names of those that the caller gave."""
        given = {name: value for name, value in self if value is not None}
        values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in given.items()}
        return ImportOptions(**values), frozenset(given)


class Wish(BaseModel):
    """What to import: `machine` is RESOURCE_GROUP/VM or a full id; `spec` a stateful node's JSON, wrapped or not."""

    model_config = ConfigDict(extra="forbid")

    machine: str
    cloud: str | None = None
    options: Options = Field(default_factory=Options)
    spec: dict[str, Any] | None = None


class Start(BaseModel):
    """Either a wish, or a whole plan as `plan` answered it, which is run exactly or refused with `plan.stale`."""

    model_config = ConfigDict(extra="forbid")

    machine: str | None = None
    cloud: str | None = None
    options: Options = Field(default_factory=Options)
    spec: dict[str, Any] | None = None
    plan: dict[str, Any] | None = None


class Undo(BaseModel):
    model_config = ConfigDict(extra="forbid")

    to_import_point: bool = False


class Extend(BaseModel):
    model_config = ConfigDict(extra="forbid")

    by_s: int = Field(le=RETENTION_MOST_S)


class Finish(BaseModel):
    model_config = ConfigDict(extra="forbid")

    confirmed: bool = False


@router.post("/plan", operation_id="planImport")
def plan_import(body: Wish, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    """Describe, decide and answer the plan. Changes nothing, and refusals are findings of the plan."""
    return shown.plan(_plan(house, caller, body.machine, body.cloud, body.options, body.spec))


@router.post("", operation_id="startImport", status_code=201)
def start_import(body: Start, house: TheHouse, caller: Operator) -> dict[str, Any]:
    """Begin. Once this has answered, the import is recorded and goes on whatever happens to the server."""
    if body.plan is not None:
        if body.machine is not None or body.spec is not None or body.options.chosen()[1]:
            raise InvalidInput(field="plan", problem="a plan says it all: give no machine, spec or options with it")
        plan = _given_plan(body.plan)
        caller.require_cloud(plan.cloud)
        started = house.imports.start(plan, actor=caller.name)
    else:
        if body.machine is None:
            raise InvalidInput(field="machine", problem="give a machine or a plan")
        plan = _plan(house, caller, body.machine, body.cloud, body.options, body.spec)
        started = house.imports.start(plan, actor=caller.name, fresh=True)
    return {**_shown(house, started.import_id), "plan": shown.plan(plan)}


@router.get("", operation_id="listImports")
def list_imports(
    house: TheHouse, caller: Viewer, state: ImportState | None = None, cloud: str | None = None
) -> list[dict[str, Any]]:
    """Oldest first."""
    now = house.clock.now()
    query = select(ImportRow).options(*LIGHT).order_by(ImportRow.created_at, ImportRow.id)
    if state is not None:
        query = query.where(ImportRow.state == state.value)
    with house.database.read() as session:
        rows = list(session.scalars(query))
    wanted = [row for row in rows if caller.sees(row.cloud) and cloud in (None, row.cloud)]
    return [shown.import_(row, now) for row in wanted]


@router.get("/{import_id}", operation_id="getImport")
def get_import(import_id: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    """One import with its ledger, countdown and progress."""
    _allowed(house, caller, import_id)
    with house.database.read() as session:
        entries = ledger.entries(session, subject=import_id)
    return {**_shown(house, import_id), "ledger": [shown.ledger_entry(entry) for entry in entries]}


@router.get("/{import_id}/plan", operation_id="getImportPlan")
def get_import_plan(import_id: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    """The plan that runs or ran, without what can only be written."""
    _allowed(house, caller, import_id)
    with house.database.read() as session:
        row = the_import(session, import_id)
    told: dict[str, Any] = shown.without_secrets(shown.plan(plan_of(row)))
    return told


@router.get("/{import_id}/events", operation_id="followImport")
async def follow_import(
    import_id: str, request: Request, house: TheHouse, caller: Viewer, after: int = 0, wait_s: float = 0.0
) -> Response:
    """Lines of the operation that works on the import now, or did last; see `followOperation`."""
    row = await run_in_threadpool(_allowed, house, caller, import_id)
    return await events_answer(request, house.engine, OperationId(row.working), after, wait_s)


@router.post("/{import_id}/cancel", operation_id="cancelImport")
def cancel_import(import_id: str, house: TheHouse, caller: Operator) -> dict[str, Any]:
    """Give the original back. On a stuck undo: start the node again."""
    _allowed(house, caller, import_id)
    house.imports.cancel(import_id, actor=caller.name)
    return _shown(house, import_id)


@router.post("/{import_id}/retry", operation_id="retryImport")
def retry_import(import_id: str, house: TheHouse, caller: Operator) -> dict[str, Any]:
    _allowed(house, caller, import_id)
    house.imports.retry(import_id, actor=caller.name)
    return _shown(house, import_id)


@router.post("/{import_id}/undo-plan", operation_id="planUndo")
def plan_undo(import_id: str, body: Undo, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    """What an undo would do. Changes nothing."""
    _allowed(house, caller, import_id)
    return shown.undo_plan(house.imports.undo_plan(import_id, to_import_point=body.to_import_point))


@router.post("/{import_id}/undo", operation_id="undoImport")
def undo_import(import_id: str, body: Undo, house: TheHouse, caller: Operator) -> dict[str, Any]:
    _allowed(house, caller, import_id)
    house.imports.undo(import_id, actor=caller.name, to_import_point=body.to_import_point)
    return _shown(house, import_id)


@router.post("/{import_id}/extend", operation_id="extendImport")
def extend_import(import_id: str, body: Extend, house: TheHouse, caller: Operator) -> dict[str, Any]:
    """Keep the originals longer."""
    _allowed(house, caller, import_id)
    house.imports.extend(import_id, timedelta(seconds=body.by_s), actor=caller.name)
    return _shown(house, import_id)


@router.post("/{import_id}/finish", operation_id="finishImport")
def finish_import(import_id: str, body: Finish, house: TheHouse, caller: Operator) -> dict[str, Any]:
    """Delete the originals now. Cannot be undone, so it must be confirmed."""
    _allowed(house, caller, import_id)
    house.imports.finish(import_id, actor=caller.name, confirmed=body.confirmed)
    return _shown(house, import_id)


def _plan(
    house: House, caller: Caller, address: str, cloud: str | None, options: Options, spec: dict[str, Any] | None
) -> ImportPlan:
    chosen, given = options.chosen()
    picked, ref = machine_ref(house, caller, address, cloud)
    return house.imports.plan(picked, ref, chosen, spec, given=given)


def _given_plan(told: dict[str, Any]) -> ImportPlan:
    """`spec` repeats the node for people to edit; an edit here would be ignored, so it is refused."""
    if "spec" in told and told["spec"] != told.get("node"):
        raise InvalidInput(field="plan.spec", problem="the spec of a plan was edited: give it with --spec instead")
    return load_plan({key: value for key, value in told.items() if key != "spec"})


def _allowed(house: House, caller: Caller, import_id: str) -> ImportRow:
    with house.database.read() as session:
        row = _light_import(session, import_id)
    caller.require_cloud(row.cloud)
    return row


def _light_import(session: Session, import_id: str) -> ImportRow:
    """Without what `LIGHT` leaves out: reading that from the row later raises. Raises NotFound."""
    row = session.get(ImportRow, import_id, options=LIGHT)
    if row is None:
        raise NotFound(kind="import", name=import_id, listed_by="holdfast import list")
    return row


def _shown(house: House, import_id: str) -> dict[str, Any]:
    with house.database.read() as session:
        row = _light_import(session, import_id)
        timer = house.engine.timers.find(session, retention_key(import_id))
    held = timer.held_until if timer is not None and timer.state == "armed" else None
    return shown.import_(row, house.clock.now(), house.engine.find(OperationId(row.working)), held)

"""The calls of Spot's stateful-node API that Holdfast serves; every other one under its prefix is refused by name."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter, Depends, Request
from sqlalchemy import select

from holdfast.api.access import Caller, Operator, TheHouse, Viewer, caller_of
from holdfast.api.spot.envelope import NODE, PREFIX, ROOT, STATUS, answer
from holdfast.api.spot.reading import Asked, read_import
from holdfast.api.spot.showing import import_item, import_status_item, node_item, status_item
from holdfast.clouds.errors import NoCloud
from holdfast.core.errors import HoldfastError, InvalidInput, Retry
from holdfast.imports.plan import ImportPlan, PlanRefused
from holdfast.imports.planning import WEAK_PROOF
from holdfast.imports.records import LIGHT, ImportRow, the_import
from holdfast.nodes.records import NodeMissing, the_node, the_nodes
from holdfast.nodes.spec.errors import SpecRefused
from holdfast.wiring import House

__all__ = ["elsewhere", "router"]

log = logging.getLogger("holdfast.spot")

router = APIRouter(prefix=PREFIX, tags=["spot"])
elsewhere = APIRouter(prefix=ROOT)  # the signals of machines, the Elastigroup …

_IMPORT = "spotinst:azure:stateful:import:node"
_IMPORT_STATUS = "spotinst:stateful:import:node"
_NODE_PATH = "statefulNodeImport.node"
_VERBS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


class CallNotSupportedYet(HoldfastError):
    """A call of Spot's API that this release does not serve."""

    code, retry, exit_code, http_status = "CALL_NOT_SUPPORTED_YET", Retry.NEVER, 2, 400
    text = "{method} {path} is not served by this release of Holdfast."
    remedy = "docs/guides/import.md lists what is."


class ImportMissing(HoldfastError):
    """There is no such import."""

    code, retry, exit_code, http_status = "CANT_GET_STATEFUL_NODE_IMPORT", Retry.AFTER_CHANGE, 3, 400
    text = "There is no import {name}."
    remedy = "Check the id; 'holdfast import list' has all."


@router.post("/import", operation_id="azureStatefulNodeImportVm")
def import_vm(
    request: Request,
    body: dict[str, Any],
    house: TheHouse,
    caller: Operator,
    accountId: str | None = None,  # noqa: N803
) -> dict[str, Any]:
    """Import a machine. The node can be read at once; the import goes on by itself."""
    asked = read_import(body, house.services.retention_floor_s)
    cloud = _cloud(house, caller, accountId)
    ref = house.services.open_cloud(cloud).ref_of(asked.group, asked.name)
    try:
        plan = house.imports.plan(cloud, ref, asked.options, asked.node, given=asked.given)
        warnings = (*asked.warnings, *_about_proof(plan))
        started = house.imports.start(plan, actor=caller.name, warnings=warnings, fresh=True)
    except SpecRefused as error:
        raise _with_whole_paths(error) from error
    except PlanRefused as error:
        raise _with_the_way_in(error, asked) from error
    for text in warnings:
        log.warning("import %s: %s", started.import_id, text)
    with house.database.read() as session:
        row, node = the_import(session, started.import_id), the_node(session, started.node_id)
    return answer(request, _IMPORT, [import_item(row, node, plan)])


@router.get("/import/{import_id}/status", operation_id="azureStatefulNodeGetImportStatus")
def import_status(request: Request, import_id: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    with house.database.read() as session:
        row = session.get(ImportRow, import_id, options=LIGHT)
    if row is None or not caller.sees(row.cloud):
        raise ImportMissing(name=import_id)
    return answer(request, _IMPORT_STATUS, [import_status_item(row)])


@router.get(
    "/resourceGroup/{group}/virtualMachine/{name}/importConfiguration",
    operation_id="azureStatefulNodeGetImportConfiguration",
)
def import_configuration(
    request: Request,
    group: str,
    name: str,
    house: TheHouse,
    caller: Viewer,
    accountId: str | None = None,  # noqa: N803
) -> dict[str, Any]:
    """The node that an import would make, to be edited and sent back."""
    cloud = _cloud(house, caller, accountId)
    ref = house.services.open_cloud(cloud).ref_of(group, name)
    return answer(request, NODE, [house.imports.configuration(cloud, ref)])


@router.get("", operation_id="azureStatefulNodeGetAll")
def list_nodes(
    request: Request,
    house: TheHouse,
    caller: Viewer,
    name: str | None = None,
    region: str | None = None,
    accountId: str | None = None,  # noqa: N803
) -> dict[str, Any]:
    only = _named_cloud(house, accountId)
    with house.database.read() as session:
        rows = the_nodes(session, name=name, region=region)
    mine = [row for row in rows if caller.sees(row.cloud) and only in (None, row.cloud)]
    return answer(request, NODE, [node_item(row) for row in mine])


@router.get("/status", operation_id="azureStatefulNodeGetAllStatus")
def list_status(
    request: Request,
    house: TheHouse,
    caller: Viewer,
    accountId: str | None = None,  # noqa: N803
) -> dict[str, Any]:
    only = _named_cloud(house, accountId)
    with house.database.read() as session:
        rows = [row for row in the_nodes(session) if caller.sees(row.cloud) and only in (None, row.cloud)]
        about = {row.node_id: row for row in session.scalars(select(ImportRow).options(*LIGHT))}
    return answer(request, STATUS, [status_item(row, about.get(row.id)) for row in rows])


@router.get("/cost", include_in_schema=False)
@router.get("/resourceGroup", include_in_schema=False)
@router.get("/sizeUsage", include_in_schema=False)
@router.get("/import", include_in_schema=False)
def not_served_yet(request: Request, caller: Viewer) -> dict[str, Any]:
    """These words are calls of Spot's API, never ids of nodes."""
    raise CallNotSupportedYet(method=request.method, path=request.url.path)


@router.get("/{node_id}", operation_id="azureStatefulNodeGet")
def get_node(request: Request, node_id: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    with house.database.read() as session:
        row = the_node(session, node_id)
    if not caller.sees(row.cloud):
        raise NodeMissing(name=node_id)
    return answer(request, NODE, [node_item(row)])


@router.get("/{node_id}/status", operation_id="azureStatefulNodeGetStatus")
def get_status(request: Request, node_id: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    with house.database.read() as session:
        row = the_node(session, node_id)
        about = session.scalar(select(ImportRow).options(*LIGHT).where(ImportRow.node_id == node_id))
    if not caller.sees(row.cloud):
        raise NodeMissing(name=node_id)
    return answer(request, STATUS, [status_item(row, about)])


@router.api_route("{rest:path}", methods=_VERBS, include_in_schema=False, dependencies=[Depends(caller_of)])
@elsewhere.api_route("/{rest:path}", methods=_VERBS, include_in_schema=False, dependencies=[Depends(caller_of)])
def not_served(request: Request, rest: str) -> dict[str, Any]:
    """Refused by name rather than with a bare 404, which these clients cannot read."""
    raise CallNotSupportedYet(method=request.method, path=request.url.path)


def _cloud(house: House, caller: Caller, account: str | None) -> str:
    """The cloud that accountId names, by its name or its subscription; else the only one (docs/decisions/0037)."""
    named = _named_cloud(house, account)
    if named is None:
        known = [cloud.name for cloud in house.clouds.list() if caller.sees(cloud.name)]
        if not known:
            raise NoCloud
        if len(known) > 1:
            names = ", ".join(known)
            problem = f"there are several clouds: send the name or the subscription of one of {names}"
            raise InvalidInput(field="query.accountId", problem=problem)
        named = known[0]
    caller.require_cloud(named)
    return named


def _named_cloud(house: House, account: str | None) -> str | None:
    """None where accountId says nothing to us: existing clients send their old act-… and mean all they have."""
    if account:
        for cloud in house.clouds.list():
            if account.lower() in (cloud.name.lower(), str(cloud.options.get("subscription", "")).lower()):
                return cloud.name
    return None


def _about_proof(plan: ImportPlan) -> tuple[str, ...]:
    weak = any(finding.code == WEAK_PROOF for finding in plan.findings)
    return ("WEAK_PROOF: neither a guest agent nor a probe proves the new machine, only its power state.",) * weak


def _with_whole_paths(error: SpecRefused) -> SpecRefused:
    """Paths as they stand in what the client sent."""
    problems = [{**one, "field": f"{_NODE_PATH}.{one['field']}"} for one in error.details.get("problems", [])]
    return type(error)(**{**error.details, "field": f"{_NODE_PATH}.{error.about}", "problems": problems})


def _with_the_way_in(error: PlanRefused, asked: Asked) -> PlanRefused:
    """A Spot client cannot accept a finding; the CLI can, so it is named (docs/decisions/0035)."""
    listed = [
        {**one, "remedy": f"{one['remedy']} This API cannot accept it: use "
                          f"'holdfast import start {asked.group}/{asked.name} --accept {one['code']}'."}
        if "--accept" in one["remedy"] else one
        for one in error.details["refusals"]
    ]  # fmt: skip
    return PlanRefused(**{**error.details, "refusals": listed})

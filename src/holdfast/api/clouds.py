"""/v1/clouds: connect, list, check, remove."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr
from sqlalchemy import func, select

from holdfast.api import shown
from holdfast.api.access import Admin, TheHouse, Viewer
from holdfast.core.errors import Conflict
from holdfast.imports.records import ImportRow
from holdfast.imports.states import ImportState
from holdfast.market.observing.recording import prices_seen
from holdfast.nodes.records import NodeRow
from holdfast.nodes.states import NodeState
from holdfast.store.audit import audit
from holdfast.store.secrets import Secret
from holdfast.wiring import House, TestClockRefused

__all__ = ["router"]

router = APIRouter(prefix="/v1/clouds", tags=["clouds"])

_SETTLED = (ImportState.UNDONE, ImportState.FINISHED, ImportState.CANCELLED, ImportState.FAILED)


class CloudInUse(Conflict):
    """Something that Holdfast manages, keeps or works on lies in this cloud."""

    code = "cloud.in_use"
    text = "The cloud {name} is in use: {nodes} nodes, {imports} imports that are running or retain originals."
    remedy = "Undo or finish its imports first; a cloud with nodes stays connected."


class NewCloud(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str
    kind: str = "azure"
    options: dict[str, Any] = Field(default_factory=dict)
    secret: SecretStr | None = None


@router.post("", operation_id="addCloud", status_code=201)
def add_cloud(body: NewCloud, house: TheHouse, caller: Admin) -> dict[str, Any]:
    """Connect a cloud. Nothing is asked of it; `check` does that."""
    caller.require_cloud(body.name)
    secret = Secret(body.secret.get_secret_value()) if body.secret is not None else None
    existed = any(one.name == body.name for one in house.clouds.list())
    connected = house.clouds.add(body.name, body.kind, body.options, secret)
    if house.test_clock and not connected.is_loopback:
        if not existed:
            house.clouds.remove(body.name)
        raise TestClockRefused(cloud=body.name)
    with house.database.write() as session:
        audit(session, house.clock.now(), caller.name, "cloud.add", subject=body.name, kind=body.kind)
    return shown.cloud(connected)


@router.get("", operation_id="listClouds")
def list_clouds(house: TheHouse, caller: Viewer) -> list[dict[str, Any]]:
    return [shown.cloud(one) for one in house.clouds.list() if caller.sees(one.name)]


@router.get("/{name}", operation_id="getCloud")
def get_cloud(name: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    caller.require_cloud(name)
    return shown.cloud(house.clouds.get(name))


@router.post("/{name}/check", operation_id="checkCloud")
def check_cloud(name: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    """Credential, permissions, providers, quotas: findings with codes. Changes nothing."""
    caller.require_cloud(name)
    house.clouds.get(name)
    findings = [shown.finding(found) for found in house.services.open_cloud(name).check()]
    return {"cloud": name, "ok": not any(f["severity"] == "refusal" for f in findings), "findings": findings}


@router.delete("/{name}", operation_id="removeCloud")
def remove_cloud(name: str, house: TheHouse, caller: Admin) -> dict[str, Any]:
    """Forget a cloud and its secret. Nothing in the cloud changes."""
    caller.require_cloud(name)
    connected = house.clouds.get(name)
    _require_unused(house, name)
    house.clouds.remove(name)
    with house.database.write() as session:
        audit(session, house.clock.now(), caller.name, "cloud.remove", subject=name)
    return shown.cloud(connected)


@router.get("/{name}/sizes", operation_id="listSizes")
def list_sizes(name: str, location: str, house: TheHouse, caller: Viewer) -> list[dict[str, Any]]:
    """The cloud's own size documents of a location."""
    caller.require_cloud(name)
    house.clouds.get(name)
    return list(house.services.open_cloud(name).sizes(location))


@router.get("/{name}/prices", operation_id="listPrices")
def list_prices(name: str, location: str, house: TheHouse, caller: Viewer) -> list[dict[str, Any]]:
    """Known prices in US dollars per hour; empty where no price source is configured."""
    caller.require_cloud(name)
    house.clouds.get(name)
    prices = house.services.open_cloud(name).prices(location)
    prices_seen(house.database, name, location, prices)
    return [
        {
            "size": price.size,
            "os": price.os,
            "spot": price.spot,
            "usd_per_hour": price.usd_per_hour,
            "read_at": shown.time_of(price.read_at),
        }
        for price in prices
    ]


@router.get("/{name}/quota", operation_id="listQuota")
def list_quota(name: str, location: str, house: TheHouse, caller: Viewer) -> list[dict[str, Any]]:
    """The subscription's quota of a location, by the cloud's own names."""
    caller.require_cloud(name)
    house.clouds.get(name)
    return [vars(entry) for entry in house.services.open_cloud(name).headroom(location)]


def _require_unused(house: House, name: str) -> None:
    with house.database.read() as session:
        alive = select(func.count()).where(NodeRow.cloud == name, NodeRow.state != NodeState.DELETED.value)
        unsettled = select(func.count()).where(
            ImportRow.cloud == name, ImportRow.state.not_in([state.value for state in _SETTLED])
        )
        nodes, imports = session.scalar(alive) or 0, session.scalar(unsettled) or 0
    if nodes or imports:
        raise CloudInUse(name=name, nodes=nodes, imports=imports)

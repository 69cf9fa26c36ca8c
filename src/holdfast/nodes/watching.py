"""Nodes follow what their machines do: evicted, off, gone, running again. One list call for each cloud and round."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from holdfast.clouds.documents import same_ref
from holdfast.clouds.protocols import Observation, Power
from holdfast.core.clock import Clock
from holdfast.engine import Call, Reconciler
from holdfast.machines.services import Services
from holdfast.market.observing.folding import Kind
from holdfast.market.observing.recording import Market, inside, looked, machines_live, region_of_location
from holdfast.nodes.records import NodeRow, happened
from holdfast.nodes.states import NodeEvent, NodeState
from holdfast.store.audit import audit

__all__ = ["EVERY_S", "HandsOff", "Seen", "judged", "node_watch"]

EVERY_S = 15.0  # how late an eviction may be noticed; one list call a round is far below any request limit

WATCHED = (NodeState.ACTIVE, NodeState.STOPPED, NodeState.ERROR)

HandsOff = Callable[[Session], frozenset[str]]
"""Ids of nodes whose machines an operation is changing right now: what they do means nothing."""


@dataclass(frozen=True)
class Seen:
    """What an observation means. event None: nothing that a node's state would follow from."""

    event: NodeEvent | None
    health: str  # HEALTHY, UNHEALTHY, UNKNOWN
    reason: str | None = None


def judged(machine_identity: str | None, spot: bool, seen: Observation | None) -> Seen:
    """Pure. `spot`: how the node's machine was launched; seen None: the cloud does not list it."""
    if seen is None:
        return Seen(NodeEvent.MACHINE_GONE, "UNHEALTHY", "MACHINE_GONE")
    if machine_identity and seen.identity and seen.identity.lower() != machine_identity.lower():
        return Seen(NodeEvent.MACHINE_GONE, "UNHEALTHY", "MACHINE_REPLACED")
    if seen.power is Power.RUNNING:
        return Seen(NodeEvent.MACHINE_RUNS, "HEALTHY")
    if seen.power is Power.DEALLOCATED and spot:
        return Seen(NodeEvent.EVICTED, "UNHEALTHY", "EVICTED")  # evictionPolicy Deallocate: nobody else told us of it
    if seen.power in (Power.DEALLOCATED, Power.STOPPED):
        return Seen(NodeEvent.MACHINE_OFF, "UNHEALTHY")
    return Seen(None, "UNKNOWN")


def node_watch(hands_off: HandsOff) -> Reconciler:
    """The reconciler. `hands_off` comes from the features that change nodes."""

    def watch(call: Call[Services]) -> None:
        with call.read() as session:
            clouds = sorted(set(session.scalars(select(NodeRow.cloud).where(_watched()))))
        failed: Exception | None = None
        for cloud in clouds:
            try:
                _watch_cloud(call, cloud, hands_off)
            except Exception as exc:  # noqa: BLE001 - one cloud that does not answer must not hide the others
                failed = exc
        if failed is not None:
            raise failed  # the engine logs it and shows it on the reconciler's row

    return Reconciler("watch nodes", EVERY_S, watch)


def _watch_cloud(call: Call[Services], cloud: str, hands_off: HandsOff) -> None:
    since = call.clock.now()
    seen = {one.ref.lower(): one for one in call.services.open_cloud(cloud).observe()}
    call.check()
    with call.services.database.write() as session:
        busy = hands_off(session)
        alive: list[Market] = []
        for row in session.scalars(select(NodeRow).where(NodeRow.cloud == cloud, _watched()).with_for_update()):
            # A node that changed since the list was asked for is judged by the next list, not by this one.
            if row.id not in busy and row.machine is not None and row.updated_at <= since:
                now_seen = seen.get(row.machine.lower())
                _take_over(session, row, now_seen, call.clock)
                if row.spot and now_seen is not None and _lives(row, now_seen):
                    alive.append(_market_of(row))
        inside(session, "markets that hold our machines", partial(machines_live, markets=alive, at=call.clock.now()))


def _take_over(session: Session, row: NodeRow, seen: Observation | None, clock: Clock) -> None:
    verdict, now, before = judged(row.machine_identity, row.spot, seen), clock.now(), row.state
    if row.health != verdict.health:
        row.health, row.updated_at = verdict.health, now
    if seen is not None and verdict.reason is None and seen.power is Power.RUNNING:
        _refresh_addresses(row, seen, now)
    if verdict.event is not None and happened(row, verdict.event, now, reason=verdict.reason):
        if verdict.event is NodeEvent.EVICTED:
            lost = partial(looked, market=_market_of(row), kind=Kind.EVICTION, at=now, answered=False)
            inside(session, f"the eviction of {row.id}", lost)
        told = {"from": before, "to": row.state, "reason": row.reason, "machine": row.machine}
        audit(session, now, "holdfast", "node.state", subject=row.id, **told)


def _lives(row: NodeRow, seen: Observation) -> bool:
    return row.state == NodeState.ACTIVE.value and seen.power is Power.RUNNING


def _market_of(row: NodeRow) -> Market:
    return Market(row.cloud, region_of_location(row.region), row.size or "", row.zone, row.spot)


def _refresh_addresses(row: NodeRow, seen: Observation, now: datetime) -> None:
    assert same_ref(row.machine, seen.ref)
    found = (seen.private_ip or row.private_ip, seen.public_ip or row.public_ip, seen.size or row.size)
    if found != (row.private_ip, row.public_ip, row.size):
        row.private_ip, row.public_ip, row.size = found
        row.updated_at = now


def _watched() -> ColumnElement[bool]:
    return NodeRow.state.in_([state.value for state in WATCHED])

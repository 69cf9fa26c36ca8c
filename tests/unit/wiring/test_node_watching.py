"""Nodes follow what their machines do; what operations do to machines is not mistaken for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.clouds.errors import CloudUnavailable
from holdfast.clouds.protocols import Observation, Power
from holdfast.nodes.states import NodeEvent, NodeState, next_node_state
from holdfast.nodes.watching import WATCHED, judged
from unit.api.api_rig import ApiRig, api_rigs


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)


def node_of(rig: ApiRig) -> dict[str, Any]:
    (node,) = rig.client.get("/v1/nodes").json()
    told: dict[str, Any] = node
    return told


def look(rig: ApiRig) -> dict[str, Any]:
    rig.engine.advance(20)
    return node_of(rig)


def test_evicted_node_is_in_error_and_says_why(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()

    rig.cloud.set_power(node_of(rig)["machine"], Power.DEALLOCATED)
    node = look(rig)

    assert (node["state"], node["reason"], node["health"]) == ("error", "EVICTED", "UNHEALTHY")
    lines = rig.client.get("/v1/audit", params={"action": "node.state"}).json()
    assert lines[-1]["details"]["reason"] == "EVICTED"


def test_node_that_runs_again_is_active_again(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()
    machine = node_of(rig)["machine"]
    rig.cloud.set_power(machine, Power.DEALLOCATED)
    look(rig)

    rig.cloud.set_power(machine, Power.RUNNING)
    node = look(rig)

    assert (node["state"], node["reason"], node["health"]) == ("active", None, "HEALTHY")


def test_machine_on_demand_that_is_switched_off_is_stopped_not_evicted(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported(priority="regular")

    rig.cloud.set_power(node_of(rig)["machine"], Power.DEALLOCATED)

    assert look(rig)["state"] == "stopped"


def test_evicted_machine_that_somebody_started_and_switched_off_again_is_stopped(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()
    rig.cloud.set_power(node_of(rig)["machine"], Power.DEALLOCATED)
    assert look(rig)["reason"] == "EVICTED"

    rig.cloud.set_power(node_of(rig)["machine"], Power.STOPPED)

    assert (look(rig)["state"], node_of(rig)["reason"]) == ("stopped", None)


def test_machine_that_was_deleted_puts_its_node_in_error(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()

    rig.cloud.remove(node_of(rig)["machine"])

    assert (look(rig)["state"], look(rig)["reason"]) == ("error", "MACHINE_GONE")


def test_undo_that_stops_the_node_is_no_eviction(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()
    undoing = rig.client.post(f"/v1/imports/{imported['id']}/undo", json={}).json()

    rig.cloud.set_power(node_of(rig)["machine"], Power.DEALLOCATED)  # as its first steps do
    rig.house.engine.reconcile(next(one for one in rig.engine.registry.reconcilers if one.name == "watch nodes"))

    assert undoing["state"] == "undoing"
    assert node_of(rig)["state"] == "active"


def test_machine_that_came_off_and_is_stopped_after_its_proof_is_no_eviction(rig: ApiRig) -> None:
    rig.cloud.add_machine(power=Power.DEALLOCATED)
    imported = rig.imported()

    assert imported["state"] == "imported"
    assert look(rig)["state"] == "stopped"


def test_cloud_that_does_not_answer_changes_no_node(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()
    rig.cloud.fail("observe", CloudUnavailable(problem="away"), times=1)

    node = look(rig)

    assert node["state"] == "active"


def test_changed_address_is_taken_over(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()
    before = node_of(rig)
    with rig.database.write() as session:
        from holdfast.nodes.records import NodeRow

        session.get_one(NodeRow, before["id"]).private_ip = "10.9.9.9"

    assert look(rig)["private_ip"] == before["private_ip"]


@given(power=st.none() | st.sampled_from(Power), spot=st.booleans(), same=st.booleans(), state=st.sampled_from(WATCHED))
def test_whatever_is_seen_is_an_event_that_every_watched_state_knows(
    power: Power | None, spot: bool, same: bool, state: NodeState
) -> None:
    seen = None
    if power is not None:
        seen = replace(_SEEN, power=power, identity="id-1" if same else "id-2")

    verdict = judged("ID-1", spot, seen)

    if verdict.event is not None:
        after = next_node_state(state, verdict.event)
        assert after in WATCHED
        assert (after is NodeState.ERROR) <= (verdict.reason is not None or state is NodeState.ERROR)
    assert (verdict.event is NodeEvent.MACHINE_RUNS) == (power is Power.RUNNING and same)


_SEEN = Observation(
    ref="/m", name="m", resource_group="g", location="l", zones=(), size="s", priority="Spot", power=Power.RUNNING,
    os="Linux", disks=1,
)  # fmt: skip

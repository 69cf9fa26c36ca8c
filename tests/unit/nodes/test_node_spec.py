"""Which node specifications an import takes, and how each other one is refused."""

from __future__ import annotations

import contextlib
from itertools import product
from typing import Any

import pytest

from holdfast.nodes.spec import parse_node_spec
from holdfast.nodes.spec.errors import SpecRefused
from holdfast.nodes.states import IllegalNodeEvent, NodeEvent, NodeState, next_node_state


def launch(**fields: Any) -> dict[str, Any]:
    return {"compute": {"launchSpecification": fields}}


def refusal(given: dict[str, Any], **how: Any) -> tuple[str, str | None]:
    with pytest.raises(SpecRefused) as refused:
        parse_node_spec(given, **how)
    return refused.value.code, refused.value.about


@pytest.mark.parametrize(
    ("given", "code", "field"),
    [
        ({"colour": "red"}, "UNKNOWN_FIELD", "colour"),
        ({"compute": {"vmSizes": {"sizes": []}}}, "UNKNOWN_FIELD", "compute.vmSizes.sizes"),
        (launch(image={"custom": {"name": "x"}}), "FIELD_LOCKED", "compute.launchSpecification.image"),
        (launch(login={"userName": "ada"}), "FIELD_LOCKED", "compute.launchSpecification.login"),
        (launch(customData="eA=="), "FIELD_LOCKED", "compute.launchSpecification.customData"),
        (launch(shutdownScript="eA=="), "FIELD_LOCKED", "compute.launchSpecification.shutdownScript"),
        ({"strategy": {"odWindows": ["Mon:03:00-Wed:02:30"]}}, "NOT_SUPPORTED_YET", "strategy.odWindows"),
        ({"strategy": {"revertToSpot": "never"}}, "NOT_SUPPORTED_YET", "strategy.revertToSpot"),
        ({"scheduling": {"tasks": [{}]}}, "NOT_SUPPORTED_YET", "scheduling.tasks"),
        ({"health": {"autoHealing": True}}, "NOT_SUPPORTED_YET", "health.autoHealing"),
        ({"persistence": {"shouldPersistOsDisk": False}}, "NOT_SUPPORTED_YET", "persistence.shouldPersistOsDisk"),
        ({"strategy": {"drainingTimeout": 0}}, "INVALID_SPEC", "strategy.drainingTimeout"),
        ({"compute": {"os": "BSD"}}, "INVALID_SPEC", "compute.os"),
        ({"compute": {"zones": ["1"], "preferredZone": "2"}}, "INVALID_SPEC", "compute.preferredZone"),
        (launch(vmName="a b"), "INVALID_SPEC", "compute.launchSpecification.vmName"),
        (launch(vmName="a", vmNamePrefix="b"), "INVALID_SPEC", "compute.launchSpecification.vmNamePrefix"),
        (
            launch(tags=[{"tagKey": "a", "tagValue": "1"}, {"tagKey": "A", "tagValue": "2"}]),
            "INVALID_SPEC",
            "compute.launchSpecification.tags",
        ),
        (launch(tags=[{"tagKey": "holdfast-owner"}]), "INVALID_SPEC", "compute.launchSpecification.tags"),
        (
            {"compute": {"vmSizes": {"spotSizes": ["a"], "preferredSpotSizes": ["b"]}}},
            "INVALID_SPEC",
            "compute.vmSizes.preferredSpotSizes",
        ),
    ],
)
def test_refused_specification_names_code_and_field(given: dict[str, Any], code: str, field: str) -> None:
    assert refusal(given) == (code, field)


def test_network_is_locked_only_when_it_is_kept() -> None:
    card = {"isPrimary": True, "subnetName": "default"}
    network = {"resourceGroupName": "rg", "virtualNetworkName": "vnet", "networkInterfaces": [card]}

    assert parse_node_spec(launch(network=network)).compute is not None
    kept = {**launch(network=network), "persistence": {"shouldPersistNetwork": True}}
    assert refusal(kept) == ("FIELD_LOCKED", "compute.launchSpecification.network")
    assert refusal(launch(network=network), network_kept=True)[0] == "FIELD_LOCKED"


def test_all_problems_of_a_specification_are_told_at_once() -> None:
    given = {**launch(image={"custom": {"name": "x"}}, login={"userName": "ada"}), "health": {"gracePeriod": 120}}

    with pytest.raises(SpecRefused) as refused:
        parse_node_spec(given)

    assert [problem["code"] for problem in refused.value.details["problems"]] == [
        "FIELD_LOCKED",
        "FIELD_LOCKED",
        "NOT_SUPPORTED_YET",
    ]


def test_skeletons_and_nulls_of_clients_say_nothing() -> None:
    given = {
        "statefulNode": {
            "compute": {"launchSpecification": {"loadBalancersConfig": {}}, "zones": None},
            "persistence": {},
            "scheduling": {},
            "strategy": {"availabilityVsCost": None},
        }
    }

    assert parse_node_spec(given).strategy is None


@pytest.mark.parametrize("spelling", ["maxStorage", "MaxStorage"])
def test_both_spellings_of_maximum_storage_are_taken(spelling: str) -> None:
    spec = parse_node_spec({"compute": {"vmSizes": {"spotSizeAttributes": {"minCpu": 2, spelling: 50}}}})

    assert spec.compute is not None
    assert spec.compute.vm_sizes is not None
    assert spec.compute.vm_sizes.spot_size_attributes is not None
    assert spec.compute.vm_sizes.spot_size_attributes.max_storage == 50


def test_vendors_bulk_import_example_is_taken() -> None:
    given = {
        "name": "db",
        "region": "westeurope",
        "resourceGroupName": "rg",
        "compute": {
            "os": "Linux",
            "vmSizes": {"odSizes": ["standard_d2s_v5"], "spotSizes": ["standard_d2s_v5"]},
            "launchSpecification": {"tags": [{"tagKey": "a", "tagValue": "b"}], "vmName": "db"},
        },
        "persistence": {
            "shouldPersistOsDisk": True,
            "osDiskPersistenceMode": "reattach",
            "shouldPersistDataDisks": True,
            "dataDisksPersistenceMode": "reattach",
            "shouldPersistNetwork": True,
        },
    }

    assert parse_node_spec(given).name == "db"


def test_every_pair_of_node_state_and_event_has_an_answer() -> None:
    legal = 0
    for state, event in product(NodeState, NodeEvent):
        with contextlib.suppress(IllegalNodeEvent):
            assert next_node_state(state, event) in NodeState
            legal += 1
    assert legal == 18


@pytest.mark.parametrize("event", list(NodeEvent))
def test_a_deleted_node_takes_no_event(event: NodeEvent) -> None:
    with pytest.raises(IllegalNodeEvent):
        next_node_state(NodeState.DELETED, event)

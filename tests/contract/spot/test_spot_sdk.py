"""Spot's own Python client against the server: what it sends is understood, what it gets it can read."""

from __future__ import annotations

from typing import Any

import pytest

from contract.spot.conftest import Served
from holdfast.clouds.protocols import Agent

sdk = pytest.importorskip("spotinst_sdk2")

from spotinst_sdk2.client import SpotinstClientException  # noqa: E402
from spotinst_sdk2.models import stateful_node as models  # noqa: E402


def client_of(served: Served, account: str = "act-12345678") -> Any:
    session = sdk.SpotinstSession(base_url=served.url, auth_token=served.token, account_id=account)
    return session.client("stateful_node_azure")


def test_import_is_begun_and_its_node_can_be_read_while_it_runs(served: Served) -> None:
    served.rig.cloud.add_machine()
    client = client_of(served)

    begun = client.import_vm_to_stateful_node(
        models.ImportVmConfiguration(original_vm_name="db-1", resource_group_name="rg-1", draining_timeout=30)
    )
    node_id = begun["node"]["id"]

    assert begun["stateful_import_id"].startswith("sin-")
    assert client.get_stateful_node(node_id)["name"] == "db-1"
    assert client.get_stateful_node_status(node_id)["status"] == "importing"
    state = client.get_stateful_node_import_status(begun["stateful_import_id"])["items"][0]
    assert (state["state"], state["stateful_node_id"], state["vm_name"]) == ("ImportStart", node_id, "db-1")


def test_import_ends_as_an_active_node_in_both_spellings_of_lifecycle(served: Served) -> None:
    served.rig.cloud.add_machine()
    client = client_of(served)
    begun = client.import_vm_to_stateful_node(
        models.ImportVmConfiguration(original_vm_name="db-1", resource_group_name="rg-1")
    )

    (shown,) = served.rig.client.get("/v1/imports").json()
    served.rig.run(shown["operation"])

    status = client.get_stateful_node_status(begun["node"]["id"])
    assert (status["status"], status["vm_health_status"], status["lifecycle"]) == ("active", "HEALTHY", "spot")
    assert status["life_cycle"] == "spot"
    assert status["vm_size"].startswith("standard_")
    (one,) = client.get_all_stateful_node_statuses()
    assert one["id"] == begun["node"]["id"]
    ended = client.get_stateful_node_import_status(begun["stateful_import_id"])["items"][0]
    assert ended["state"] == "ImportFinish"


def test_misspelt_retention_of_the_python_client_is_understood(served: Served) -> None:
    served.rig.cloud.add_machine()

    begun = client_of(served).import_vm_to_stateful_node(
        models.ImportVmConfiguration(original_vm_name="db-1", resource_group_name="rg-1", resource_retention_time=48)
    )

    assert begun["resources_retention_time"] == 48


@pytest.mark.parametrize(("sent", "kept", "word"), [(0, 96, "unset"), (1, 24, "floor")])
def test_retention_that_would_delete_the_way_back_is_raised_with_a_warning(
    served: Served, sent: int, kept: int, word: str
) -> None:
    served.rig.cloud.add_machine()
    client = client_of(served)
    wish = models.ImportVmConfiguration(original_vm_name="db-1", resource_group_name="rg-1")
    wish.resources_retention_time = sent

    begun = client.import_vm_to_stateful_node(wish)

    assert begun["resources_retention_time"] == kept
    state = client.get_stateful_node_import_status(begun["stateful_import_id"])["items"][0]
    assert word in state["state_description"]


def test_import_configuration_can_be_edited_and_sent_back(served: Served) -> None:
    served.rig.cloud.add_machine()
    client = client_of(served)

    found = client.get_stateful_node_from_azure_vm("rg-1", "db-1")
    assert "spot_sizes" not in found["compute"]["vm_sizes"]
    assert found["compute"]["vm_sizes"]["spot_size_attributes"]["min_cpu"] == 2
    wish = models.ImportVmConfiguration(original_vm_name="db-1", resource_group_name="rg-1")
    wish.node = {**found, "name": "renamed"}
    begun = client.import_vm_to_stateful_node(wish)

    assert begun["node"]["name"] == "renamed"


def test_unknown_node_is_refused_with_the_code_that_clients_look_for(served: Served) -> None:
    with pytest.raises(SpotinstClientException) as raised:
        client_of(served).get_stateful_node("ssn-00000000")

    assert "GROUP_DOESNT_EXIST" in raised.value.message


def test_unknown_field_is_refused_with_its_whole_path(served: Served) -> None:
    served.rig.cloud.add_machine()
    wish = models.ImportVmConfiguration(original_vm_name="db-1", resource_group_name="rg-1")
    wish.node = {"compute": {"launchSpecification": {"frobnicate": True}}}

    with pytest.raises(SpotinstClientException) as raised:
        client_of(served).import_vm_to_stateful_node(wish)

    assert "UNKNOWN_FIELD" in raised.value.message
    assert "statefulNodeImport.node.compute.launchSpecification.frobnicate" in raised.value.message
    assert served.rig.cloud.events == []


def test_machine_that_nothing_can_prove_is_imported_with_a_warning(served: Served) -> None:
    machine = served.rig.cloud.add_machine()
    served.rig.cloud.agents[machine.lower()] = Agent.ABSENT
    client = client_of(served)

    begun = client.import_vm_to_stateful_node(
        models.ImportVmConfiguration(original_vm_name="db-1", resource_group_name="rg-1")
    )

    state = client.get_stateful_node_import_status(begun["stateful_import_id"])["items"][0]
    assert "WEAK_PROOF" in state["state_description"]


def test_call_that_is_not_served_says_so_in_the_envelope(served: Served) -> None:
    with pytest.raises(SpotinstClientException) as raised:
        client_of(served).update_stateful_node_state("ssn-00000000", "pause")

    assert "NOT_SUPPORTED_YET" in raised.value.message

"""Documents, ids, errors and connections of Azure: pure functions."""

from __future__ import annotations

import gzip
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from fakes.cloud import FakeCloud
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.azure.documents import as_request, document_of, satisfies
from holdfast.clouds.azure.errors import AzureError, azure_error, translated
from holdfast.clouds.azure.ids import parse_id, scopes_of
from holdfast.clouds.azure.losses import LossKind, lost
from holdfast.clouds.azure.powering import next_action
from holdfast.clouds.azure.versions import version_for
from holdfast.clouds.azure.views import agent_of, is_generalized, power_of
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import (
    ChangedMeanwhile,
    CloudBusy,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    CredentialRejected,
    NoCapacity,
    PermissionMissing,
    QuotaExceeded,
    ResourceMissing,
    SubscriptionMissing,
    Throttled,
)
from holdfast.clouds.protocols import Agent, Power, PowerLevel
from holdfast.core.errors import InvalidInput

VM = "/subscriptions/s/resourceGroups/rg-1/providers/Microsoft.Compute/virtualMachines/db-1"


def vm_document() -> Document:
    world = FakeCloud()
    return world.describe(world.add_machine(data_disks=2)).machine


def test_an_id_is_taken_apart_and_keeps_its_spelling() -> None:
    extension = parse_id(
        "/subscriptions/s/resourcegroups/RG/providers/Microsoft.Compute/virtualMachines/v/extensions/e"
    )

    assert (extension.resource_group, extension.type, extension.names) == (
        "RG",
        "Microsoft.Compute/virtualMachines/extensions",
        ("v", "e"),
    )
    assert extension.parent_id == "/subscriptions/s/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/v"


@pytest.mark.parametrize("text", ["", "db-1", "/subscriptions/s", VM + "/extensions", VM.replace("db-1", ""), "x" + VM])
def test_what_is_no_resource_id_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_id(text)


def test_scopes_reach_from_the_resource_to_the_subscription() -> None:
    assert scopes_of(VM + "/extensions/e") == (
        VM + "/extensions/e",
        VM,
        "/subscriptions/s/resourceGroups/rg-1",
        "/subscriptions/s",
    )


def test_every_type_that_is_created_has_an_api_version() -> None:
    assert version_for(VM) == version_for(VM.upper())
    with pytest.raises(InvalidInput):
        version_for(VM.replace("virtualMachines", "toasters"))


def test_a_request_leaves_out_what_azure_alone_may_say_and_nothing_else() -> None:
    vm = vm_document().with_value("properties.somethingNew", {"kept": True})

    sent = as_request(vm)

    assert not {"id", "name", "type", "etag"} & set(sent.body)
    assert not {"vmId", "provisioningState", "timeCreated"} & set(sent.body["properties"])
    assert sent.get("properties.somethingNew.kept") is True
    assert sent.get("properties.storageProfile") == vm.get("properties.storageProfile")
    assert as_request(sent).body == sent.body


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), json_values, max_size=4))
def test_a_document_satisfies_itself_and_more_satisfies_less(properties: dict[str, Any]) -> None:
    wanted = Document(VM, "Microsoft.Compute/virtualMachines", "2024-07-01", {"properties": properties})
    found = wanted.with_value("properties.vmId", "x").with_value("etag", "7")

    assert satisfies(wanted, wanted)
    assert satisfies(found, wanted)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("properties.hardwareProfile.vmSize", "Standard_D4s_v5"),
        ("tags.team", "other"),
        ("properties.storageProfile.dataDisks", []),
        ("properties.priority", None),
    ],
)
def test_a_document_that_differs_in_one_field_does_not_satisfy(path: str, value: Any) -> None:
    wanted = vm_document().with_value("tags.team", "db")

    assert not satisfies(wanted.with_value(path, value), wanted)


def test_ids_and_locations_in_another_case_satisfy() -> None:
    vm = vm_document()

    assert satisfies(vm.with_value("location", "WestEurope"), vm)


def test_the_identity_is_what_tells_a_resource_from_a_later_one() -> None:
    body = {"id": VM, "type": "Microsoft.Compute/virtualMachines", "properties": {"vmId": "ABC"}}

    assert document_of(body, "2024-07-01", datetime(2026, 1, 1, tzinfo=UTC), '"7"').identity == "abc"
    assert document_of({"id": VM, "properties": {}}, "2024-07-01", datetime(2026, 1, 1, tzinfo=UTC)).identity is None


def test_losses_of_a_machine_are_named() -> None:
    vm = vm_document().with_value("identity", {"type": "SystemAssigned, UserAssigned", "principalId": "p"})

    losses = {loss.code: loss.kind for loss in lost(vm)}

    assert losses == {
        "VM_ID": LossKind.REPLACED,
        "TIME_CREATED": LossKind.REPLACED,
        "OS_PROFILE": LossKind.NOT_ACCEPTED,
        "IMAGE_REFERENCE": LossKind.NOT_ACCEPTED,
        "CREATE_OPTION": LossKind.NOT_ACCEPTED,
        "SYSTEM_IDENTITY": LossKind.REPLACED,
    }


def test_protected_settings_of_an_extension_are_unreadable() -> None:
    extension = Document(VM + "/extensions/e", "Microsoft.Compute/virtualMachines/extensions", "x", {"properties": {}})

    assert [loss.code for loss in lost(extension)] == ["PROTECTED_SETTINGS"]


# status, code, message → our class; Azure's words as recorded or documented
ANSWERS: list[tuple[int, str, str, type[CloudError]]] = [
    (409, "AllocationFailed", "Allocation failed. We do not have sufficient capacity …", NoCapacity),
    (409, "ZonalAllocationFailed", "Allocation failed. …", NoCapacity),
    (409, "OverconstrainedAllocationRequest", "…", NoCapacity),
    (
        409,
        "SkuNotAvailable",
        "The requested size … is currently not available in location 'westeurope'.",
        NoCapacity,
    ),
    (409, "OperationNotAllowed", "… results in exceeding approved standardDSv5Family Cores quota.", QuotaExceeded),
    (409, "OperationNotAllowed", "The VM is not a Spot VM.", CloudRefused),
    (409, "QuotaExceeded", "Operation results in exceeding quota limits of Core.", QuotaExceeded),
    (403, "AuthorizationFailed", "The client '…' does not have authorization …", PermissionMissing),
    (403, "LinkedAuthorizationFailed", "…", PermissionMissing),
    (409, "ScopeLocked", "The scope '…' cannot perform delete operation …", CloudRefused),
    (412, "PreconditionFailed", "…", ChangedMeanwhile),
    (412, "ConditionNotMet", "…", ChangedMeanwhile),
    (409, "Conflict", "The request failed due to conflict with a concurrent request.", CloudBusy),
    (429, "RetryableErrorDueToAnotherOperation", "…", CloudBusy),
    (409, "AnotherOperationInProgress", "Another operation on this or dependent resource is in progress.", CloudBusy),
    (400, "NicReservedForAnotherVm", "Nic(s) in request is reserved for another Virtual Machine …", CloudBusy),
    (400, "NicInUse", "Network Interface … is used by existing resource …", CloudRefused),
    (404, "ResourceNotFound", "The Resource '…' under resource group '…' was not found.", ResourceMissing),
    (404, "NotFound", "The entity was not found in this Azure location.", ResourceMissing),
    (404, "SubscriptionNotFound", "The subscription '…' could not be found.", SubscriptionMissing),
    (401, "InvalidAuthenticationToken", "The access token is invalid.", CredentialRejected),
    (429, "TooManyRequests", "…", Throttled),
    (503, "ServerTimeout", "The request timed out.", CloudUnavailable),
    (500, "Surprise", "…", CloudUnavailable),
    (400, "InvalidParameter", "…", CloudRefused),
    (0, "VMExtensionProvisioningError", "…", CloudRefused),
    (0, "AllocationFailed", "…", NoCapacity),
]


@pytest.mark.parametrize(("status", "code", "message", "cls"), ANSWERS)
def test_azures_codes_become_ours_with_its_words_kept(
    status: int, code: str, message: str, cls: type[CloudError]
) -> None:
    error = translated(azure_error({"error": {"code": code, "message": message}}, status), status, VM)

    assert type(error) is cls
    assert error.details == {"cloud_code": code, "message": message, "ref": VM}


def test_a_wrapper_gives_way_to_what_it_wraps() -> None:
    inside = {"code": "AllocationFailed", "message": "no capacity"}
    body = {"error": {"code": "DeploymentFailed", "message": "see details", "details": [inside]}}

    assert type(translated(azure_error(body), 0, VM)) is NoCapacity


@pytest.mark.parametrize("body", [b"", b"<html>Bad Gateway</html>", {}, {"error": "x"}, [], None])
def test_an_answer_without_azures_form_still_becomes_an_error(body: object) -> None:
    assert type(translated(azure_error(body, 502), 502, None)) is CloudUnavailable


def test_an_error_that_is_not_in_an_envelope_is_read_too() -> None:
    assert azure_error({"code": "NotFound", "message": "m"}) == AzureError("NotFound", "m")


def test_the_secret_is_in_no_text_of_a_connection() -> None:
    connection = AzureConnection("s", tenant="t", client_id="c", client_secret="hidden")

    assert "hidden" not in repr(connection) + str(connection.options())
    assert AzureConnection.from_options(connection.options(), "hidden") == connection


@pytest.mark.parametrize(
    ("codes", "power", "generalized"),
    [
        (["ProvisioningState/succeeded", "PowerState/running"], Power.RUNNING, False),
        (["PowerState/deallocating"], Power.CHANGING, False),
        (["PowerState/stopped", "OSState/generalized"], Power.STOPPED, True),
        (["ProvisioningState/updating"], Power.UNKNOWN, False),
    ],
)
def test_power_is_read_from_the_instance_view(codes: list[str], power: Power, generalized: bool) -> None:
    view = {"statuses": [{"code": code} for code in codes]}

    assert power_of(view) is power
    assert is_generalized(view) is generalized


def test_an_agent_without_a_ready_status_is_not_ready() -> None:
    assert agent_of({"vmAgent": {"statuses": [{"displayStatus": "Not Ready"}]}}) is Agent.NOT_READY
    assert agent_of({"vmAgent": {"statuses": [{"displayStatus": "Ready"}]}}) is Agent.READY
    assert agent_of({}) is Agent.ABSENT


@given(st.sampled_from([Power.RUNNING, Power.STOPPED, Power.DEALLOCATED]), st.sampled_from(list(PowerLevel)))
def test_following_the_next_action_reaches_every_level(power: Power, level: PowerLevel) -> None:
    effects = {"start": Power.RUNNING, "powerOff": Power.STOPPED, "deallocate": Power.DEALLOCATED}
    steps = 0
    while (action := next_action(power, level)) is not None:
        power, steps = effects[action], steps + 1
        assert steps <= 2

    assert power.value == level.value


_RECORDED_ERROR = re.compile(r"string: ('\{\"error\".*?(?<!')'(?!'))", re.DOTALL)


def recorded() -> Iterator[tuple[str, dict[str, Any]]]:
    """Error bodies of real Azure, as YAML scalars that may run over several lines."""
    shared = Path(os.environ.get("HOLDFAST_SHARED", Path(__file__).parents[4] / "shared"))
    for file in sorted((shared / "contracts" / "recordings").glob("azcli-2021-01/*.yaml.gz")):
        for scalar in _RECORDED_ERROR.findall(gzip.decompress(file.read_bytes()).decode()):
            yield file.name, json.loads(yaml.safe_load(scalar))


def test_every_recorded_error_has_azures_words_in_it() -> None:
    found = list(recorded())
    if not found:
        pytest.skip("the recordings are not on this machine")

    for name, body in found:
        error = translated(azure_error(body, 409), 409, VM)
        assert error.details["cloud_code"] not in ("", "HTTP409"), name
        assert error.details["message"], name

"""Reading Azure: machines and all they own, lists, permissions, checks, quota and prices."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError

from fakes.arm import WireFault
from fakes.cloud import DISKS, SNAPSHOTS
from holdfast.clouds.azure.checking import quota_findings
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.azure.identity import credential_for
from holdfast.clouds.azure.permissions import missing
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import CloudRefused, CloudUnavailable, CredentialRejected, PermissionMissing
from holdfast.clouds.protocols import Agent, Headroom, Power, Probe, Severity
from holdfast.core.errors import InvalidInput, NotFound


def lock(scope: str, name: str = "keep") -> Document:
    ref = f"{scope}/providers/Microsoft.Authorization/locks/{name}"
    return Document(ref, "Microsoft.Authorization/locks", "x", {"id": ref, "properties": {"level": "CanNotDelete"}})


def test_describe_reads_the_machine_and_all_it_owns(stage: Any) -> None:
    ref = stage.world.add_machine(data_disks=2)

    facts = stage.cloud.describe(ref)

    assert facts.power is Power.RUNNING
    assert facts.agent is Agent.READY
    assert [disk.lun for disk in facts.disks] == [None, 0, 1]
    assert all(disk.document.identity for disk in facts.disks)
    assert facts.nics[0].get("properties.virtualMachine.id") == ref
    assert facts.public_ips[0].get("properties.ipAddress")
    assert facts.size["name"] == "Standard_D2s_v5"
    assert facts.machine.body == {**stage.world.read(ref).body, "etag": facts.machine.etag}


def test_describe_asks_for_user_data_so_that_a_rewrite_keeps_it(stage: Any) -> None:
    ref = stage.world.add_machine()

    stage.cloud.describe(ref)

    asked = [one.query.get("$expand") for one in stage.arm.seen if one.path == ref]
    assert asked == ["userData"]


def test_describe_of_an_absent_machine_is_not_found(stage: Any) -> None:
    with pytest.raises(NotFound):
        stage.cloud.describe(stage.cloud.ref_of("rg-1", "nobody"))


def test_describe_shows_locks_on_the_machine_its_parts_and_above_only(stage: Any) -> None:
    ref = stage.world.add_machine()
    group = ref.partition("/providers/")[0]
    disk = stage.world.refs(DISKS)[0]
    theirs = group.replace("rg-1", "rg-2")
    stage.world.locks = [lock(ref, "a"), lock(disk, "b"), lock(group, "c"), lock(theirs, "d"), lock(ref + "-2", "e")]

    facts = stage.cloud.describe(ref)

    assert [found.name for found in facts.locks] == ["a", "b", "c"]


def test_describe_without_the_right_to_read_role_assignments_shows_none(stage: Any) -> None:
    ref = stage.world.add_machine()
    stage.world.change(ref, "identity", {"type": "SystemAssigned", "principalId": "p-1"})
    stage.arm.faults.append(WireFault("GET", "roleAssignments", "refuse", 403, "AuthorizationFailed"))

    assert stage.cloud.describe(ref).role_assignments == ()


def test_observe_takes_four_lists_however_many_machines_there_are(stage: Any) -> None:
    for number in range(5):
        stage.world.add_machine(f"m-{number}", power=Power.DEALLOCATED if number == 3 else Power.RUNNING)
    stage.world.add_machine("elsewhere", "rg-2", public_ip=False)

    seen = {one.name: one for one in stage.cloud.observe()}

    assert len(stage.arm.seen) == 4
    assert seen["m-3"].power is Power.DEALLOCATED
    assert seen["m-1"].public_ip
    assert seen["elsewhere"].public_ip is None
    assert seen["elsewhere"].private_ip
    assert [one.name for one in stage.cloud.observe("RG-2")] == ["elsewhere"]


def test_lists_are_read_to_their_last_page(stage: Any) -> None:
    stage.arm.page_size = 2
    for number in range(5):
        stage.world.add_machine(f"m-{number}")

    assert len(list(stage.cloud.observe())) == 5


def test_a_list_that_points_to_another_host_is_not_followed(stage: Any) -> None:
    stage.arm.page_size = 1
    stage.world.add_machine("m-0")
    stage.world.add_machine("m-1")
    stage.arm.url = "http://localhost.example:1"

    with pytest.raises(CloudRefused) as caught:
        list(stage.cloud.observe())

    assert caught.value.details["cloud_code"] == "ForeignUrl"


def test_find_returns_every_resource_with_all_the_tags(stage: Any) -> None:
    machine = stage.world.add_machine(tags={"Holdfast-Operation": "op-1", "holdfast-role": "original"})
    disk, other = stage.world.refs(DISKS)[:2]
    stage.world.change(disk, "tags", {"holdfast-operation": "op-1", "holdfast-role": "original"})
    stage.world.change(other, "tags", {"holdfast-operation": "op-1"})

    found = stage.cloud.find({"holdfast-operation": "op-1", "holdfast-role": "original"})

    assert {one.ref for one in found} == {machine, disk}


def test_a_read_survives_failures_that_pass(stage: Any) -> None:
    ref = stage.world.add_machine()
    stage.arm.faults += [
        WireFault("GET", "db-1", "drop"),
        WireFault("GET", "db-1", "refuse", 503, "ServiceUnavailable"),
        WireFault("GET", "db-1", "refuse", 429, "TooManyRequests", headers={"Retry-After": "3"}),
    ]

    assert stage.cloud.read(ref) is not None


def test_a_read_that_never_gets_through_ends_as_unavailable(stage: Any) -> None:
    stage.arm.faults.append(WireFault("GET", "db-1", "refuse", 502, "BadGateway", times=99))

    with pytest.raises(CloudUnavailable):
        stage.cloud.read(stage.cloud.ref_of("rg-1", "db-1"))


def test_a_forbidden_read_is_a_missing_permission(stage: Any) -> None:
    stage.arm.faults.append(WireFault("GET", "db-1", "refuse", 403, "AuthorizationFailed"))

    with pytest.raises(PermissionMissing):
        stage.cloud.read(stage.cloud.ref_of("rg-1", "db-1"))


def test_sizes_are_virtual_machines_only_and_kept_for_ten_minutes(stage: Any) -> None:
    first = stage.cloud.sizes("westeurope")
    stage.cloud.sizes("West Europe")
    stage.clock.advance(timedelta(minutes=11))
    stage.cloud.sizes("westeurope")

    assert {size["resourceType"] for size in first} == {"virtualMachines"}
    assert len([one for one in stage.arm.seen if one.path.endswith("/skus")]) == 2


@pytest.mark.parametrize(
    ("grants", "lacking"),
    [
        ([{"actions": ["*"]}], []),
        ([{"actions": ["*/read"]}], ["Microsoft.Compute/disks/write"]),
        ([{"actions": ["microsoft.compute/*"]}], []),
        ([{"actions": ["*"], "notActions": ["Microsoft.Compute/disks/*"]}], ["both"]),
        (
            [{"actions": ["*"], "notActions": ["Microsoft.Compute/*"]}, {"actions": ["Microsoft.Compute/*/write"]}],
            ["read"],
        ),
        ([], ["both"]),
        ([{"actions": ["Microsoft.Compute/disks/rea"]}], ["both"]),
    ],
)
def test_missing_permissions_follow_wildcards_and_not_actions(grants: list[Any], lacking: list[str]) -> None:
    read, write = "Microsoft.Compute/disks/read", "Microsoft.Compute/disks/write"
    expected = {"both": [read, write], "read": [read]}.get(lacking[0] if lacking else "", lacking)

    assert list(missing(grants, [read, write])) == expected


def test_check_of_a_good_cloud_finds_nothing(stage: Any) -> None:
    stage.world.add_machine()
    stage.world.quota = [Headroom("cores", 10, 100), Headroom("lowPriorityCores", 0, 100)]

    assert stage.cloud.check() == ()


def test_check_names_everything_that_is_wrong(stage: Any) -> None:
    stage.world.add_machine()
    stage.world.quota = [Headroom("cores", 99, 100), Headroom("standardDSv5Family", 99, 100)]
    stage.arm.permissions = [{"actions": ["*"], "notActions": ["Microsoft.Compute/snapshots/write"]}]
    stage.arm.registration["microsoft.network"] = "NotRegistered"
    stage.arm.headers["Date"] = "Mon, 05 Jan 2026 09:06:00 GMT"

    found = {finding.code: finding for finding in stage.cloud.check()}

    assert set(found) == {"CLOCK_OFFSET", "PERMISSION_MISSING", "PROVIDER_NOT_REGISTERED", "QUOTA_LOW"}
    assert found["PERMISSION_MISSING"].about == "Microsoft.Compute/snapshots/write"
    assert found["PROVIDER_NOT_REGISTERED"].severity is Severity.REFUSAL


def test_check_with_a_rejected_credential_says_only_that(stage: Any) -> None:
    stage.arm.faults.append(WireFault("GET", "", "refuse", 401, "InvalidAuthenticationToken", times=99))

    assert [finding.code for finding in stage.cloud.check()] == ["CREDENTIAL"]


def test_a_rejected_token_is_renewed_once_and_then_given_up(stage: Any) -> None:
    ref = stage.world.add_machine()
    stage.arm.faults.append(WireFault("GET", "", "refuse", 401, "ExpiredAuthenticationToken"))
    assert stage.cloud.read(ref) is not None
    stage.arm.seen.clear()
    stage.arm.faults.append(WireFault("GET", "", "refuse", 401, "ExpiredAuthenticationToken", times=99))

    with pytest.raises(CredentialRejected):
        stage.cloud.read(ref)

    assert len(stage.arm.seen) == 2


def test_many_threads_share_one_client(stage: Any) -> None:
    refs = [stage.world.add_machine(f"m-{number}") for number in range(8)]

    with ThreadPoolExecutor(8) as threads:
        facts = list(threads.map(stage.cloud.describe, refs * 3))

    assert [one.machine.ref for one in facts] == refs * 3
    assert len([one for one in stage.arm.seen if one.path.endswith("/skus")]) == 1


def test_a_token_is_never_asked_for_over_http() -> None:
    with pytest.raises(InvalidInput):
        credential_for(
            AzureConnection("s", tenant="t", client_id="c", client_secret="x", endpoint="http://127.0.0.1:1")
        )


def test_a_service_principal_and_the_default_chain_need_no_public_host() -> None:
    options = {"endpoint": "https://127.0.0.1:1", "authority": "https://127.0.0.1:2"}
    principal = credential_for(AzureConnection("s", tenant="t", client_id="c", client_secret="x", **options))
    chain = credential_for(AzureConnection("s", **options))

    try:
        assert type(principal).__name__ == "ClientSecretCredential"
        assert type(chain).__name__ == "DefaultAzureCredential"
        with pytest.raises(ClientAuthenticationError) as caught:
            principal.get_token("https://127.0.0.1:1/.default")
        assert "127.0.0.1" in str(caught.value)
    finally:
        principal.close()
        chain.close()


def test_quota_is_low_only_in_the_pools_that_every_machine_needs() -> None:
    pools = (Headroom("cores", 97, 100), Headroom("lowPriorityCores", 4, 8), Headroom("standardBSFamily", 9, 10))

    assert [finding.about for finding in quota_findings("westeurope", pools)] == ["westeurope/cores"]


def item(sku: str, price: float, **changes: Any) -> dict[str, Any]:
    return {
        "serviceName": "Virtual Machines",
        "type": "Consumption",
        "currencyCode": "USD",
        "unitOfMeasure": "1 Hour",
        "armSkuName": sku,
        "skuName": sku,
        "meterName": sku,
        "productName": "Virtual Machines Dsv5 Series",
        "retailPrice": price,
        **changes,
    }


def test_prices_tell_spot_and_windows_by_name_and_skip_what_is_no_machine(stage: Any) -> None:
    stage.arm.price_items = [
        item("Standard_D2s_v5", 0.1),
        item("Standard_D2s_v5", 0.02, skuName="D2s v5 Spot", meterName="D2s v5 Spot"),
        item("Standard_D2s_v5", 0.2, productName="Virtual Machines Dsv5 Series Windows"),
        item("Standard_D2s_v5", 0.03, meterName="D2s v5 Low Priority"),
        item("Standard_D2s_v5", 500.0, type="Reservation"),
        item("Standard_D2s_v5", 0.09, productName="Dsv5 Series Cloud Services"),
        item("Standard_D2s_v5", 0.0),
    ]

    found = {(p.os, p.spot): p.usd_per_hour for p in stage.cloud.prices("westeurope")}

    assert found == {("Linux", False): 0.1, ("Linux", True): 0.02, ("Windows", False): 0.2}


def test_the_price_list_is_never_given_a_credential(stage: Any) -> None:
    stage.arm.price_items = [item("Standard_D2s_v5", 0.1)]

    stage.cloud.prices("westeurope")
    stage.cloud.prices("westeurope")

    asked = [one for one in stage.arm.seen if one.path == "/api/retail/prices"]
    assert len(asked) == 1
    assert "authorization" not in asked[0].headers
    assert "armRegionName eq 'westeurope'" in asked[0].query["$filter"]


def test_a_probe_uses_the_public_address_and_its_failure_is_a_result(stage: Any) -> None:
    ref = stage.world.add_machine()
    address = stage.world.refs("Microsoft.Network/publicIPAddresses")[0]
    stage.world.change(address, "properties.ipAddress", "127.0.0.1")
    port = int(stage.arm.url.rsplit(":", 1)[1])

    passed = stage.cloud.probe(ref, Probe(f"tcp://:{port}"))
    answered = stage.cloud.probe(ref, Probe(f"http://:{port}/subscriptions/11111111-2222-3333-4444-555555555555"))
    refused = stage.cloud.probe(ref, Probe("tcp://:1"))
    missing_page = stage.cloud.probe(ref, Probe(f"http://:{port}{ref}-nobody"))

    assert passed.passed
    assert answered.passed
    assert not refused.passed
    assert not missing_page.passed


@pytest.mark.parametrize("url", ["ssh://:22", "tcp://:", "tcp://host", "http://:99999/"])
def test_a_probe_that_makes_no_sense_is_refused(stage: Any, url: str) -> None:
    with pytest.raises(InvalidInput):
        stage.cloud.probe(stage.cloud.ref_of("rg-1", "db-1"), Probe(url))


def test_names_with_strange_letters_cannot_reach_another_path(stage: Any) -> None:
    ref = stage.cloud.ref_of("rg-1", "../../evil?x=1")

    assert ref.endswith("/virtualMachines/..%2F..%2Fevil%3Fx%3D1")


def test_when_many_wait_one_list_stands_for_their_questions(stage_with: Callable[..., Any]) -> None:
    from holdfast.clouds.azure import waiting

    stage = stage_with(polls=6)
    ref = stage.world.ref("rg-1", SNAPSHOTS, "s-1")
    waiter = stage.cloud._writer._waiter
    with waiter._lock:
        waiter._crowds[SNAPSHOTS.lower()] = waiting._Crowd(waiting=waiting._MANY)
    body = {"location": "westeurope", "tags": {"holdfast-operation": "op-1"}, "properties": {}}

    stage.cloud.ensure(stage.call, Document(ref, SNAPSHOTS, "2024-03-02", body))

    lists = [one for one in stage.arm.seen if one.path.endswith("/snapshots")]
    questions = [one for one in stage.arm.seen if one.path.startswith("/operations/")]
    assert len(lists) >= 2
    assert len(questions) == 1

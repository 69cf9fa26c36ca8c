"""What every Spot client depends on: codes, envelope, counts, times, and that secrets stay where they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.nodes.records import NodeRow
from unit.api.api_rig import SUBSCRIPTION, ApiRig, api_rigs

N = "/azure/compute/statefulNode"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)


def begin(rig: ApiRig, **more: Any) -> dict[str, Any]:
    body = {"statefulNodeImport": {"originalVmName": "db-1", "resourceGroupName": "rg-1", **more}}
    answer = rig.client.post(f"{N}/import", json=body)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()["response"]["items"][0]
    return told


def refused(rig: ApiRig, **more: Any) -> list[dict[str, Any]]:
    body = {"statefulNodeImport": {"originalVmName": "db-1", "resourceGroupName": "rg-1", **more}}
    answer = rig.client.post(f"{N}/import", json=body)
    assert answer.status_code == 400, answer.text
    assert rig.cloud.events == []
    assert rig.client.get("/v1/imports").json() == []
    errors: list[dict[str, Any]] = answer.json()["response"]["errors"]
    return errors


@pytest.mark.parametrize("path", ["", "/status"])
def test_empty_list_is_an_envelope_with_count_nought(rig: ApiRig, path: str) -> None:
    told = rig.client.get(N + path).json()

    assert told["response"] == {
        "status": {"code": 200, "message": "OK"},
        "kind": "spotinst:azure:statefulNode" + (":status" if path else ""),
        "items": [],
        "count": 0,
    }
    assert told["request"]["method"] == "GET"
    assert TIME.fullmatch(told["request"]["timestamp"])


def test_count_is_the_number_of_items(rig: ApiRig) -> None:
    for name in ("db-1", "db-2", "db-3"):
        rig.cloud.add_machine(name)
        begin(rig, originalVmName=name)

    for path in ("", "/status"):
        response = rig.client.get(N + path).json()["response"]
        assert response["count"] == len(response["items"]) == 3
    assert rig.client.get(N, params={"name": "db-2"}).json()["response"]["count"] == 1


@pytest.mark.parametrize("token", [None, "hft_made-up"])
def test_missing_or_unknown_token_is_401_in_the_envelope(rig: ApiRig, token: str | None) -> None:
    answer = rig.as_(token).get(N)

    assert answer.status_code == 401
    assert answer.json()["response"]["errors"][0]["code"] == "token.rejected"


def test_viewer_who_imports_is_refused_with_400_in_the_envelope(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    body = {"statefulNodeImport": {"originalVmName": "db-1", "resourceGroupName": "rg-1"}}

    answer = rig.token("eyes", "viewer").post(f"{N}/import", json=body)

    assert answer.status_code == 400
    assert answer.json()["response"]["errors"][0]["code"] == "token.not_allowed"


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/ssn-1"), ("GET", "/ssn-1/status"), ("GET", "/import/sin-1/status"), ("POST", ""), ("GET", "/cost"),
     ("PUT", "/ssn-1/state"), ("DELETE", "/ssn-1"), ("GET", "/ssn-1/log"), ("GET", "/import")],
)  # fmt: skip
def test_whatever_is_wrong_is_400_with_a_code_and_a_message(rig: ApiRig, method: str, path: str) -> None:
    answer = rig.client.request(method, N + path, json={})

    (error,) = answer.json()["response"]["errors"]
    assert answer.status_code == 400
    assert error["code"]
    assert error["message"]
    assert answer.json()["response"]["status"] == {"code": 400, "message": "Bad Request"}


def test_body_that_is_no_import_is_refused_in_the_envelope(rig: ApiRig) -> None:
    for content in (b"", b"{", b"[]", b'"x"', b'{"statefulNodeImport": 7}'):
        answer = rig.client.post(f"{N}/import", content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, content
        assert answer.json()["response"]["errors"][0]["code"] == "input.invalid"


@pytest.mark.parametrize("content", [b"{bad", b""])
def test_body_that_is_no_json_is_told_as_such(rig: ApiRig, content: bytes) -> None:
    answer = rig.client.post(f"{N}/import", content=content, headers={"Content-Type": "application/json"})

    assert answer.status_code == 400
    assert [(one["code"], one["field"]) for one in answer.json()["response"]["errors"]] == [("input.invalid", "body")]


def test_calls_of_spots_azure_api_beside_the_nodes_are_refused_by_name_too(rig: ApiRig) -> None:
    answer = rig.client.post("/azure/compute/vm/signal", json={})

    assert answer.status_code == 400
    [error] = answer.json()["response"]["errors"]
    assert error["code"] == "CALL_NOT_SUPPORTED_YET"
    assert "/azure/compute/vm/signal" in error["message"]
    assert rig.as_(None).post("/azure/compute/vm/signal", json={}).status_code == 401


def test_messages_are_whole_sentences(rig: ApiRig) -> None:
    rig.cloud.add_machine()

    [error] = refused(rig, drainingTimeout=1801)

    assert "1800. Correct " in error["message"]


def test_warning_about_the_retention_is_no_reason_of_a_rollback(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    begun = begin(rig, resourcesRetentionTime=5)

    [status] = rig.client.get(f"{N}/{begun['node']['id']}/status").json()["response"]["items"]
    [about] = rig.client.get(f"{N}/import/{begun['statefulImportId']}/status").json()["response"]["items"]

    assert "rollbackReason" not in status
    assert "kept for 24 h" in about["stateDescription"]


def test_skeletons_of_terraform_are_tolerated(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    node = {
        "strategy": {"fallbackToOd": True, "availabilityVsCost": None},
        "compute": {"zones": None, "launchSpecification": {"loadBalancersConfig": {}}},
        "persistence": {},
        "scheduling": {},
    }

    told = begin(rig, node=node, drainingTimeout=0, resourcesRetentionTime=0)

    assert told["resourcesRetentionTime"] == 96
    assert "scheduling" not in told["node"]


def test_what_can_only_be_written_never_comes_back(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    told = begin(rig)
    secret = {
        "login": {"userName": "me", "password": "hidden-words"},
        "shutdownScript": "hidden-words",
        "extensions": [{"name": "monitor", "protectedSettings": {"key": "hidden-words"}}],
    }
    with rig.database.write() as session:
        row = session.get_one(NodeRow, told["node"]["id"])
        row.spec = {**row.spec, "compute": {**row.spec["compute"], "launchSpecification": secret}}

    read = rig.client.get(f"{N}/{told['node']['id']}")
    ours = rig.client.get(f"/v1/nodes/{told['node']['id']}")

    assert all("hidden-words" not in text for text in (read.text, ours.text, rig.client.get(N).text))
    launch = read.json()["response"]["items"][0]["compute"]["launchSpecification"]
    assert launch == {"login": {"userName": "me"}, "extensions": [{"name": "monitor"}]}


def test_refused_secret_is_not_repeated_in_the_refusal(rig: ApiRig) -> None:
    rig.cloud.add_machine()

    (error,) = refused(rig, node={"compute": {"launchSpecification": {"login": {"password": "hidden-words"}}}})

    assert error["code"] == "FIELD_LOCKED"
    assert "hidden-words" not in str(error)


def test_times_are_rfc_3339_with_z_because_go_cannot_parse_offsets(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    node = begin(rig)["node"]
    status = rig.client.get(f"{N}/{node['id']}/status").json()["response"]["items"][0]

    for one in (node, status):
        assert TIME.fullmatch(one["createdAt"])
        assert TIME.fullmatch(one["updatedAt"])


def test_network_of_the_node_decides_what_happens_to_the_original(rig: ApiRig) -> None:
    rig.cloud.add_machine()

    begin(rig, node={"persistence": {"shouldPersistNetwork": True}})

    (row,) = rig.client.get("/v1/imports").json()
    plan = rig.client.get(f"/v1/imports/{row['id']}/plan").json()
    assert plan["options"]["network"] == "keep"
    assert plan["successor_name"] == "db-1"


def test_identity_changes_are_refused_with_the_command_that_can_accept_them(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    rig.cloud.change(machine, "identity", {"type": "SystemAssigned", "principalId": "p", "tenantId": "t"})

    (error,) = refused(rig, node={"persistence": {"shouldPersistNetwork": True}})

    assert error["code"] == "IDENTITY_CHANGES"
    assert "holdfast import start rg-1/db-1 --accept IDENTITY_CHANGES" in error["message"]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"originalVmName": ""}, "statefulNodeImport.originalVmName"),
        ({"resourceGroupName": None}, "statefulNodeImport.resourceGroupName"),
        ({"drainingTimeout": 1801}, "statefulNodeImport.drainingTimeout"),
        ({"drainingTimeout": "5"}, "statefulNodeImport.drainingTimeout"),
        ({"resourcesRetentionTime": 732}, "statefulNodeImport.resourcesRetentionTime"),
        ({"convertUnmanagedDisks": "yes"}, "statefulNodeImport.convertUnmanagedDisks"),
        ({"node": []}, "statefulNodeImport.node"),
        ({"frobnicate": 1}, "statefulNodeImport.frobnicate"),
    ],
)
def test_wrong_value_is_refused_with_its_path(rig: ApiRig, more: dict[str, Any], field: str) -> None:
    rig.cloud.add_machine()

    (error,) = refused(rig, **more)

    assert error["field"] == field


def test_account_names_a_cloud_where_there_are_several(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.clouds.add("other", "azure", {"subscription": "s-2", "endpoint": "https://127.0.0.1:9"})
    body = {"statefulNodeImport": {"originalVmName": "db-1", "resourceGroupName": "rg-1"}}

    vague = rig.client.post(f"{N}/import", json=body, params={"accountId": "act-12345678"})
    by_subscription = rig.client.post(f"{N}/import", json=body, params={"accountId": SUBSCRIPTION.upper()})

    assert vague.json()["response"]["errors"][0]["field"] == "query.accountId"
    assert by_subscription.status_code == 200
    assert rig.client.get(N, params={"accountId": "other"}).json()["response"]["count"] == 0
    assert rig.client.get(N, params={"accountId": "lab"}).json()["response"]["count"] == 1

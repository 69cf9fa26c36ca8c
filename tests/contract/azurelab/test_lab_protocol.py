"""The ARM protocol itself: versions, ids, operations, faults, throttling, and state that survives a kill -9."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.exceptions import HttpResponseError

from azurelab import processes
from azurelab.app import Lab

WEST = "westeurope"


def _pip(clients: Any, name: str) -> str:
    return f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Network/publicIPAddresses/{name}"


def _vnet(clients: Any, name: str = "net") -> str:
    return f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/{name}"


_PIP = {"location": WEST, "sku": {"name": "Standard"}, "properties": {}}


# -- requests -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize(
    ("version", "status", "code"),
    [
        ("", 400, "MissingApiVersionParameter"),
        ("?api-version=", 400, "MissingApiVersionParameter"),
        ("?api-version=soon", 400, "InvalidApiVersionParameter"),
        ("?api-version=2015-06-14", 400, "NoRegisteredProviderFound"),
        ("?api-version=2026-04-02", 400, "NoRegisteredProviderFound"),
        ("?api-version=2015-06-15", 404, "ResourceNotFound"),
        ("?api-version=2026-04-01", 404, "ResourceNotFound"),
        ("?api-version=2021-03-01-preview", 404, "ResourceNotFound"),
    ],
)
def test_api_versions_are_answered_inside_the_window_only(clients: Any, version: str, status: int, code: str) -> None:
    answer = clients.http.get(_pip(clients, "none") + version)

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        (
            "/subscriptions/{s}/resourceGroups/nope/providers/Microsoft.Network/virtualNetworks/v",
            404,
            "ResourceGroupNotFound",
        ),
        ("/subscriptions/{s}/resourceGroups/rg/providers/Microsoft.Nothing/things/t", 404, "InvalidResourceNamespace"),
        ("/subscriptions/{s}/resourceGroups/rg/providers/Microsoft.Network/things/t", 404, "InvalidResourceType"),
        ("/subscriptions/11111111-1111-1111-1111-111111111111/resourceGroups/rg", 404, "SubscriptionNotFound"),
        ("/subscriptions/me/resourceGroups/rg", 400, "InvalidSubscriptionId"),
        ("/subscriptions/{s}/resourceGroups/nope", 404, "ResourceGroupNotFound"),
    ],
)
@pytest.mark.usefixtures("group")
def test_what_is_not_there_is_named_as_azure_names_it(clients: Any, path: str, status: int, code: str) -> None:
    answer = clients.call("GET", path.format(s=clients.lab.subscription))

    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


@pytest.mark.usefixtures("group")
def test_paths_match_without_case_and_ids_stay_as_their_creator_wrote_them(clients: Any) -> None:
    clients.call("PUT", _pip(clients, "MyAddress"), _PIP)

    other = _pip(clients, "MYADDRESS").replace("resourceGroups", "RESOURCEGROUPS").replace("publicIP", "PUBLICip")
    found = clients.call("GET", other).json()
    again = clients.call("PUT", other, _PIP).json()

    assert found["name"] == again["name"] == "MyAddress"
    assert found["id"] == again["id"] == _pip(clients, "MyAddress")


@pytest.mark.usefixtures("group")
def test_unknown_properties_are_preserved_and_nulls_count_as_absent(clients: Any) -> None:
    body = {**_PIP, "properties": {"futureThing": {"a": [1, {"b": "c"}]}, "idleTimeoutInMinutes": None}, "extra": 7}
    clients.call("PUT", _pip(clients, "p"), body)

    found = clients.call("GET", _pip(clients, "p")).json()

    assert found["properties"]["futureThing"] == {"a": [1, {"b": "c"}]}
    assert found["properties"]["idleTimeoutInMinutes"] == 4
    assert found["extra"] == 7


@pytest.mark.usefixtures("group")
def test_every_answer_carries_azures_headers(clients: Any) -> None:
    answer = clients.call("GET", _pip(clients, "p"), x_ms_client_request_id="mine")

    assert answer.headers["x-ms-client-request-id"] == "mine"
    for name in ("x-ms-request-id", "x-ms-correlation-request-id", "date"):
        assert answer.headers[name]


@pytest.mark.usefixtures("group")
def test_lists_come_in_pages_that_the_sdk_follows(lab: Lab, clients: Any) -> None:
    for number in range(5):
        clients.call("PUT", _pip(clients, f"p{number}"), _PIP)
    lab.store.set_setting("paging.size", 2)

    first = clients.call("GET", _pip(clients, "").rstrip("/")).json()
    names = [p.name for p in clients.network.public_ip_addresses.list("rg")]

    assert len(first["value"]) == 2
    assert "nextLink" in first
    assert names == [f"p{n}" for n in range(5)]


def test_a_body_that_is_no_json_is_refused(clients: Any, group: str) -> None:
    answer = clients.http.put(_pip(clients, "p") + "?api-version=2024-05-01", content=b"{no")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestContent")


# -- long-running operations --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("group")
def test_with_the_azure_profile_operations_take_their_time_by_the_labs_clock(lab: Lab, clients: Any) -> None:
    lab.clock.set_rate(0)
    lab.time.set("azure")

    made = clients.done(
        clients.call(
            "PUT",
            _vnet(clients),
            {"location": WEST, "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}},
        )
    )
    creating = clients.call("GET", _vnet(clients)).json()["properties"]["provisioningState"]
    lab.clock.advance(60)
    deadline = time.monotonic() + 10
    while lab.operations.unfinished() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert made.json()["status"] == "InProgress"
    assert int(made.headers["retry-after"]) >= 1
    assert creating == "Updating"
    assert clients.call("GET", _vnet(clients)).json()["properties"]["provisioningState"] == "Succeeded"


@pytest.mark.usefixtures("group")
def test_location_answers_202_until_done_and_then_the_result(lab: Lab, clients: Any) -> None:
    lab.clock.set_rate(0)
    clients.call("PUT", _pip(clients, "p"), _PIP)
    lab.time.set("azure")
    url = clients.call("DELETE", _pip(clients, "p")).headers["location"]

    waiting = clients.http.get(url)
    lab.clock.advance(60)
    deadline = time.monotonic() + 10
    while (answer := clients.http.get(url)).status_code == 202 and time.monotonic() < deadline:
        time.sleep(0.01)

    assert waiting.status_code == 202
    assert answer.status_code == 204
    assert clients.call("GET", _pip(clients, "p")).status_code == 404


@pytest.mark.usefixtures("group")
def test_what_is_being_deleted_takes_nothing_but_another_delete(lab: Lab, clients: Any) -> None:
    lab.clock.set_rate(0)
    clients.call("PUT", _pip(clients, "p"), _PIP)
    lab.time.set("azure")
    first = clients.call("DELETE", _pip(clients, "p"))

    refused = clients.call("PUT", _pip(clients, "p"), _PIP)
    second = clients.call("DELETE", _pip(clients, "p"))
    lab.clock.advance(60)
    deadline = time.monotonic() + 10
    while lab.operations.unfinished() and time.monotonic() < deadline:
        time.sleep(0.01)

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "AnotherOperationInProgress")
    assert [clients.done(a).json()["status"] for a in (first, second)] == ["Succeeded", "Succeeded"]
    assert clients.call("PUT", _pip(clients, "p"), _PIP).status_code == 201


# -- faults -------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("group")
def test_an_error_fault_hits_the_nth_call_only_and_changes_nothing(lab: Lab, clients: Any) -> None:
    lab.faults.add("error", method="PUT", path="publicIPAddresses", nth=2, status=503, code="ServerTimeout")

    answers = [clients.call("PUT", _pip(clients, f"p{n}"), _PIP) for n in range(3)]

    assert [a.status_code for a in answers] == [201, 503, 201]
    assert answers[1].json()["error"]["code"] == "ServerTimeout"
    assert clients.call("GET", _pip(clients, "p1")).status_code == 404


@pytest.mark.usefixtures("group")
def test_a_throttle_fault_says_when_to_come_back(lab: Lab, clients: Any) -> None:
    lab.faults.add("throttle", path="publicIPAddresses", retry_after=7)

    answer = clients.call("GET", _pip(clients, "p"))

    assert (answer.status_code, answer.headers["retry-after"]) == (429, "7")


@pytest.mark.usefixtures("group")
def test_a_lost_response_leaves_the_effect_and_no_byte_of_an_answer(lab: Lab, clients: Any) -> None:
    lab.faults.add("lost_response", method="PUT", path="publicIPAddresses/p$")

    with pytest.raises(httpx.RemoteProtocolError):
        clients.call("PUT", _pip(clients, "p"), _PIP)

    assert clients.call("GET", _pip(clients, "p")).status_code == 200


@pytest.mark.usefixtures("group")
def test_a_hang_ends_without_an_answer_and_without_an_effect(lab: Lab, clients: Any) -> None:
    lab.faults.add("hang", method="PUT", path="publicIPAddresses", seconds=0.05)

    with pytest.raises(httpx.RemoteProtocolError):
        clients.call("PUT", _pip(clients, "p"), _PIP)

    assert clients.call("GET", _pip(clients, "p")).status_code == 404


@pytest.mark.usefixtures("group")
def test_an_operation_that_fails_later_was_accepted_and_marks_the_resource(lab: Lab, clients: Any) -> None:
    lab.faults.add("lro_fails", method="PUT", path="publicIPAddresses", code="InternalExecutionError", message="m")

    accepted = clients.call("PUT", _pip(clients, "p"), _PIP)
    ended = clients.done(accepted).json()
    with pytest.raises(HttpResponseError) as failed:
        lab.faults.add("lro_fails", method="PUT", path="publicIPAddresses", code="InternalExecutionError")
        clients.network.public_ip_addresses.begin_create_or_update("rg", "q", _PIP).result()

    assert accepted.status_code == 201
    assert (ended["status"], ended["error"]["code"]) == ("Failed", "InternalExecutionError")
    assert clients.call("GET", _pip(clients, "p")).json()["properties"]["provisioningState"] == "Failed"
    assert failed.value.error.code == "InternalExecutionError"


@pytest.mark.usefixtures("group")
def test_a_half_done_deployment_keeps_what_was_made_before(lab: Lab, clients: Any) -> None:
    def one(name: str, *needs: str) -> dict[str, Any]:
        kind = "Microsoft.Network/publicIPAddresses"
        wanted = [f"{kind}/{n}" for n in needs]
        return {"type": kind, "name": name, "apiVersion": "2024-05-01", "dependsOn": wanted, **_PIP}

    lab.faults.add("half_done", method="PUT", path="deployments", at="first", code="Broken", message="half")
    template = {"contentVersion": "1.0.0.0", "resources": [one("second", "first"), one("first")]}
    path = f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Resources/deployments/d"

    ended = clients.done(
        clients.call("PUT", path, {"properties": {"mode": "Incremental", "template": template}})
    ).json()

    assert (ended["status"], ended["error"]["code"]) == ("Failed", "Broken")
    assert clients.call("GET", _pip(clients, "first")).status_code == 200
    assert clients.call("GET", _pip(clients, "second")).status_code == 404


def test_faults_and_events_go_over_the_control_api(clients: Any, group: str) -> None:
    bad = clients.http.post("/azurelab/faults", json={"kind": "nonsense"})
    made = clients.http.post("/azurelab/faults", json={"kind": "error", "method": "GET", "path": "/x$", "status": 418})
    hit = clients.call("GET", _pip(clients, "x"), x_ms_client_request_id="r-1")
    events = clients.http.get("/azurelab/events?after=0").json()["events"]
    clients.http.delete(f"/azurelab/faults?id={made.json()['id']}")

    assert (bad.status_code, hit.status_code) == (400, 418)
    assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
    assert next(e for e in events if e["kind"] == "fault")["fault_kind"] == "error"
    assert clients.http.get("/azurelab/faults").json() == {"faults": []}


# -- throttling ---------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("group")
def test_budgets_are_told_always_and_enforced_on_demand(lab: Lab, clients: Any) -> None:
    told = clients.call("GET", _pip(clients, "p").rsplit("/", 1)[0])
    lab.clock.set_rate(0)
    lab.store.set_setting("throttling.enforce", True)

    statuses = [clients.call("DELETE", _pip(clients, "p")).status_code for _ in range(203)]

    assert "x-ms-ratelimit-remaining-subscription-reads" in told.headers
    assert statuses == [204] * 200 + [429] * 3
    assert clients.call("PUT", _pip(clients, "p"), _PIP).status_code == 201, "writes have a budget of their own"


# -- state --------------------------------------------------------------------------------------------------------


def _up(home: Path) -> processes.Record:
    done = subprocess.run(
        [sys.executable, "-m", "azurelab.cli", "up", "--detach", "--home", str(home)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = processes.read(home)
    assert record is not None
    return record


def test_everything_acknowledged_survives_kill_9_and_operations_in_flight_end(tmp_path: Path) -> None:
    home = tmp_path / "home"
    record = _up(home)
    try:
        with httpx.Client(base_url=record.http_url, headers={"Authorization": "Bearer t"}, timeout=30) as http:
            known = http.get("/subscriptions?api-version=2022-12-01").json()["value"]
            sub = known[0]["id"]
            version = "?api-version=2024-05-01"
            http.put(f"{sub}/resourceGroups/rg{version}", json={"location": WEST})
            base = f"{sub}/resourceGroups/rg/providers/Microsoft.Network/publicIPAddresses"
            made = [http.put(f"{base}/p{n}{version}", json=_PIP).status_code for n in range(20)]
            http.put("/azurelab/time", json={"profile": "azure", "scale": 1})
            http.put("/azurelab/clock", json={"rate": 0})
            slow = http.put(f"{base}/slow{version}", json=_PIP)
            before = {p["name"]: p["properties"].get("ipAddress") for p in http.get(base + version).json()["value"]}
            events = http.get("/azurelab/status").json()["events"]

        os.kill(record.pid, signal.SIGKILL)
        record = _up(home)

        with httpx.Client(base_url=record.http_url, headers={"Authorization": "Bearer t"}, timeout=30) as http:
            url = httpx.URL(slow.headers["azure-asyncoperation"])
            waiting = http.get(f"{url.path}?{url.query.decode()}").json()
            http.put("/azurelab/clock", json={"advance": 60})
            deadline = time.monotonic() + 10
            while (ended := http.get(f"{url.path}?{url.query.decode()}").json())["status"] == "InProgress":
                assert time.monotonic() < deadline
                time.sleep(0.02)
            after = {p["name"]: p["properties"].get("ipAddress") for p in http.get(base + version).json()["value"]}
            assert http.get("/azurelab/status").json()["events"] >= events
    finally:
        subprocess.run(
            [sys.executable, "-m", "azurelab.cli", "down", "--home", str(home)],
            timeout=60,
            check=True,
            capture_output=True,
        )

    assert made == [201] * 20
    assert waiting["status"] == "InProgress"
    assert ended["status"] == "Succeeded"
    assert {k: v for k, v in after.items() if k != "slow"} == {k: v for k, v in before.items() if k != "slow"}
    assert after["slow"] is not None
    assert processes.of_home(home) == []

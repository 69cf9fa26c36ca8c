from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest

from holdfast.clouds.protocols import Agent, Power
from unit.api.api_rig import ApiRig


def test_plan_answers_one_object_and_changes_nothing(rig: ApiRig) -> None:
    rig.cloud.add_machine()

    plan = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()

    assert plan["digest"]
    assert plan["spec"] == plan["node"]
    assert [action["verb"] for action in plan["actions"]][-1] == "delete after retention"
    assert rig.cloud.events == []
    assert rig.client.get("/v1/imports").json() == []
    assert rig.client.get("/v1/operations").json() == []


def test_import_can_be_seen_from_its_start_to_its_end(rig: ApiRig) -> None:
    rig.cloud.add_machine()

    begun = rig.start()
    rig.run(begun["operation"])
    shown = rig.shown(begun["id"])

    assert (begun["state"], begun["vm_name"], begun["vm"]) == ("running", "db-1", "rg-1/db-1")
    assert shown["state"] == "imported"
    assert shown["countdown_s"] == pytest.approx(96 * 3600, abs=60)
    assert {entry["fate"] for entry in shown["ledger"]} == {"retained", "in use"}
    node = rig.client.get(f"/v1/nodes/{shown['node_id']}").json()
    assert (node["state"], node["import_id"]) == ("active", begun["id"])


def test_given_plan_is_run_exactly(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    plan = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()

    begun = rig.client.post("/v1/imports", json={"plan": plan}).json()

    assert begun["plan_digest"] == plan["digest"]
    assert rig.run(begun["operation"]).state == "done"
    assert rig.shown(begun["id"])["successor"]["name"] == plan["successor_name"]


def test_plan_that_no_longer_fits_is_refused_with_the_difference(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    plan = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()
    rig.cloud.change(machine, "properties.hardwareProfile.vmSize", "Standard_D4s_v5")

    answer = rig.client.post("/v1/imports", json={"plan": plan})

    assert (answer.status_code, answer.json()["code"], answer.json()["exit_code"]) == (409, "plan.stale", 4)
    assert any("D4s_v5" in line for line in answer.json()["details"]["differences"])
    assert rig.cloud.events == []
    assert rig.client.get("/v1/imports").json() == []


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [("spec", {"name": "other"}, "plan.spec"), ("successor_name", "other", "plan.digest")],
)
def test_edited_plan_is_refused(rig: ApiRig, path: str, value: Any, field: str) -> None:
    rig.cloud.add_machine()
    plan = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()

    answer = rig.client.post("/v1/imports", json={"plan": {**plan, path: value}})

    assert (answer.status_code, answer.json()["field"]) == (400, field)
    assert rig.cloud.events == []


def test_edited_spec_of_a_plan_is_taken_as_a_spec(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    plan = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()
    spec = deepcopy(plan["spec"])
    spec["name"] = "renamed"

    again = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1", "spec": spec})

    assert again.status_code == 200, again.text
    assert again.json()["node"]["name"] == "renamed"
    assert again.json()["findings"] == plan["findings"]


def test_undo_shows_its_plan_and_gives_the_machine_back(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    imported = rig.imported()

    plan = rig.client.post(f"/v1/imports/{imported['id']}/undo-plan", json={}).json()
    undoing = rig.client.post(f"/v1/imports/{imported['id']}/undo", json={}).json()
    rig.run(undoing["working"])

    assert machine in plan["kept"]
    assert undoing["state"] == "undoing"
    assert rig.shown(imported["id"])["state"] == "undone"
    assert rig.cloud.power_of(machine)[0] is Power.RUNNING
    assert rig.client.get("/v1/nodes").json() == []


def test_running_import_is_cancelled(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    begun = rig.start()

    cancelled = rig.client.post(f"/v1/imports/{begun['id']}/cancel").json()
    rig.run(begun["operation"])

    assert cancelled["state"] in ("cancelling", "cancelled")
    assert rig.shown(begun["id"])["state"] == "cancelled"


def test_retention_is_extended(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()

    extended = rig.client.post(f"/v1/imports/{imported['id']}/extend", json={"by_s": 48 * 3600}).json()

    assert extended["countdown_s"] - imported["countdown_s"] == pytest.approx(48 * 3600, abs=60)


def test_finish_needs_confirmation(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    imported = rig.imported()

    refused = rig.client.post(f"/v1/imports/{imported['id']}/finish", json={})
    assert refused.json()["code"] == "import.not_confirmed"
    assert rig.cloud.read(machine) is not None

    finishing = rig.client.post(f"/v1/imports/{imported['id']}/finish", json={"confirmed": True}).json()
    rig.run(finishing["working"])
    assert rig.shown(imported["id"])["state"] == "finished"
    assert rig.cloud.read(machine) is None


def test_long_poll_answers_the_lines_since_then_and_says_when_nothing_more_comes(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    begun = rig.start()
    path = f"/v1/operations/{begun['operation']}/events"

    first = rig.client.get(path).json()
    rig.run(begun["operation"])
    rest = rig.client.get(path, params={"after": first["after"], "wait_s": 5}).json()
    end = rig.client.get(path, params={"after": rest["after"], "wait_s": 5}).json()

    assert (first["rests"], rest["rests"], end["events"]) == (False, True, [])
    assert "Stop the original" in [event["text"] for event in rest["events"]]
    assert min(event["id"] for event in rest["events"]) > first["after"]


def test_event_stream_ends_when_the_operation_does(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()

    path = f"/v1/imports/{imported['id']}/events"
    with rig.client.stream("GET", path, headers={"Accept": "text/event-stream"}) as answer:
        text = "".join(answer.iter_text())

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "event: step\n" in text
    assert text.rstrip().splitlines()[-2] == "event: rests"


def test_cloud_in_use_is_not_removed(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()
    assert rig.client.delete("/v1/clouds/lab").json()["code"] == "cloud.in_use"

    rig.run(rig.client.post(f"/v1/imports/{imported['id']}/undo", json={}).json()["working"])

    assert rig.client.delete("/v1/clouds/lab").status_code == 200
    assert rig.client.get("/v1/clouds").json() == []


def test_machines_are_listed_with_what_stands_in_the_way(rig: ApiRig) -> None:
    rig.cloud.add_machine("web-1", data_disks=2)
    rig.cloud.generalized.add(rig.cloud.add_machine("gold").lower())
    rig.cloud.add_machine("other", group="rg-2")

    listed = rig.client.get("/v1/machines", params={"resource_group": "rg-1"}).json()

    assert [(one["vm"], one["importable"], one["why_not"]) for one in listed] == [
        ("rg-1/gold", False, ["GENERALIZED"]),
        ("rg-1/web-1", True, []),
    ]
    assert listed[1]["disk_count"] == 3
    assert rig.cloud.events == []


def test_machine_is_shown_with_its_parts_and_findings(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine(data_disks=1)
    rig.cloud.agents[machine.lower()] = Agent.ABSENT

    shown = rig.client.get("/v1/machines/rg-1/db-1").json()

    assert [disk["role"] for disk in shown["disks"]] == ["os", "data"]
    assert shown["why_not"] == ["WEAK_PROOF"]
    assert rig.client.get("/v1/machines/rg-1/none").status_code == 404


def test_openapi_has_one_stable_operation_id_for_each_route(rig: ApiRig) -> None:
    paths = rig.client.get("/openapi.json").json()["paths"]
    ids = [operation["operationId"] for path in paths.values() for operation in path.values()]

    assert len(ids) == len(set(ids))
    assert {"planImport", "startImport", "undoImport", "addCloud", "azureStatefulNodeImportVm"} <= set(ids)


def test_health_and_metrics_need_no_token(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.start()
    nobody = rig.as_(None)

    assert nobody.get("/health").json()["status"] == "ok"
    metrics = nobody.get("/metrics").text
    assert 'holdfast_operations_open{state="queued"} 1' in metrics
    assert "holdfast_oldest_due_timer_seconds 0.0" in metrics
    assert 'holdfast_imports{state="running"} 1' in metrics


def test_overdue_timer_shows_in_the_metrics(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()
    rig.clock.advance(97 * 3600)

    late = [line for line in rig.client.get("/metrics").text.splitlines() if line.startswith("holdfast_oldest_due")]

    assert float(late[0].split()[1]) == pytest.approx(3600, abs=60)


def test_unknown_route_is_a_problem_too(rig: ApiRig) -> None:
    answer = rig.client.get("/v1/nothing")

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")

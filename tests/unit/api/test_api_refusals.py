"""Every input that an import refuses gives its code, at plan and at start, and changes nothing in the cloud or here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Agent, Headroom
from unit.api.api_rig import ApiRig

Prepare = Callable[[ApiRig, str], None]
LAUNCH = "compute.launchSpecification"


def node_with(path: str, value: Any) -> dict[str, Any]:
    told: dict[str, Any] = value
    for part in reversed(path.split(".")):
        told = {part: told}
    return told


def set_on_machine(path: str, value: Any) -> Prepare:
    return lambda rig, machine: rig.cloud.change(machine, path, value)


def set_on_disk(path: str, value: Any) -> Prepare:
    return lambda rig, machine: rig.cloud.change(rig.cloud.describe(machine).disks[1].document.ref, path, value)  # type: ignore[union-attr]


def lock(level: str) -> Prepare:
    def prepare(rig: ApiRig, machine: str) -> None:
        ref = f"{machine}/providers/Microsoft.Authorization/locks/keep"
        body = {"name": "keep", "properties": {"level": level}}
        rig.cloud.locks.append(Document(ref, "Microsoft.Authorization/locks", "2016-09-01", body))

    return prepare


def unmanaged(rig: ApiRig, machine: str) -> None:
    disk = {"name": "blob", "osType": "Linux", "createOption": "FromImage", "vhd": {"uri": "https://x/vhds/os.vhd"}}
    rig.cloud.change(machine, "properties.storageProfile.osDisk", disk)


def no_size_fits(rig: ApiRig, machine: str) -> None:
    rig.cloud.size_list = [size for size in rig.cloud.size_list if size["name"] == "Standard_D2s_v5"]


MACHINES: list[tuple[str, str, Prepare, dict[str, Any]]] = [
    ("generalized", "GENERALIZED", lambda rig, m: rig.cloud.generalized.add(m.lower()), {}),
    ("ephemeral-os", "EPHEMERAL_OS_DISK",
     set_on_machine("properties.storageProfile.osDisk.diffDiskSettings", {"option": "Local"}), {}),
    ("unmanaged-disks", "UNMANAGED_DISKS", unmanaged, {}),
    ("scale-set", "SCALE_SET_MEMBER",
     set_on_machine("properties.virtualMachineScaleSet", {"id": "/subscriptions/s/vmss"}), {}),
    ("shared-disk", "SHARED_DISK", set_on_disk("properties.maxShares", 2), {}),
    ("ours-already", "ALREADY_MANAGED", set_on_machine("tags", {"holdfast-owner": "hf-0123456789ab/1"}), {}),
    ("somebody-elses", "FOREIGN_OWNER", set_on_machine("tags", {"holdfast-owner": "hf-ffffffffffff/1"}), {}),
    ("read-only-lock", "LOCKED_READ_ONLY", lock("ReadOnly"), {}),
    ("delete-lock-and-object-goes", "LOCKED_CAN_NOT_DELETE", lock("CanNotDelete"), {"network": "keep"}),
    ("identity-and-object-goes", "IDENTITY_CHANGES",
     set_on_machine("identity", {"type": "SystemAssigned", "principalId": "p"}), {"network": "keep"}),
    ("nothing-can-prove-it", "WEAK_PROOF", lambda rig, m: rig.cloud.agents.update({m.lower(): Agent.ABSENT}), {}),
    ("permission-missing", "PERMISSION_MISSING",
     lambda rig, m: rig.cloud.missing_actions.add("Microsoft.Compute/virtualMachines/write"), {}),
    ("no-such-extension", "EXTENSION_UNKNOWN", lambda rig, m: None, {"recreate_extensions": ["none"]}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("code", "prepare", "options"), [row[1:] for row in MACHINES], ids=[row[0] for row in MACHINES]
)
def test_machine_that_cannot_be_imported_is_refused_and_left_as_it_is(
    rig: ApiRig, code: str, prepare: Prepare, options: dict[str, Any]
) -> None:
    machine = rig.cloud.add_machine()
    prepare(rig, machine)
    before = rig.cloud.read(machine)
    body = {"machine": "rg-1/db-1", "options": options}

    plan = rig.client.post("/v1/imports/plan", json=body)
    started = rig.client.post("/v1/imports", json=body)

    assert plan.status_code == 200, plan.text
    found = {one["code"]: one for one in plan.json()["findings"] if one["severity"] == "refusal"}
    assert code in found
    assert found[code]["remedy"]
    assert (started.status_code, started.json()["code"], started.json()["exit_code"]) == (409, "import.refused", 4)
    assert code in [one["code"] for one in started.json()["details"]["refusals"]]
    assert rig.cloud.read(machine) == before
    _nothing_happened(rig)


def test_plan_that_was_refused_is_refused_when_it_is_given_back(rig: ApiRig) -> None:
    rig.cloud.generalized.add(rig.cloud.add_machine().lower())
    plan = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()

    assert rig.client.post("/v1/imports", json={"plan": plan}).json()["code"] == "import.refused"
    _nothing_happened(rig)


@pytest.mark.parametrize(
    ("spec", "code", "field"),
    [
        ({"frobnicate": 1}, "UNKNOWN_FIELD", "frobnicate"),
        (node_with("compute.vmSizes.odsizes", ["x"]), "UNKNOWN_FIELD", "compute.vmSizes.odsizes"),
        (node_with(f"{LAUNCH}.image", {"custom": {"name": "x"}}), "FIELD_LOCKED", f"{LAUNCH}.image"),
        (node_with(f"{LAUNCH}.login", {"userName": "x"}), "FIELD_LOCKED", f"{LAUNCH}.login"),
        (node_with(f"{LAUNCH}.customData", "eA=="), "FIELD_LOCKED", f"{LAUNCH}.customData"),
        (node_with(f"{LAUNCH}.shutdownScript", "eA=="), "FIELD_LOCKED", f"{LAUNCH}.shutdownScript"),
        ({"health": {"autoHealing": True}}, "NOT_SUPPORTED_YET", "health.autoHealing"),
        ({"strategy": {"odWindows": ["Mon:03:00-Wed:02:30"]}}, "NOT_SUPPORTED_YET", "strategy.odWindows"),
        ({"scheduling": {"tasks": [{"type": "pause"}]}}, "NOT_SUPPORTED_YET", "scheduling.tasks"),
        ({"persistence": {"shouldPersistOsDisk": False}}, "NOT_SUPPORTED_YET", "persistence.shouldPersistOsDisk"),
        ({"region": "northeurope"}, "NOT_SUPPORTED_YET", "region"),
        (node_with("compute.zones", ["1"]), "NOT_SUPPORTED_YET", "compute.zones"),
        (node_with("compute.os", "Windows"), "NOT_SUPPORTED_YET", "compute.os"),
        (node_with(f"{LAUNCH}.vmName", "no spaces"), "INVALID_SPEC", f"{LAUNCH}.vmName"),
        (node_with("compute.preferredZone", "3"), "INVALID_SPEC", "compute.preferredZone"),
    ],
)  # fmt: skip
def test_specification_that_cannot_be_meant_is_refused_with_its_path(
    rig: ApiRig, spec: dict[str, Any], code: str, field: str
) -> None:
    rig.cloud.add_machine()
    body = {"machine": "rg-1/db-1", "spec": {"statefulNode": spec}}

    for path in ("/v1/imports/plan", "/v1/imports"):
        answer = rig.client.post(path, json=body)
        assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (400, code, field)
        assert answer.json()["exit_code"] == 2
        assert answer.json()["remedy"]
    _nothing_happened(rig)


def test_network_is_locked_where_it_is_kept(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    network = {"resourceGroupName": "rg-1", "virtualNetworkName": "vnet",
               "networkInterfaces": [{"isPrimary": True, "subnetName": "default"}]}  # fmt: skip
    spec = {**node_with(f"{LAUNCH}.network", network), "persistence": {"shouldPersistNetwork": True}}

    answer = rig.client.post("/v1/imports", json={"machine": "rg-1/db-1", "spec": spec})

    assert (answer.json()["code"], answer.json()["field"]) == ("FIELD_LOCKED", f"{LAUNCH}.network")
    _nothing_happened(rig)


def test_all_problems_of_a_specification_are_listed_not_the_first(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    spec = {**node_with(LAUNCH, {"customData": "eA==", "login": {"userName": "x"}}), "health": {"autoHealing": True}}

    problems = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1", "spec": spec}).json()["details"][
        "problems"
    ]

    assert [one["code"] for one in problems] == ["FIELD_LOCKED", "FIELD_LOCKED", "NOT_SUPPORTED_YET"]


@pytest.mark.parametrize(
    ("options", "code", "status"),
    [
        ({"retention_s": 3600}, "import.retention_too_short", 409),
        ({"retention_s": 732 * 3600}, "input.invalid", 400),
        ({"draining_timeout_s": 1801}, "input.invalid", 400),
        ({"probes": ["ftp://:21"]}, "input.invalid", 400),
        ({"probes": ["tcp://:none"]}, "input.invalid", 400),
        ({"prove_for_s": 60, "prove_timeout_s": 60}, "input.invalid", 400),
        ({"network": "sideways"}, "input.invalid", 400),
        ({"unheard_of": 1}, "input.invalid", 400),
    ],
)
def test_option_that_makes_no_sense_is_refused(rig: ApiRig, options: dict[str, Any], code: str, status: int) -> None:
    rig.cloud.add_machine()

    answer = rig.client.post("/v1/imports", json={"machine": "rg-1/db-1", "options": options})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    _nothing_happened(rig)


def test_retention_below_the_floor_is_allowed_when_it_is_said_in_words(rig: ApiRig) -> None:
    rig.cloud.add_machine()

    begun = rig.start(retention_s=0, delete_originals_immediately=True)
    rig.run(begun["operation"])

    assert rig.shown(begun["id"])["countdown_s"] == 0


@pytest.mark.parametrize(
    ("options", "spec", "field"),
    [
        ({"network": "new"}, {"persistence": {"shouldPersistNetwork": True}}, "persistence.shouldPersistNetwork"),
        ({"priority": "regular"}, {"strategy": {"preferredLifecycle": "spot"}}, "strategy.preferredLifecycle"),
    ],
)
def test_option_that_contradicts_the_specification_is_refused(
    rig: ApiRig, options: dict[str, Any], spec: dict[str, Any], field: str
) -> None:
    rig.cloud.add_machine()

    answer = rig.client.post("/v1/imports", json={"machine": "rg-1/db-1", "options": options, "spec": spec})

    assert (answer.status_code, answer.json()["field"]) == (400, field)
    _nothing_happened(rig)


@pytest.mark.parametrize(
    ("machine", "cloud", "status", "code"),
    [
        ("rg-1/none", None, 404, "not_found"),
        ("db-1", None, 400, "input.invalid"),
        ("rg-1/db-1", "elsewhere", 404, "not_found"),
    ],
)
def test_machine_that_is_not_there_is_not_found(
    rig: ApiRig, machine: str, cloud: str | None, status: int, code: str
) -> None:
    rig.cloud.add_machine()

    answer = rig.client.post("/v1/imports", json={"machine": machine, "cloud": cloud})

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    _nothing_happened(rig)


def test_machine_that_is_being_imported_is_refused_a_second_time(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.start()

    again = rig.client.post("/v1/imports", json={"machine": "rg-1/db-1"})

    assert (again.status_code, again.json()["code"]) == (409, "operation.subject_busy")
    assert len(rig.client.get("/v1/imports").json()) == 1
    assert len(rig.client.get("/v1/nodes").json()) == 1


def test_quota_left_is_warned_about(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.cloud.quota = [Headroom("lowPriorityCores", 0, 1)]

    plan = rig.client.post("/v1/imports/plan", json={"machine": "rg-1/db-1"}).json()

    assert {"NO_SPOT_MARKET", "QUOTA"} & {one["code"] for one in plan["findings"]}


def _nothing_happened(rig: ApiRig) -> None:
    assert rig.cloud.events == []
    for path in ("/v1/imports", "/v1/nodes", "/v1/operations"):
        assert rig.client.get(path).json() == [], path

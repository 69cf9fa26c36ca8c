"""azurelab breaks a call in each of its ways; the change must arrive all the same, once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from stages import OURS, OnAzurelab

from azurelab.app import Lab
from holdfast.clouds.azure.cloud import AzureCloud
from holdfast.clouds.errors import CloudRefused, NoCapacity
from holdfast.clouds.protocols import Claim, ClaimReason, Power, PowerLevel
from holdfast.core.tags import OPERATION, ROLE


@pytest.fixture
def stage(lab: Lab, cloud_on_lab: AzureCloud) -> Iterator[OnAzurelab]:
    opened = OnAzurelab(lab, cloud_on_lab)
    yield opened
    lab.faults.clear()
    opened.close()


FAULTS: dict[str, dict[str, Any]] = {
    "an inner error": {"kind": "error", "status": 500},
    "a gateway error": {"kind": "error", "status": 502, "code": "BadGateway"},
    "throttled": {"kind": "throttle", "retry_after": 1},
    "busy": {"kind": "error", "status": 409, "code": "AnotherOperationInProgress"},
    "a hang": {"kind": "hang", "seconds": 1},
    "a lost answer": {"kind": "lost_response"},
    "half done": {"kind": "half_done"},
    "an operation that fails": {"kind": "lro_fails"},
    "an operation that fails after its effect": {"kind": "lro_fails", "after_effect": True},
}

# The wire's own kinds are proven on our wire in tests/unit/clouds; here they run with everything else in make test-all.
SLOW = ("a hang", "a gateway error", "throttled", "busy", "an operation that fails")
fault = pytest.mark.parametrize(
    "fault", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in FAULTS]
)


def arrange(lab: Lab, fault: str, method: str, path: str) -> None:
    lab.faults.add(**FAULTS[fault], method=method, path=path)


@fault
def test_a_disk_is_made_once_in_spite_of(stage: OnAzurelab, lab: Lab, fault: str) -> None:
    arrange(lab, fault, "PUT", f"{stage.group}/.*/disks/d-1")

    made = stage.cloud.ensure(stage.call(), stage.disk("d-1"))

    assert made.get("properties.provisioningState") == "Succeeded"
    life = [e.kind for e in lab.events() if e.resource.lower() == made.ref.lower() and e.kind in ("created", "deleted")]
    assert life[-1] == "created"
    assert life.count("created") <= 1 + life.count("deleted")


@fault
def test_a_machine_is_made_once_from_its_parts_in_spite_of(stage: OnAzurelab, lab: Lab, fault: str) -> None:
    facts = stage.cloud.describe(stage.machine("db-1", data_disks=0))
    stage.cloud.delete(stage.call(), Claim(facts.machine.ref, facts.machine.identity, ClaimReason.RECREATABLE, OURS))
    arrange(lab, fault, "PUT", f"{stage.group}/.*/virtualMachines/db-2")

    made = stage.cloud.ensure(stage.call(), stage.successor("db-2", facts.disks[0].document.ref, facts.nics[0].ref))

    after = stage.cloud.describe(made.ref)
    assert after.power is Power.RUNNING
    assert after.disks[0].document.identity == facts.disks[0].document.identity
    assert after.nics[0].identity == facts.nics[0].identity


@fault
@pytest.mark.parametrize("level", [PowerLevel.DEALLOCATED, PowerLevel.RUNNING])
def test_power_arrives_in_spite_of(stage: OnAzurelab, lab: Lab, fault: str, level: PowerLevel) -> None:
    machine = stage.machine("db-1", data_disks=0)
    if level is PowerLevel.RUNNING:
        stage.cloud.power(stage.call(), machine, PowerLevel.DEALLOCATED)
    arrange(lab, fault, "POST", f"{stage.group}/.*/virtualMachines/db-1")

    stage.cloud.power(stage.call(), machine, level)

    assert stage.cloud.power_of(machine)[0].value == level.value


@fault
def test_a_deleted_machine_leaves_its_parts_in_spite_of(stage: OnAzurelab, lab: Lab, fault: str) -> None:
    facts = stage.cloud.describe(stage.machine("db-1"))
    arrange(lab, fault, "DELETE", f"{stage.group}/.*/virtualMachines/db-1")

    stage.cloud.delete(stage.call(), Claim(facts.machine.ref, facts.machine.identity, ClaimReason.RECREATABLE, OURS))

    assert stage.cloud.read(facts.machine.ref) is None
    for part in (facts.disks[0].document, facts.disks[1].document, facts.nics[0], facts.public_ips[0]):
        assert stage.cloud.read(part.ref).identity == part.identity


@fault
def test_delete_options_and_tags_are_changed_in_spite_of(stage: OnAzurelab, lab: Lab, fault: str) -> None:
    machine = stage.cloud.read(stage.machine("db-1", data_disks=0, delete_option="Delete"))
    arrange(lab, fault, "PATCH", f"{stage.group}/.*/virtualMachines/db-1$")
    arrange(lab, fault, "PATCH", f"{stage.group}/.*/virtualMachines/db-1/providers/")
    os_disk = {**machine.get("properties.storageProfile.osDisk"), "deleteOption": "Detach"}

    stage.cloud.patch(stage.call(), machine.ref, {"properties": {"storageProfile": {"osDisk": os_disk}}})
    stage.cloud.mark(stage.call(), machine.ref, {OPERATION: OURS, ROLE: "original"})

    now = stage.cloud.read(machine.ref)
    assert now.get("properties.storageProfile.osDisk.deleteOption") == "Detach"
    assert now.tags == {OPERATION: OURS, ROLE: "original"}


@fault
def test_a_written_document_arrives_in_spite_of(stage: OnAzurelab, lab: Lab, fault: str) -> None:
    machine = stage.cloud.read(stage.machine("db-1", data_disks=0))
    arrange(lab, fault, "PUT", f"{stage.group}/.*/virtualMachines/db-1")

    written = stage.cloud.write(stage.call(), machine.with_value("tags", {"team": "db"}))

    assert written.tags == {"team": "db"}
    assert written.identity == machine.identity


@pytest.mark.parametrize("after_effect", [False, True])
def test_a_machine_whose_allocation_fails_late_leaves_nothing_but_its_parts(
    stage: OnAzurelab, lab: Lab, after_effect: bool
) -> None:
    facts = stage.cloud.describe(stage.machine("db-1", data_disks=0))
    stage.cloud.delete(stage.call(), Claim(facts.machine.ref, facts.machine.identity, ClaimReason.RECREATABLE, OURS))
    path = f"{stage.group}/.*/virtualMachines/db-2"
    lab.faults.add("lro_fails", method="PUT", path=path, code="AllocationFailed", after_effect=after_effect)
    wanted = stage.successor("db-2", facts.disks[0].document.ref, facts.nics[0].ref)

    with pytest.raises(NoCapacity):
        stage.cloud.ensure(stage.call(), wanted)

    assert stage.cloud.read(wanted.ref) is None
    assert stage.cloud.read(facts.disks[0].document.ref).get("managedBy") is None


def test_a_locked_resource_is_refused_with_the_locks_name(stage: OnAzurelab, lab: Lab) -> None:
    made = stage.cloud.ensure(stage.call(), stage.disk("d-1"))
    lab.faults.add("error", method="DELETE", path=made.ref, status=409, code="ScopeLocked", message="locked: 'keep'")

    with pytest.raises(CloudRefused) as caught:
        stage.cloud.delete(stage.call(), Claim(made.ref, made.identity, ClaimReason.OURS, OURS))

    assert "keep" in caught.value.details["message"]
    assert stage.cloud.read(made.ref) is not None

"""What Azure does to a change on its way, and what the client makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fakes.arm import WireFault
from fakes.cloud import DISKS, MACHINES
from holdfast.clouds.azure.errors import LostAnswer
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import (
    ChangedMeanwhile,
    CloudBusy,
    CloudRefused,
    CloudUnavailable,
    NameTaken,
    NoCapacity,
    Throttled,
)
from holdfast.clouds.protocols import Claim, ClaimReason, Power, PowerLevel
from holdfast.core.tags import OPERATION

OPERATION_ID = "op-00112233445566aa"


def disk(stage: Any, name: str = "new-disk", operation: str = OPERATION_ID) -> Document:
    body = {
        "location": "westeurope",
        "sku": {"name": "Premium_LRS"},
        "tags": {OPERATION: operation},
        "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 8},
    }
    return Document(stage.world.ref("rg-1", DISKS, name), DISKS, "2024-03-02", body)


def machine(stage: Any, name: str = "db-2", option: str = "Detach") -> Document:
    """A successor of db-1's kind, from a disk and a card of its own."""
    ready = stage.world.describe(stage.world.add_machine("spare", data_disks=0))
    stage.world.remove(ready.machine.ref)
    properties = {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "priority": "Spot",
        "storageProfile": {
            "osDisk": {
                "osType": "Linux",
                "createOption": "Attach",
                "managedDisk": {"id": ready.disks[0].document.ref},
                "deleteOption": option,
            },
            "dataDisks": [],
        },
        "networkProfile": {
            "networkInterfaces": [{"id": ready.nics[0].ref, "properties": {"primary": True, "deleteOption": option}}]
        },
    }
    body = {"location": "westeurope", "tags": {OPERATION: OPERATION_ID}, "properties": properties}
    return Document(stage.world.ref("rg-1", MACHINES, name), MACHINES, "2024-07-01", body)


def test_ensure_creates_a_resource_and_returns_it_as_read(stage_with: Callable[..., Any]) -> None:
    stage = stage_with(polls=2)

    made = stage.cloud.ensure(stage.call, disk(stage))

    assert made.identity is not None
    assert made.get("properties.provisioningState") == "Succeeded"
    assert stage.arm.changes() == [("PUT", "new-disk")]


def test_ensure_repeated_after_a_crash_returns_the_same_resource_without_a_write(stage: Any) -> None:
    first = stage.cloud.ensure(stage.call, disk(stage))
    stage.arm.seen.clear()

    again = stage.cloud.ensure(stage.call, disk(stage))

    assert again.identity == first.identity
    assert stage.arm.changes() == []


def test_ensure_repeated_while_azure_still_works_waits_until_it_has_finished(stage_with: Callable[..., Any]) -> None:
    stage = stage_with(polls=3)
    stage.arm.faults.append(WireFault("PUT", "new-disk", "lose"))

    made = stage.cloud.ensure(stage.call, disk(stage))

    assert made.get("properties.provisioningState") == "Succeeded"
    assert stage.arm.changes() == [("PUT", "new-disk")]


@pytest.mark.parametrize("kind", ["lose", "drop"])
def test_ensure_whose_answer_was_lost_makes_the_resource_once(stage: Any, kind: str) -> None:
    stage.arm.faults.append(WireFault("PUT", "new-disk", kind))

    made = stage.cloud.ensure(stage.call, disk(stage))

    assert stage.world.exists(made.ref)
    assert [verb for verb, _ in stage.world.events] == ["ensure"]


@pytest.mark.parametrize("kind", ["lose", "drop"])
def test_ensure_of_a_machine_whose_answer_was_lost_makes_it_once(stage: Any, kind: str) -> None:
    document = machine(stage)
    stage.arm.faults.append(WireFault("PUT", "db-2", kind))

    stage.cloud.ensure(stage.call, document)

    assert [verb for verb, _ in stage.world.events] == ["ensure"]
    puts = [one for one in stage.arm.seen if one.method == "PUT"]
    assert {one.headers.get("if-none-match") for one in puts} == {"*"}


def test_ensure_gives_up_when_every_answer_is_lost(stage: Any) -> None:
    stage.arm.faults.append(WireFault("PUT", "new-disk", "drop", times=99))

    with pytest.raises(CloudUnavailable):
        stage.cloud.ensure(stage.call, disk(stage))


def test_ensure_of_a_name_that_another_operation_took_is_refused_and_changes_nothing(stage: Any) -> None:
    stage.cloud.ensure(stage.call, disk(stage, operation="op-ffffffffffffffff"))
    stage.arm.seen.clear()

    with pytest.raises(NameTaken):
        stage.cloud.ensure(stage.call, disk(stage))

    assert stage.arm.changes() == []


def test_ensure_that_azure_refuses_for_capacity_says_so_and_leaves_nothing(stage: Any) -> None:
    document = machine(stage)
    stage.world.capacity_out.add(("standard_d2s_v5", "spot"))

    with pytest.raises(NoCapacity) as caught:
        stage.cloud.ensure(stage.call, document)

    assert caught.value.details["cloud_code"] == "AllocationFailed"
    assert not stage.world.exists(document.ref)


def test_ensure_whose_operation_fails_for_capacity_removes_the_half_made_machine(
    stage_with: Callable[..., Any],
) -> None:
    stage = stage_with(async_capacity=True)
    document = machine(stage)
    stage.world.capacity_out.add(("standard_d2s_v5", "spot"))

    with pytest.raises(NoCapacity):
        stage.cloud.ensure(stage.call, document)

    assert not stage.world.exists(document.ref)
    deletes = [one for one in stage.arm.seen if one.method == "DELETE"]
    assert [one.query.get("forceDeletion") for one in deletes] == ["false"]


def test_removing_a_half_made_machine_keeps_the_disks_that_it_was_told_to_delete(
    stage_with: Callable[..., Any],
) -> None:
    stage = stage_with(async_capacity=True)
    document = machine(stage, option="Delete")
    disks_before = stage.world.refs(DISKS)
    stage.world.capacity_out.add(("standard_d2s_v5", "spot"))

    with pytest.raises(NoCapacity):
        stage.cloud.ensure(stage.call, document)

    assert not stage.world.exists(document.ref)
    assert stage.world.refs(DISKS) == disks_before


def test_ensure_after_a_crash_replaces_a_half_made_machine_of_its_own(stage: Any) -> None:
    document = machine(stage)
    stage.cloud.ensure(stage.call, document)
    stage.world.change(document.ref, "properties.provisioningState", "Failed")

    made = stage.cloud.ensure(stage.call, document)

    assert made.get("properties.provisioningState") == "Succeeded"
    assert [verb for verb, _ in stage.world.events] == ["ensure", "delete", "ensure"]


def test_a_change_is_checked_before_every_sending(stage: Any) -> None:
    slow = {"Retry-After": "1"}
    stage.arm.faults.append(WireFault("PUT", "new-disk", "refuse", 429, "TooManyRequests", headers=slow, times=2))
    sent_before_check: list[int] = []
    check = stage.call.check
    stage.call.check = lambda: (sent_before_check.append(len(stage.arm.changes())), check())

    stage.cloud.ensure(stage.call, disk(stage))

    assert len(stage.arm.changes()) == 3
    assert {0, 1, 2} <= set(sent_before_check)


def test_a_call_that_is_stopped_between_two_sendings_sends_no_more(stage: Any) -> None:
    slow = {"Retry-After": "1"}
    stage.arm.faults.append(WireFault("PUT", "new-disk", "refuse", 429, "TooManyRequests", headers=slow))
    stage.call.stop_after = 1

    with pytest.raises(InterruptedError):
        stage.cloud.ensure(stage.call, disk(stage))

    assert stage.arm.changes() == [("PUT", "new-disk")]
    assert not stage.world.exists(disk(stage).ref)


def test_a_cancelled_call_sends_nothing(stage: Any) -> None:
    stage.call.stop_after = 0

    with pytest.raises(InterruptedError):
        stage.cloud.ensure(stage.call, disk(stage))

    assert stage.arm.changes() == []


def test_a_cancel_is_noticed_while_waiting(stage_with: Callable[..., Any]) -> None:
    stage = stage_with(polls=1000)
    stage.call.stop_after = 20

    with pytest.raises(InterruptedError):
        stage.cloud.ensure(stage.call, disk(stage))


def test_a_throttled_change_waits_for_retry_after(stage: Any) -> None:
    before = stage.clock.now()
    slow = {"Retry-After": "17"}
    stage.arm.faults.append(WireFault("PUT", "new-disk", "refuse", 429, "TooManyRequests", headers=slow))

    stage.cloud.ensure(stage.call, disk(stage))

    assert (stage.clock.now() - before).total_seconds() >= 17


def test_endless_throttling_ends_as_throttled(stage: Any) -> None:
    fault = WireFault("PUT", "new-disk", "refuse", 429, "TooManyRequests", headers={"Retry-After": "60"}, times=99)
    stage.arm.faults.append(fault)

    with pytest.raises(Throttled):
        stage.cloud.ensure(stage.call, disk(stage))


def test_a_busy_resource_is_tried_again(stage: Any) -> None:
    ref = stage.world.add_machine()
    stage.arm.faults.append(WireFault("PATCH", "db-1", "refuse", 409, "AnotherOperationInProgress", times=3))

    stage.cloud.patch(stage.call, ref, {"tags": {"a": "b"}})

    assert stage.world.read(ref).tags == {"a": "b"}


def test_a_resource_that_stays_busy_ends_as_busy(stage: Any) -> None:
    ref = stage.world.add_machine()
    stage.arm.faults.append(WireFault("PATCH", "db-1", "refuse", 409, "AnotherOperationInProgress", times=9999))

    with pytest.raises(CloudBusy):
        stage.cloud.patch(stage.call, ref, {"tags": {"a": "b"}})


def test_write_sends_the_etag_and_no_read_only_field(stage: Any) -> None:
    vm = stage.cloud.read(stage.world.add_machine())

    stage.cloud.write(stage.call, vm.with_value("tags.team", "db"))

    sent = next(one for one in stage.arm.seen if one.method == "PUT")
    assert sent.headers["if-match"] == vm.etag
    assert "vmId" not in sent.body["properties"]
    assert not {"id", "etag", "name", "type"} & set(sent.body)
    assert sent.query["api-version"] == vm.api_version


def test_write_of_what_somebody_changed_meanwhile_is_refused(stage: Any) -> None:
    vm = stage.cloud.read(stage.world.add_machine())
    stage.world.change(vm.ref, "tags.team", "theirs")

    with pytest.raises(ChangedMeanwhile):
        stage.cloud.write(stage.call, vm.with_value("tags.team", "ours"))

    assert stage.world.read(vm.ref).tags["team"] == "theirs"


@pytest.mark.parametrize("kind", ["lose", "drop"])
def test_write_whose_answer_was_lost_is_done_once(stage: Any, kind: str) -> None:
    vm = stage.cloud.read(stage.world.add_machine())
    stage.arm.faults.append(WireFault("PUT", "db-1", kind))

    written = stage.cloud.write(stage.call, vm.with_value("tags.team", "db"))

    assert written.tags["team"] == "db"
    assert [verb for verb, _ in stage.world.events] == ["write"]


def test_write_repeated_after_a_crash_with_the_old_etag_is_recognised_as_done(stage: Any) -> None:
    vm = stage.cloud.read(stage.world.add_machine())
    stage.cloud.write(stage.call, vm.with_value("tags.team", "db"))

    again = stage.cloud.write(stage.call, vm.with_value("tags.team", "db"))

    assert again.tags["team"] == "db"


@pytest.mark.parametrize("kind", ["lose", "drop"])
@pytest.mark.parametrize("level", [PowerLevel.STOPPED, PowerLevel.DEALLOCATED])
def test_power_whose_answer_was_lost_arrives_at_the_level(stage: Any, kind: str, level: PowerLevel) -> None:
    ref = stage.world.add_machine()
    stage.arm.faults.append(WireFault("POST", "db-1", kind))

    stage.cloud.power(stage.call, ref, level)

    assert stage.world.power_of(ref)[0] == Power(level)


def test_power_at_the_level_already_sends_nothing(stage: Any) -> None:
    ref = stage.world.add_machine(power=Power.RUNNING)

    stage.cloud.power(stage.call, ref, PowerLevel.RUNNING)

    assert stage.arm.changes() == []


def test_power_from_deallocated_to_stopped_goes_over_running(stage: Any) -> None:
    ref = stage.world.add_machine(power=Power.DEALLOCATED)

    stage.cloud.power(stage.call, ref, PowerLevel.STOPPED)

    assert stage.arm.changes() == [("POST", "start"), ("POST", "powerOff")]


def test_power_of_a_machine_without_capacity_says_so(stage: Any) -> None:
    ref = stage.world.add_machine(power=Power.DEALLOCATED)
    stage.world.capacity_out.add(("standard_d2s_v5", "regular"))

    with pytest.raises(NoCapacity):
        stage.cloud.power(stage.call, ref, PowerLevel.RUNNING)


def claim(document: Document, identity: str | None = "own") -> Claim:
    found = document.identity if identity == "own" else identity
    return Claim(document.ref, found, ClaimReason.OURS, OPERATION_ID)


@pytest.mark.parametrize("kind", ["lose", "drop"])
def test_delete_whose_answer_was_lost_ends_with_the_resource_gone(stage: Any, kind: str) -> None:
    made = stage.cloud.ensure(stage.call, disk(stage))
    stage.arm.faults.append(WireFault("DELETE", "new-disk", kind))

    stage.cloud.delete(stage.call, claim(made))

    assert not stage.world.exists(made.ref)


def test_delete_of_another_identity_under_the_name_leaves_it_alone(stage: Any) -> None:
    made = stage.cloud.ensure(stage.call, disk(stage))
    stage.world.remove(made.ref)
    later = stage.cloud.ensure(stage.call, disk(stage))

    stage.cloud.delete(stage.call, claim(made))

    assert stage.world.read(made.ref).identity == later.identity
    assert not [one for one in stage.arm.seen if one.method == "DELETE"]


def test_delete_without_an_identity_takes_only_what_carries_the_operation_tag(stage: Any) -> None:
    ours = stage.cloud.ensure(stage.call, disk(stage, "ours"))
    theirs = stage.cloud.ensure(stage.call, disk(stage, "theirs", operation="op-ffffffffffffffff"))

    stage.cloud.delete(stage.call, claim(ours, None))
    stage.cloud.delete(stage.call, claim(theirs, None))

    assert not stage.world.exists(ours.ref)
    assert stage.world.exists(theirs.ref)


def test_delete_of_a_disk_that_is_being_read_through_a_sas_is_refused(stage: Any) -> None:
    made = stage.cloud.ensure(stage.call, disk(stage))
    stage.world.change(made.ref, "properties.diskState", "ActiveSAS")

    with pytest.raises(CloudRefused):
        stage.cloud.delete(stage.call, claim(made))

    assert stage.world.exists(made.ref)


def test_every_sending_of_a_change_is_audited_without_its_body(stage: Any) -> None:
    stage.arm.faults.append(WireFault("PUT", "new-disk", "lose"))
    stage.arm.faults.append(WireFault("DELETE", "new-disk", "refuse", 409, "ScopeLocked"))
    made = stage.cloud.ensure(stage.call, disk(stage))

    with pytest.raises(CloudRefused):
        stage.cloud.delete(stage.call, claim(made))

    told = [(write.method, write.status, write.error) for write in stage.writes]
    assert told == [("PUT", None, "AnswerLost"), ("DELETE", 409, "ScopeLocked")]
    assert {write.operation for write in stage.writes} == {OPERATION_ID}


def test_the_operation_is_the_client_request_id(stage: Any) -> None:
    stage.cloud.ensure(stage.call, disk(stage))

    sent = next(one for one in stage.arm.seen if one.method == "PUT")
    assert sent.headers["x-ms-client-request-id"].replace("-", "").startswith("00112233445566aa")


def test_unmark_removes_only_the_named_tags_and_copes_with_an_absent_resource(stage: Any) -> None:
    ref = stage.world.add_machine(tags={"Team": "db"})
    stage.cloud.mark(stage.call, ref, {"holdfast-owner": "hf-1/1"})

    stage.cloud.unmark(stage.call, ref, ["holdfast-owner", "never-there"])
    stage.cloud.unmark(stage.call, ref + "-gone", ["holdfast-owner"])

    assert stage.world.read(ref).tags == {"Team": "db"}


def test_a_lost_answer_survives_its_record() -> None:
    from holdfast.core.errors import error_from_record, error_to_record

    error = LostAnswer(method="PUT", ref="/x", cloud_code="AnswerLost", message="reset")

    assert error_from_record(error_to_record(error)) == error


PASSING = "InternalExecutionError"


@pytest.mark.parametrize("kind", ["fail", "half"])
def test_ensure_whose_operation_failed_for_a_passing_reason_ends_with_a_whole_resource(stage: Any, kind: str) -> None:
    stage.arm.faults.append(WireFault("PUT", "new-disk", kind, code=PASSING))

    made = stage.cloud.ensure(stage.call, disk(stage))

    assert made.get("properties.provisioningState") == "Succeeded"
    assert stage.world.refs(DISKS) == [made.ref]


def test_ensure_whose_operation_keeps_failing_says_why_and_leaves_nothing_whole_behind(stage: Any) -> None:
    stage.arm.faults.append(WireFault("PUT", "new-disk", "half", code=PASSING, message="the reason", times=99))

    with pytest.raises(CloudUnavailable) as caught:
        stage.cloud.ensure(stage.call, disk(stage))

    assert caught.value.details["message"] == "the reason"


@pytest.mark.parametrize("level", [PowerLevel.STOPPED, PowerLevel.DEALLOCATED])
def test_power_whose_operation_failed_for_a_passing_reason_arrives(stage: Any, level: PowerLevel) -> None:
    ref = stage.world.add_machine()
    stage.arm.faults.append(WireFault("POST", "db-1", "fail", code=PASSING))

    stage.cloud.power(stage.call, ref, level)

    assert stage.world.power_of(ref)[0] == Power(level)


def test_write_and_patch_whose_operation_failed_for_a_passing_reason_are_done(stage: Any) -> None:
    vm = stage.cloud.read(stage.world.add_machine())
    stage.arm.faults += [
        WireFault("PUT", "db-1", "fail", code=PASSING),
        WireFault("PATCH", "db-1", "fail", code=PASSING),
    ]

    stage.cloud.write(stage.call, vm.with_value("tags.team", "db"))
    patched = stage.cloud.patch(stage.call, vm.ref, {"properties": {"priority": "Spot"}})

    assert patched.tags["team"] == "db"
    assert patched.get("properties.priority") == "Spot"


def test_delete_whose_operation_failed_for_a_passing_reason_ends_with_the_resource_gone(stage: Any) -> None:
    made = stage.cloud.ensure(stage.call, disk(stage))
    stage.arm.faults.append(WireFault("DELETE", "new-disk", "fail", code=PASSING))

    stage.cloud.delete(stage.call, claim(made))

    assert not stage.world.exists(made.ref)


def test_an_operation_that_azure_forgot_is_settled_by_the_resource(stage_with: Callable[..., Any]) -> None:
    stage = stage_with(polls=3)
    stage.arm.faults.append(WireFault("GET", "/operations/", "refuse", 404, "NotFound", times=99))

    made = stage.cloud.ensure(stage.call, disk(stage))

    assert made.get("properties.provisioningState") == "Succeeded"

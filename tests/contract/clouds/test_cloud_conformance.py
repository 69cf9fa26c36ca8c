"""What every `Cloud` does alike: the in-memory double, AzureCloud on a wire of ours, and AzureCloud on azurelab."""

from __future__ import annotations

from contextlib import suppress

import pytest
from stages import OURS, SIZE, THEIRS, Stage

from fakes.cloud import DISKS, MACHINES
from holdfast.clouds.documents import Document, same_ref
from holdfast.clouds.errors import ChangedMeanwhile, CloudRefused, NameTaken, NoCapacity
from holdfast.clouds.protocols import Agent, Claim, ClaimReason, Power, PowerLevel, Probe, Severity
from holdfast.core.errors import NotFound
from holdfast.core.tags import OPERATION, ROLE


def claim(document: Document, identity: str | None = None, operation: str = OURS) -> Claim:
    return Claim(document.ref, identity or document.identity, ClaimReason.OURS, operation)


# ------------------------------------------------------------------------------------------------------- make exist


def test_ensure_makes_a_resource_once(stage: Stage) -> None:
    first = stage.cloud.ensure(stage.call(), stage.disk("d-1"))
    again = stage.cloud.ensure(stage.call(), stage.disk("d-1"))

    assert first.identity
    assert again.identity == first.identity
    assert stage.cloud.read(first.ref).tags == {OPERATION: OURS}


def test_ensure_never_takes_what_another_operation_made(stage: Stage) -> None:
    theirs = stage.cloud.ensure(stage.call(THEIRS), stage.disk("d-1", THEIRS))

    with pytest.raises(NameTaken):
        stage.cloud.ensure(stage.call(), stage.disk("d-1"))

    assert stage.cloud.read(theirs.ref).identity == theirs.identity


def test_ensure_never_takes_what_carries_no_tag_of_ours(stage: Stage) -> None:
    machine = stage.cloud.describe(stage.machine("db-1"))
    wanted = stage.successor("db-1", machine.disks[0].document.ref, machine.nics[0].ref)

    with pytest.raises(NameTaken):
        stage.cloud.ensure(stage.call(), wanted)

    assert stage.cloud.read(machine.machine.ref).identity == machine.machine.identity


def test_a_resource_made_again_under_its_name_has_another_identity(stage: Stage) -> None:
    first = stage.cloud.ensure(stage.call(), stage.disk("d-1"))
    stage.cloud.delete(stage.call(), claim(first))

    second = stage.cloud.ensure(stage.call(), stage.disk("d-1"))

    assert same_ref(first.ref, second.ref)
    assert first.identity != second.identity


def test_a_stopped_call_changes_nothing(stage: Stage) -> None:
    machine = stage.machine("db-1")
    before = stage.cloud.read(machine)
    stopped = stage.call(stop_after=0)

    for change in (
        lambda: stage.cloud.ensure(stopped, stage.disk("d-1")),
        lambda: stage.cloud.patch(stopped, machine, {"tags": {"a": "b"}}),
        lambda: stage.cloud.mark(stopped, machine, {"a": "b"}),
        lambda: stage.cloud.power(stopped, machine, PowerLevel.DEALLOCATED),
        lambda: stage.cloud.delete(stopped, claim(before)),
    ):
        with pytest.raises(InterruptedError):
            change()

    assert stage.cloud.read(stage.disk("d-1").ref) is None
    assert stage.cloud.read(machine).tags == before.tags
    assert stage.cloud.power_of(machine)[0] is Power.RUNNING


# --------------------------------------------------------------------------------------------------------- capacity


def test_a_machine_without_capacity_is_not_made_and_leaves_nothing(stage: Stage) -> None:
    facts = stage.cloud.describe(stage.machine("db-1", data_disks=0))
    stage.cloud.delete(stage.call(), claim(facts.machine))
    wanted = stage.successor("db-2", facts.disks[0].document.ref, facts.nics[0].ref, spot=True)
    stage.take_capacity(SIZE, spot=True)

    with pytest.raises(NoCapacity):
        stage.cloud.ensure(stage.call(), wanted)

    assert stage.cloud.read(wanted.ref) is None
    assert stage.cloud.read(facts.disks[0].document.ref).identity == facts.disks[0].document.identity


def test_after_a_market_without_capacity_the_next_one_gets_the_machine(stage: Stage) -> None:
    facts = stage.cloud.describe(stage.machine("db-1", data_disks=0))
    stage.cloud.delete(stage.call(), claim(facts.machine))
    parts = (facts.disks[0].document.ref, facts.nics[0].ref)
    stage.take_capacity(SIZE, spot=True)
    with suppress(NoCapacity):
        stage.cloud.ensure(stage.call(), stage.successor("db-2", *parts, spot=True))

    made = stage.cloud.ensure(stage.call(), stage.successor("db-2", *parts, size="Standard_D4s_v5"))

    assert made.get("properties.hardwareProfile.vmSize") == "Standard_D4s_v5"
    assert stage.cloud.power_of(made.ref)[0] is Power.RUNNING


def test_a_deallocated_machine_without_capacity_does_not_start(stage: Stage) -> None:
    machine = stage.machine("db-1")
    stage.cloud.power(stage.call(), machine, PowerLevel.DEALLOCATED)
    stage.take_capacity(SIZE, spot=False)

    with pytest.raises(NoCapacity):
        stage.cloud.power(stage.call(), machine, PowerLevel.RUNNING)

    assert stage.cloud.power_of(machine)[0] is Power.DEALLOCATED


# ----------------------------------------------------------------------------------------------------------- change


def test_write_puts_a_document_back_with_one_change(stage: Stage) -> None:
    machine = stage.cloud.read(stage.machine("db-1"))

    written = stage.cloud.write(stage.call(), machine.with_value("tags", {"team": "db"}))

    assert written.tags == {"team": "db"}
    assert written.identity == machine.identity
    assert written.get("properties.storageProfile") == machine.get("properties.storageProfile")


def test_write_of_a_machine_that_changed_meanwhile_is_refused(stage: Stage) -> None:
    machine = stage.cloud.read(stage.machine("db-1"))
    stage.cloud.mark(stage.call(), machine.ref, {"team": "theirs"})

    with pytest.raises(ChangedMeanwhile):
        stage.cloud.write(stage.call(), machine.with_value("tags", {"team": "ours"}))

    assert stage.cloud.read(machine.ref).tags == {"team": "theirs"}


def test_patch_of_delete_options_is_read_back(stage: Stage) -> None:
    machine = stage.cloud.read(stage.machine("db-1", delete_option="Delete"))
    storage = machine.get("properties.storageProfile")
    os_disk = {**storage["osDisk"], "deleteOption": "Detach"}

    patched = stage.cloud.patch(stage.call(), machine.ref, {"properties": {"storageProfile": {"osDisk": os_disk}}})

    assert patched.get("properties.storageProfile.osDisk.deleteOption") == "Detach"
    assert patched.get("properties.storageProfile.dataDisks")[0]["deleteOption"] == "Delete"


def test_marks_merge_and_unmarking_takes_only_the_named(stage: Stage) -> None:
    machine = stage.machine("db-1")
    stage.cloud.mark(stage.call(), machine, {"team": "db"})
    stage.cloud.mark(stage.call(), machine, {ROLE: "original"})

    stage.cloud.unmark(stage.call(), machine, [ROLE, "never-there"])
    stage.cloud.unmark(stage.call(), machine, [ROLE])
    stage.cloud.unmark(stage.call(), machine + "-gone", [ROLE])

    assert stage.cloud.read(machine).tags == {"team": "db"}


# ------------------------------------------------------------------------------------------------------------ power


@pytest.mark.parametrize("level", list(PowerLevel))
@pytest.mark.parametrize("before", list(PowerLevel))
def test_power_is_a_level(stage: Stage, before: PowerLevel, level: PowerLevel) -> None:
    machine = stage.machine("db-1", data_disks=0)
    stage.cloud.power(stage.call(), machine, before)

    stage.cloud.power(stage.call(), machine, level)
    stage.cloud.power(stage.call(), machine, level)

    assert stage.cloud.power_of(machine)[0].value == level.value


def test_the_agent_is_ready_while_the_machine_runs_only(stage: Stage) -> None:
    machine = stage.machine("db-1", data_disks=0)
    running = stage.cloud.power_of(machine)

    stage.cloud.power(stage.call(), machine, PowerLevel.DEALLOCATED)

    assert running == (Power.RUNNING, Agent.READY)
    assert stage.cloud.power_of(machine)[1] is not Agent.READY


def test_the_power_of_nobody_is_not_found(stage: Stage) -> None:
    nobody = stage.ref(MACHINES, "nobody")

    with pytest.raises(NotFound):
        stage.cloud.power_of(nobody)
    with pytest.raises(NotFound):
        stage.cloud.describe(nobody)
    with pytest.raises(NotFound):
        stage.cloud.power(stage.call(), nobody, PowerLevel.RUNNING)


# ----------------------------------------------------------------------------------------------------------- delete


def test_delete_is_done_once_and_absent_is_success(stage: Stage) -> None:
    made = stage.cloud.ensure(stage.call(), stage.disk("d-1"))

    stage.cloud.delete(stage.call(), claim(made))
    stage.cloud.delete(stage.call(), claim(made))

    assert stage.cloud.read(made.ref) is None


def test_delete_leaves_a_later_resource_of_the_same_name_alone(stage: Stage) -> None:
    first = stage.cloud.ensure(stage.call(), stage.disk("d-1"))
    stage.cloud.delete(stage.call(), claim(first))
    second = stage.cloud.ensure(stage.call(), stage.disk("d-1"))

    stage.cloud.delete(stage.call(), claim(first))

    assert stage.cloud.read(second.ref).identity == second.identity


def test_delete_without_an_identity_needs_the_operation_tag(stage: Stage) -> None:
    theirs = stage.cloud.ensure(stage.call(THEIRS), stage.disk("theirs", THEIRS))
    ours = stage.cloud.ensure(stage.call(), stage.disk("ours"))

    stage.cloud.delete(stage.call(), Claim(theirs.ref, None, ClaimReason.OURS, OURS))
    stage.cloud.delete(stage.call(), Claim(ours.ref, None, ClaimReason.OURS, OURS))

    assert stage.cloud.read(theirs.ref) is not None
    assert stage.cloud.read(ours.ref) is None


def test_a_disk_or_card_in_use_is_not_deleted(stage: Stage) -> None:
    facts = stage.cloud.describe(stage.machine("db-1"))

    for part in (facts.disks[0].document, facts.disks[1].document, facts.nics[0], facts.public_ips[0]):
        with pytest.raises(CloudRefused):
            stage.cloud.delete(stage.call(), claim(part))
        assert stage.cloud.read(part.ref) is not None


def test_a_machine_goes_without_its_detached_parts_and_can_be_made_again_from_them(stage: Stage) -> None:
    before = stage.cloud.describe(stage.machine("db-1"))
    stage.cloud.delete(stage.call(), claim(before.machine))
    parts = (before.disks[0].document.ref, before.nics[0].ref)

    stage.cloud.ensure(stage.call(), stage.successor("db-1", *parts))

    after = stage.cloud.describe(before.machine.ref)
    assert after.machine.identity != before.machine.identity
    assert after.disks[0].document.identity == before.disks[0].document.identity
    assert after.nics[0].identity == before.nics[0].identity
    (was,) = before.nics[0].get("properties.ipConfigurations")
    (now,) = after.nics[0].get("properties.ipConfigurations")
    assert now["properties"]["privateIPAddress"] == was["properties"]["privateIPAddress"]
    assert after.public_ips[0].get("properties.ipAddress") == before.public_ips[0].get("properties.ipAddress")


def test_a_snapshot_outlives_its_disk(stage: Stage) -> None:
    disk = stage.cloud.ensure(stage.call(), stage.disk("d-1"))
    snapshot = stage.cloud.ensure(stage.call(), stage.snapshot("s-1", disk.ref))

    stage.cloud.delete(stage.call(), claim(disk))

    assert stage.cloud.read(snapshot.ref).identity == snapshot.identity


# ------------------------------------------------------------------------------------------------------------- read


def test_describe_gives_everything_in_order(stage: Stage) -> None:
    facts = stage.cloud.describe(stage.machine("db-1", data_disks=2))

    assert facts.power is Power.RUNNING
    assert not facts.generalized
    assert [disk.lun for disk in facts.disks] == [None, 0, 1]
    assert all(disk.document.identity for disk in facts.disks)
    assert len(facts.nics) == len(facts.public_ips) == 1
    assert facts.size["name"] == SIZE
    assert facts.locks == ()


def test_names_lead_to_the_id(stage: Stage) -> None:
    machine = stage.machine("db-1", data_disks=0)

    assert same_ref(stage.cloud.ref_of(stage.group.rsplit("/", 1)[-1], "db-1"), machine)


def test_observe_shows_machines_with_power_and_addresses(stage: Stage) -> None:
    stage.machine("db-1", data_disks=2)
    stopped = stage.machine("db-2", data_disks=0)
    stage.cloud.power(stage.call(), stopped, PowerLevel.DEALLOCATED)

    seen = {one.name: one for one in stage.cloud.observe(stage.group.rsplit("/", 1)[-1])}

    assert seen["db-1"].power is Power.RUNNING
    assert seen["db-2"].power is Power.DEALLOCATED
    assert (seen["db-1"].size, seen["db-1"].disks, seen["db-1"].priority) == (SIZE, 3, "Regular")
    assert seen["db-1"].identity == stage.cloud.read(seen["db-1"].ref).identity
    assert seen["db-1"].private_ip
    assert seen["db-1"].public_ip


def test_find_goes_by_all_tags(stage: Stage) -> None:
    machine = stage.machine("db-1")
    disk = stage.cloud.ensure(stage.call(), stage.disk("d-1"))
    stage.cloud.mark(stage.call(), machine, {OPERATION: OURS, ROLE: "original"})

    here = stage.group.lower() + "/"  # a lab is shared by many tests
    both = {one.ref.lower() for one in stage.cloud.find({OPERATION: OURS}) if one.ref.lower().startswith(here)}
    one = [found.ref.lower() for found in stage.cloud.find({OPERATION: OURS, ROLE: "original"})]

    assert both == {machine.lower(), disk.ref.lower()}
    assert [ref for ref in one if ref.startswith(here)] == [machine.lower()]
    assert list(stage.cloud.find({OPERATION: "op-0000000000000000"})) == []


def test_an_absent_resource_reads_as_none(stage: Stage) -> None:
    assert stage.cloud.read(stage.ref(DISKS, "nobody")) is None


def test_a_good_cloud_has_no_refusal(stage: Stage) -> None:
    stage.machine("db-1", data_disks=0)

    assert [finding for finding in stage.cloud.check() if finding.severity is Severity.REFUSAL] == []
    assert list(stage.cloud.missing_permissions(stage.group, ["Microsoft.Compute/disks/write"])) == []


def test_sizes_of_a_location_are_known(stage: Stage) -> None:
    names = {size["name"] for size in stage.cloud.sizes(stage.location)}

    assert {SIZE, "Standard_D4s_v5"} <= names
    assert stage.cloud.sizes("atlantis") == ()


def test_a_machine_that_does_not_run_passes_no_probe(stage: Stage) -> None:
    machine = stage.machine("db-1", data_disks=0)
    stage.cloud.power(stage.call(), machine, PowerLevel.DEALLOCATED)

    assert not stage.cloud.probe(machine, Probe("tcp://:22")).passed

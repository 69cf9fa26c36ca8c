"""The originals while they are retained: kept, extended, given back, deleted, or kept because something is wrong."""

from __future__ import annotations

from datetime import timedelta

import pytest

from fakes.cloud import DISKS, MACHINES, SNAPSHOTS
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Agent, Power
from holdfast.core.errors import HoldfastError
from holdfast.engine import State
from holdfast.imports.options import DiskSource, NetworkSource
from holdfast.imports.records import ImportRow
from story.imports.import_rig import ImportRig, options

NEW, KEEP = NetworkSource.NEW, NetworkSource.KEEP
SNAPSHOT, REATTACH = DiskSource.SNAPSHOT, DiskSource.REATTACH


def imported(rig: ImportRig, network: NetworkSource = NEW, disks: DiskSource = SNAPSHOT, **more: object) -> ImportRow:
    machine = rig.cloud.add_machine()
    row, view = rig.run_import(machine, options(network, disks, **more))
    assert view.state is State.DONE, view.error
    return row


def pass_hours(rig: ImportRig, hours: float) -> None:
    rig.clock.advance(timedelta(hours=hours))
    rig.engine.tick()


def test_extended_retention_moves_the_deletion(rig: ImportRig) -> None:
    row = imported(rig)
    rig.service.extend(row.id, timedelta(hours=24), actor="test")

    pass_hours(rig, 119.9)
    assert rig.row(row.id).state == "imported"
    pass_hours(rig, 0.2)

    assert rig.row(row.id).state == "finished"


def test_finishing_early_deletes_the_originals_at_once_and_asks_before(rig: ImportRig) -> None:
    row = imported(rig)

    with pytest.raises(HoldfastError) as refused:
        rig.service.finish(row.id, actor="test", confirmed=False)
    assert refused.value.code == "import.not_confirmed"
    view = rig.run(rig.service.finish(row.id, actor="test", confirmed=True))

    assert view.state is State.DONE
    assert len(rig.cloud.refs(MACHINES)) == 1
    assert rig.cloud.refs(SNAPSHOTS) == []


def test_nothing_can_be_undone_or_extended_once_the_clean_up_holds_the_claim(rig: ImportRig) -> None:
    row = imported(rig)
    rig.service.finish(row.id, actor="test", confirmed=True)

    for attempt in (
        lambda: rig.service.undo(row.id, actor="test"),
        lambda: rig.service.extend(row.id, timedelta(hours=1), actor="test"),
        lambda: rig.service.undo_plan(row.id),
    ):
        with pytest.raises(HoldfastError) as refused:
            attempt()
        assert refused.value.code == "import.too_late"


@pytest.mark.parametrize(
    "what", ["original runs", "node evicted", "agent silent", "probe fails", "disk attached", "locked"]
)
def test_clean_up_stops_with_a_finding_and_keeps_everything_until_it_is_mended(rig: ImportRig, what: str) -> None:
    row = imported(rig, probes=("tcp://:22",))
    original = rig.cloud.ref_of("rg-1", "db-1")
    node = str(rig.node(row).machine)
    data_disk = rig.cloud.ref("rg-1", DISKS, "db-1-data-0")
    kept = rig.cloud.refs()
    reason, mend = {
        "original runs": ("ORIGINAL_RUNS", lambda: rig.cloud.set_power(original, Power.DEALLOCATED)),
        "node evicted": ("NODE_NOT_HEALTHY", lambda: rig.cloud.set_power(node, Power.RUNNING)),
        "agent silent": ("NODE_NOT_HEALTHY", lambda: rig.cloud.agents.clear()),
        "probe fails": ("NODE_NOT_HEALTHY", lambda: rig.cloud.failing_probes.clear()),
        "locked": ("LOCKED", lambda: rig.cloud.locks.clear()),
        "disk attached": ("RETAINED_PART_IN_USE", lambda: rig.cloud.change(data_disk, "managedBy", original)),
    }[what]
    match what:
        case "original runs":
            rig.cloud.set_power(original, Power.RUNNING)
        case "node evicted":
            rig.cloud.set_power(node, Power.DEALLOCATED)
        case "agent silent":
            rig.cloud.agents[node.lower()] = Agent.NOT_READY
        case "probe fails":
            rig.cloud.failing_probes.add("tcp://:22")
        case "locked":
            ref = f"{data_disk}/providers/Microsoft.Authorization/locks/keep"
            level = {"properties": {"level": "CanNotDelete"}}
            rig.cloud.locks.append(Document(ref, "Microsoft.Authorization/locks", "2020-05-01", level))
        case _:
            rig.cloud.change(data_disk, "managedBy", rig.cloud.ref_of("rg-1", "stranger"))

    pass_hours(rig, 96.1)

    row = rig.row(row.id)
    assert row.state == "imported"
    assert reason in str(row.attention)
    assert rig.cloud.refs() == kept
    mend()
    rig.engine.tick()
    pass_hours(rig, 0.1)
    pass_hours(rig, 1.1)
    assert rig.row(row.id).state == "finished"


def test_originals_that_somebody_replaced_under_their_names_are_left_alone(rig: ImportRig) -> None:
    row = imported(rig)
    original = rig.cloud.ref_of("rg-1", "db-1")
    rig.cloud.remove(original)
    stranger = rig.cloud.add_machine("db-1", "rg-1", public_ip=False)
    assert stranger == original

    pass_hours(rig, 96.1)

    assert rig.cloud.exists(stranger)
    assert rig.row(row.id).state in ("finished", "imported")


def test_a_node_that_took_over_the_originals_name_is_never_taken_for_the_original(rig: ImportRig) -> None:
    row = imported(rig, KEEP, SNAPSHOT)
    node = str(rig.node(row).machine)
    assert node == rig.cloud.ref_of("rg-1", "db-1")

    pass_hours(rig, 96.1)

    assert rig.row(row.id).state == "finished"
    assert rig.cloud.describe(node).power is Power.RUNNING


def test_undo_to_the_import_point_brings_the_disks_as_they_were_and_keeps_the_newer_ones_for_a_while(
    rig: ImportRig,
) -> None:
    machine = rig.cloud.add_machine()
    os_disk = rig.cloud.ref("rg-1", DISKS, "db-1-os")
    rig.cloud.write_data(os_disk, "before")
    row, _ = rig.run_import(machine, options(KEEP, REATTACH))
    rig.cloud.write_data(os_disk, " and after")

    view = rig.run(rig.service.undo(row.id, actor="test", to_import_point=True))

    assert view.state is State.DONE, view.error
    facts = rig.cloud.describe(machine)
    now = facts.disks[0].document
    assert now is not None
    assert now.ref != os_disk
    assert rig.cloud.content_of(now.ref).endswith("before")
    assert rig.cloud.content_of(os_disk).endswith("before and after")
    pass_hours(rig, 96.1)
    assert not rig.cloud.exists(os_disk)
    assert rig.cloud.exists(now.ref)


def test_undo_of_reattached_disks_keeps_the_same_ids_with_their_present_content(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    os_disk = rig.cloud.ref("rg-1", DISKS, "db-1-os")
    row, _ = rig.run_import(machine, options(NEW, REATTACH))
    rig.cloud.write_data(os_disk, "written as a node")

    rig.run(rig.service.undo(row.id, actor="test"))

    facts = rig.cloud.describe(machine)
    assert facts.disks[0].document is not None
    assert facts.disks[0].document.ref == os_disk
    assert rig.cloud.content_of(os_disk).endswith("written as a node")


def test_undone_machine_can_be_imported_again(rig: ImportRig) -> None:
    row = imported(rig, KEEP, REATTACH)
    machine = rig.cloud.ref_of("rg-1", "db-1")
    rig.run(rig.service.undo(row.id, actor="test"))

    again, view = rig.run_import(machine, options(KEEP, REATTACH))

    assert view.state is State.DONE, view.error
    assert again.state == "imported"


def test_second_import_of_the_same_machine_is_refused_while_one_is_open(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    rig.begin(machine, options(NEW, SNAPSHOT))

    with pytest.raises(HoldfastError) as refused:
        rig.begin(machine, options(NEW, SNAPSHOT))

    assert refused.value.exit_code == 4


def test_nothing_is_deleted_while_our_clock_and_the_clouds_disagree(
    rig: ImportRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = imported(rig)
    kept = rig.cloud.refs()
    monkeypatch.setattr(type(rig.cloud), "clock_offset", timedelta(minutes=-6), raising=False)

    pass_hours(rig, 96.1)

    assert "CLOCK_OFFSET" in str(rig.row(row.id).attention)
    assert rig.cloud.refs() == kept

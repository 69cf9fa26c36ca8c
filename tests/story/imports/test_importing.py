"""Imports on the in-memory cloud: what each variant leaves, forward and back."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fakes.cloud import DISKS, MACHINES, SNAPSHOTS
from holdfast.clouds.errors import NoCapacity
from holdfast.clouds.protocols import Power
from holdfast.engine import State
from holdfast.imports.options import DiskSource, NetworkSource
from story.imports.import_rig import VARIANTS, ImportRig, options

variants = pytest.mark.parametrize(("network", "disks"), VARIANTS, ids=lambda value: value.value)


@variants
@pytest.mark.parametrize("power", [Power.RUNNING, Power.DEALLOCATED], ids=lambda value: value.value)
def test_import_of_a_machine_ends_with_a_node_that_has_its_data_and_its_power(
    rig: ImportRig, network: NetworkSource, disks: DiskSource, power: Power
) -> None:
    machine = rig.cloud.add_machine(power=power)
    os_disk = rig.cloud.ref("rg-1", DISKS, "db-1-os")
    rig.cloud.write_data(os_disk, "written before the import")

    row, view = rig.run_import(machine, options(network, disks))

    assert view.state is State.DONE, view.error
    assert row.state == "imported"
    node = rig.node(row)
    assert node.state == ("active" if power is Power.RUNNING else "stopped")
    assert node.machine is not None
    facts = rig.cloud.describe(node.machine)
    assert facts.power is power
    assert "written before the import" in rig.cloud.content_of(facts.disks[0].document.ref)  # type: ignore[union-attr]
    assert rig.cloud.violations == []
    assert rig.unrecorded() == []


@variants
def test_undo_of_an_import_gives_the_machine_back_as_it_was(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete", tags={"team": "db"})
    before = rig.cloud.state_of(machine)
    row, _ = rig.run_import(machine, options(network, disks))

    view = rig.run(rig.service.undo(row.id, actor="test"))

    assert view.state is State.DONE, view.error
    assert rig.row(row.id).state == "undone"
    assert as_before(rig.cloud.state_of(machine), before)
    assert rig.cloud.violations == []
    assert rig.cloud.refs(MACHINES) == [machine]
    assert len(rig.cloud.refs(DISKS)) == 2
    assert all(ref.endswith("-node") for ref in rig.cloud.refs(SNAPSHOTS))
    rig.clock.advance(timedelta(hours=97))
    rig.engine.tick()
    assert rig.cloud.refs(SNAPSHOTS) == []


@variants
def test_originals_are_kept_until_the_retention_ends_and_the_nodes_parts_stay(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = rig.cloud.add_machine()
    row, _ = rig.run_import(machine, options(network, disks))
    node = rig.node(row)
    used = rig.cloud.describe(str(node.machine))
    parts = {d.document.ref for d in used.disks if d.document} | {n.ref for n in used.nics}
    parts |= {a.ref for a in used.public_ips}
    all_before = rig.cloud.refs()

    rig.clock.advance(timedelta(hours=95.9))
    rig.engine.tick()
    assert rig.cloud.refs() == all_before
    rig.clock.advance(timedelta(hours=0.2))
    rig.engine.tick()

    assert rig.row(row.id).state == "finished"
    assert set(rig.cloud.refs()) == parts | {str(node.machine)}
    assert rig.cloud.describe(str(node.machine)).power is Power.RUNNING


@variants
def test_cancelled_import_gives_everything_back_and_leaves_no_timer(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete")
    before = rig.cloud.state_of(machine)
    started = rig.begin(machine, options(network, disks))
    rig.cloud.failing_probes.add("tcp://:22")
    assert rig.engine.cancel(started.operation)

    view = rig.run(started.operation)

    assert view.state is State.CANCELLED
    assert rig.row(started.import_id).state == "cancelled"
    assert as_before(rig.cloud.state_of(machine), before)
    with rig.database.read() as session:
        assert rig.engine.timers.list(session, state=None) == ()


@variants
def test_import_whose_machine_cannot_be_proven_gives_the_original_back(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete")
    before = rig.cloud.state_of(machine)
    rig.cloud.failing_probes.add("tcp://:22")

    row, view = rig.run_import(machine, options(network, disks, probes=("tcp://:22",)))

    assert view.state is State.FAILED
    assert row.state == "failed"
    assert view.error is not None
    assert view.error.code == "operation.wait_timed_out"
    assert as_before(rig.cloud.state_of(machine), before)
    assert rig.cloud.violations == []
    left = set(rig.cloud.refs()) - {ref for ref in rig.cloud.refs() if ref.lower() in before["documents"]}
    kept = {entry.ref for entry in rig.ledger(row.id) if entry.fate.value == "retained"}
    assert left == kept  # the safety snapshots, where the machine that was given up ran on the original's disks
    assert bool(left) is (disks is DiskSource.REATTACH)
    assert rig.unrecorded() == []


def test_launch_goes_on_to_the_next_market_and_at_last_to_on_demand(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    sizes = [str(size["name"]).lower() for size in rig.cloud.size_list]
    rig.cloud.capacity_out |= {(size, "spot") for size in sizes}

    row, view = rig.run_import(machine, options(NetworkSource.NEW, DiskSource.SNAPSHOT))

    assert view.state is State.DONE
    node = rig.node(row)
    assert not node.spot
    assert node.size == "Standard_D2s_v5"


def test_undo_is_stuck_when_the_original_has_no_hardware_and_the_node_can_be_started_again(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    named = {"compute": {"launchSpecification": {"vmName": "node-1"}}}
    row, _ = rig.run_import(machine, options(NetworkSource.NEW, DiskSource.SNAPSHOT), named)
    refused = NoCapacity(cloud_code="AllocationFailed", message="no hardware")
    rig.cloud.fail("power", refused, about="virtualMachines/db-1", times=100)

    view = rig.run(rig.service.undo(row.id, actor="test"))

    assert view.state is State.STUCK
    assert rig.row(row.id).state == "stuck"
    node = rig.node(row)
    assert rig.cloud.describe(str(node.machine)).power is Power.DEALLOCATED
    rig.cloud.faults.clear()
    rig.service.cancel(row.id, actor="test")
    assert rig.run(rig.row(row.id).working).state is State.CANCELLED
    assert rig.row(row.id).state == "imported"
    assert rig.cloud.describe(str(node.machine)).power is Power.RUNNING
    assert rig.cloud.violations == []
    rig.clock.advance(3600)
    rig.engine.tick()
    with rig.database.read() as session:
        armed = rig.engine.timers.list(session)
    assert [timer.kind for timer in armed] == ["finish-import"]


def as_before(now: dict[str, Any], before: dict[str, Any]) -> bool:
    """Equal but for what the plan announces when an object is made again."""
    assert now["power"] == before["power"]
    assert now["contents"] == before["contents"]
    assert _comparable(now) == _comparable(before)
    return True


def _comparable(state: dict[str, Any]) -> dict[str, Any]:
    out = {}
    for ref, body in state["documents"].items():
        clean = {key: value for key, value in body.items() if value not in (None, {}, [])}
        properties = {
            key: value
            for key, value in (clean.get("properties") or {}).items()
            if key not in ("vmId", "timeCreated", "osProfile", "provisioningState", "diskState")
        }
        storage = properties.get("storageProfile")
        if storage:
            properties["storageProfile"] = _storage(storage)
        out[ref] = {**clean, "properties": properties}
    return out


def _storage(storage: dict[str, Any]) -> dict[str, Any]:
    def disk(told: dict[str, Any]) -> dict[str, Any]:
        kept = {key: told.get(key) for key in ("lun", "caching", "deleteOption")}
        return {**kept, "id": told["managedDisk"]["id"].lower()}

    return {"osDisk": disk(storage["osDisk"]), "dataDisks": [disk(told) for told in storage.get("dataDisks") or []]}

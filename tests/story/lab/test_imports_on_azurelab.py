"""Imports by the client that drives Azure, on azurelab: documents, bytes, addresses and the lab's own event log."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from holdfast.engine import State
from holdfast.imports.options import DiskSource, NetworkSource
from story.imports.import_rig import VARIANTS, options
from story.lab.lab_rig import LabRig, Town

variants = pytest.mark.parametrize(("network", "disks"), VARIANTS, ids=lambda value: value.value)


@variants
@pytest.mark.parametrize("running", [True, False], ids=["running", "deallocated"])
def test_import_and_undo_keep_every_byte_address_and_document(
    tmp_path: Path, town: Town, network: NetworkSource, disks: DiskSource, running: bool
) -> None:
    rig = LabRig(tmp_path / "home", town, running=running)

    row, view = rig.run_import(rig.machine, options(network, disks))

    assert view.state is State.DONE, view.error
    node = rig.node(row)
    assert node.machine is not None
    assert node.state == ("active" if running else "stopped")
    now = town.state_of(node.machine)
    assert now["bytes"] == rig.before["bytes"]
    assert now["power"] == rig.before["power"]
    if network is NetworkSource.KEEP:
        assert node.machine.lower() == rig.machine.lower()
        assert now["addresses"] == without_our_tags(rig.before["addresses"], now["addresses"])
        assert node.public_ip == rig.before["addresses"][0]["properties"]["ipAddress"]
    if disks is DiskSource.REATTACH:
        assert [disk["id"] for disk in now["disks"]] == [disk["id"] for disk in rig.before["disks"]]
    assert rig.untracked() == set()

    undone = rig.run(rig.service.undo(row.id, actor="test"))

    assert undone.state is State.DONE, undone.error
    assert town.state_of(rig.machine) == rig.before
    left = rig.resources() - rig.there
    assert all(ref.endswith("-node") for ref in left)
    assert rig.there <= rig.resources()
    assert rig.twins() == []
    assert rig.deleted_unrecorded() == []
    rig.close()


@variants
def test_nothing_is_deleted_before_the_retention_ends_and_only_the_originals_after_it(
    rig: LabRig, network: NetworkSource, disks: DiskSource
) -> None:
    row, _ = rig.run_import(rig.machine, options(network, disks))
    node = str(rig.node(row).machine)
    imported = rig.resources()
    used = rig.town.state_of(node)

    rig.clock.advance(timedelta(hours=95.9))
    rig.engine.tick()
    assert rig.resources() == imported
    rig.clock.advance(timedelta(hours=0.2))
    rig.engine.tick()

    assert rig.row(row.id).state == "finished", rig.row(row.id).attention
    assert rig.town.state_of(node) == used
    parts = {node.lower(), *(part["id"] for kind in ("disks", "nics", "addresses") for part in used[kind])}
    vnet = {ref for ref in rig.there if "/virtualnetworks/" in ref}
    assert rig.resources() == {part.lower() for part in parts} | vnet
    assert rig.twins() == []


def test_plan_sends_no_write(rig: LabRig) -> None:
    for network, disks in VARIANTS:
        rig.service.plan("lab", rig.machine, options(network, disks))

    assert rig.writes() == []
    assert rig.events() == []


def test_disk_that_somebody_attached_to_the_original_since_is_not_deleted_with_it(rig: LabRig) -> None:
    row, _ = rig.run_import(rig.machine, options(NetworkSource.NEW, DiskSource.SNAPSHOT))
    late = f"{rig.group}/providers/Microsoft.Compute/disks/late"
    body = {"sku": {"name": "Premium_LRS"}, "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 4}}
    rig.town.put(late, body, "2024-03-02")
    found = rig.town.get(rig.machine)
    assert found is not None
    storage = found["properties"]["storageProfile"]
    attached = {"lun": 9, "createOption": "Attach", "managedDisk": {"id": late}, "deleteOption": "Delete"}
    storage["dataDisks"].append(attached)
    rig.town.put(rig.machine, {"tags": found["tags"], "properties": {"storageProfile": storage}}, "2024-07-01")

    rig.clock.advance(timedelta(hours=96.1))
    rig.engine.tick()

    assert rig.row(row.id).state == "finished", rig.row(row.id).attention
    assert late.lower() in rig.resources()


def without_our_tags(before: object, now: object) -> object:
    """Addresses that the node uses carry our tags; everything else about them is as it was."""
    assert isinstance(now, list)
    for address in now:
        tags = address.pop("tags", {})
        assert all(name.startswith("holdfast-") for name in tags)
    return before


@pytest.mark.parametrize(
    ("network", "disks"),
    [(NetworkSource.NEW, DiskSource.SNAPSHOT), (NetworkSource.KEEP, DiskSource.REATTACH)],
    ids=lambda value: value.value,
)
def test_machine_on_blobs_is_converted_imported_and_given_back_with_managed_disks(
    rig: LabRig, network: NetworkSource, disks: DiskSource
) -> None:
    town = rig.town
    group = town.group()
    machine = town.machine(group, unmanaged=True)

    row, view = rig.run_import(machine, options(network, disks, convert_unmanaged_disks=True))

    assert view.state is State.DONE, view.error
    node = town.state_of(str(rig.node(row).machine))
    assert len(node["disks"]) == 3
    assert node["power"] == ["PowerState/running"]
    undone = rig.run(rig.service.undo(row.id, actor="test"))
    assert undone.state is State.DONE, undone.error
    back = town.state_of(machine)
    assert back["bytes"] == node["bytes"]
    assert back["power"] == ["PowerState/running"]
    assert back["machine"]["tags"] == {"team": "db"}
    assert all("sourceUri" in disk["properties"]["creationData"] for disk in back["disks"])  # its own, made of blobs
    assert rig.twins() == []
    assert rig.untracked() == set()

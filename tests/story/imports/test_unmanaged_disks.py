"""Machines whose disks are blobs: converted once they are stopped, where that was asked for; all else as ever."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes.cloud import DISKS, SNAPSHOTS
from holdfast.clouds.protocols import Power
from holdfast.engine import Crash, Crashed, State, crash_points
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource
from story.imports.counting import REFUSED, UNAVAILABLE, CountingCloud
from story.imports.import_rig import VARIANTS, ImportRig, options

variants = pytest.mark.parametrize(("network", "disks"), VARIANTS, ids=lambda value: value.value)


class Old(ImportRig):
    """A home whose one machine has its disks as blobs."""

    def __init__(self, folder: Path, power: Power = Power.RUNNING) -> None:
        folder.mkdir(exist_ok=True)
        self.cloud: CountingCloud
        super().__init__(folder, cloud=CountingCloud())
        self.machine = self.cloud.add_machine(power=power, delete_option="Delete", tags={"team": "db"})
        self.cloud.write_data(self.cloud.ref("rg-1", DISKS, "db-1-os"), "system")
        self.cloud.write_data(self.cloud.ref("rg-1", DISKS, "db-1-data-0"), "ledger")
        self.cloud.make_unmanaged(self.machine)
        self.power = power

    def content(self, machine: str) -> list[str]:
        facts = self.cloud.describe(machine)
        return [self.cloud.content_of(d.document.ref if d.document else str(d.vhd_uri)) for d in facts.disks]

    def check_original_is_back(self) -> None:
        facts = self.cloud.describe(self.machine)
        assert self.content(self.machine) == ["system", "ledger"]
        assert facts.power is self.power
        assert facts.machine.tags == {"team": "db"}
        (card,) = facts.machine.get("properties.networkProfile.networkInterfaces")
        assert card["properties"]["deleteOption"] == "Delete"
        assert all(disk.document is None or not disk.document.tags for disk in facts.disks)
        assert self.cloud.violations == []
        assert self.unrecorded() == []


def asked(network: NetworkSource, disks: DiskSource, **more: Any) -> ImportOptions:
    return options(network, disks, convert_unmanaged_disks=True, **more)


@variants
@pytest.mark.parametrize("power", [Power.RUNNING, Power.DEALLOCATED], ids=lambda value: value.value)
def test_blobs_become_managed_disks_and_the_node_has_their_data(
    tmp_path: Path, network: NetworkSource, disks: DiskSource, power: Power
) -> None:
    old = Old(tmp_path, power)

    row, view = old.run_import(old.machine, asked(network, disks))

    assert view.state is State.DONE, view.error
    node = str(old.node(row).machine)
    assert old.content(node) == ["system", "ledger"]
    assert old.cloud.describe(node).power is power
    assert all(disk.document is not None for disk in old.cloud.describe(node).disks)
    assert old.cloud.violations == []
    assert old.unrecorded() == []


@variants
def test_undo_gives_the_machine_back_with_managed_disks(
    tmp_path: Path, network: NetworkSource, disks: DiskSource
) -> None:
    old = Old(tmp_path)
    row, _ = old.run_import(old.machine, asked(network, disks))

    view = old.run(old.service.undo(row.id, actor="test"))

    assert view.state is State.DONE, view.error
    old.check_original_is_back()
    assert len(old.cloud.refs(DISKS)) == 2
    assert all(ref.endswith("-node") for ref in old.cloud.refs(SNAPSHOTS))


@variants
def test_originals_that_were_converted_go_with_the_retention(
    tmp_path: Path, network: NetworkSource, disks: DiskSource
) -> None:
    old = Old(tmp_path)
    row, _ = old.run_import(old.machine, asked(network, disks))

    old.clock.advance(timedelta(hours=96.1))
    old.engine.tick()

    assert old.row(row.id).state == "finished"
    assert old.content(str(old.node(row).machine)) == ["system", "ledger"]
    assert len(old.cloud.refs(DISKS)) == 2
    assert old.cloud.refs(SNAPSHOTS) == []


def test_plan_says_what_cannot_come_back_and_where_the_blobs_stay(tmp_path: Path) -> None:
    old = Old(tmp_path)

    plan = old.service.plan("lab", old.machine, asked(NetworkSource.NEW, DiskSource.SNAPSHOT))

    (finding,) = (one for one in plan.findings if one.code == "UNMANAGED_DISKS_CONVERTED")
    assert "https://store.blob.core.windows.net/vhds/db-1-os.vhd" in finding.remedy
    assert [action.role for action in plan.actions if action.verb == "convert"] == [
        "original/os-disk",
        "original/data-disk-0",
    ]
    assert "convert to managed disks" in plan.downtime.parts
    assert old.cloud.changes == []


def test_import_whose_proof_fails_after_the_conversion_gives_the_machine_back_and_says_so(tmp_path: Path) -> None:
    old = Old(tmp_path)
    old.cloud.failing_probes.add("tcp://:22")

    row, view = old.run_import(old.machine, asked(NetworkSource.NEW, DiskSource.SNAPSHOT, probes=("tcp://:22",)))

    assert (view.state, row.state) == (State.FAILED, "failed")
    old.check_original_is_back()
    assert any("managed disks" in warning for warning in row.warnings)


EXTREMES = [(NetworkSource.NEW, DiskSource.SNAPSHOT), (NetworkSource.KEEP, DiskSource.REATTACH)]
extremes = pytest.mark.parametrize("variant", EXTREMES, ids=lambda value: "-".join(part.value for part in value))


@extremes
@pytest.mark.timeout(600)
def test_conversion_crashed_anywhere_loses_nothing(tmp_path: Path, variant: tuple[NetworkSource, DiskSource]) -> None:
    clean = Old(tmp_path / "clean")
    started = clean.begin(clean.machine, asked(*variant))
    assert clean.engine.run(started.operation).state is State.DONE
    steps = clean.engine.steps(started.operation)
    around = {"stop_original", "convert_and_plan_again", "take_in_converted_disks", "take_final_snapshots"}
    points: list[Crash] = [crash for crash in crash_points(steps) if any(name in str(crash) for name in around)]
    clean.database.close()

    assert len(points) >= len(around)
    for number, crash in enumerate(points):
        old = Old(tmp_path / f"crash-{number}")
        started = old.begin(old.machine, asked(*variant))
        old.start_engine(crash)
        with pytest.raises(Crashed):
            old.engine.run(started.operation)
        old.start_engine()
        old.engine.recover()
        row = old.row(started.import_id)
        assert row.state in ("imported", "cancelled"), f"{crash}: {row.error}"
        if row.state == "imported":
            assert old.content(str(old.node(row).machine)) == ["system", "ledger"]
        else:
            old.check_original_is_back()
        assert old.cloud.violations == []
        assert old.unrecorded() == []
        old.database.close()


@extremes
@pytest.mark.parametrize(
    ("error", "after"), [(UNAVAILABLE, False), (UNAVAILABLE, True), (REFUSED, False), (REFUSED, True)]
)
@pytest.mark.timeout(600)
def test_conversion_whose_every_change_fails_once_ends_in_one_of_two_states(
    tmp_path: Path, variant: tuple[NetworkSource, DiskSource], error: Exception, after: bool
) -> None:
    clean = Old(tmp_path / "clean")
    clean.run_import(clean.machine, asked(*variant))
    around = [n for n, change in enumerate(clean.cloud.changes) if change.startswith("convert_disks")]
    numbers = range(around[0] - 1, around[0] + 6)
    clean.database.close()

    for number in numbers:
        old = Old(tmp_path / f"fail-{number}")
        old.cloud.fail_at, old.cloud.error, old.cloud.after = number, error, after
        row, _ = old.run_import(old.machine, asked(*variant))
        assert row.state in ("imported", "failed"), f"{old.cloud.changes[number]}: {row.error}"
        if row.state == "imported":
            assert old.content(str(old.node(row).machine)) == ["system", "ledger"]
        else:
            old.sweep()
            old.check_original_is_back()
        old.database.close()


def crashed_before_the_conversion(folder: Path) -> tuple[Old, str]:
    """A home whose process died when everything was ready to convert."""
    clean = Old(folder / "clean")
    started = clean.begin(clean.machine, asked(NetworkSource.NEW, DiskSource.SNAPSHOT))
    clean.engine.run(started.operation)
    steps = clean.engine.steps(started.operation)
    crash = next(c for c in crash_points(steps) if "convert_and_plan_again-before_call" in str(c))
    clean.database.close()
    old = Old(folder / "home")
    started = old.begin(old.machine, asked(NetworkSource.NEW, DiskSource.SNAPSHOT))
    old.start_engine(crash)
    with pytest.raises(Crashed):
        old.engine.run(started.operation)
    old.start_engine()
    return old, started.import_id


def test_machine_that_took_the_name_before_the_conversion_is_not_converted(tmp_path: Path) -> None:
    old, import_id = crashed_before_the_conversion(tmp_path)
    old.cloud.remove(old.machine)
    old.cloud.add_machine(power=Power.DEALLOCATED)
    old.cloud.make_unmanaged(old.machine)

    old.engine.recover()

    row = old.row(import_id)
    assert row.state == "failed", row.error
    assert row.error["code"] == "import.original_changed"
    assert all(disk.document is None for disk in old.cloud.describe(old.machine).disks)
    assert not any("managed disks" in warning for warning in row.warnings)


def test_blob_attached_since_the_plan_stops_the_import_before_anything_is_converted(tmp_path: Path) -> None:
    old, import_id = crashed_before_the_conversion(tmp_path)
    disks = old.cloud.describe(old.machine).machine.get("properties.storageProfile.dataDisks")
    late = {"lun": 7, "name": "late", "createOption": "Attach", "vhd": {"uri": "https://x/vhds/late.vhd"}}
    old.cloud.change(old.machine, "properties.storageProfile.dataDisks", [*disks, late])

    old.engine.recover()

    row = old.row(import_id)
    assert row.state == "failed", row.error
    assert row.error["code"] == "import.original_changed"
    assert "lun 7" in row.error["text"]
    facts = old.cloud.describe(old.machine)
    assert [disk.document for disk in facts.disks] == [None, None, None]
    assert facts.power is Power.RUNNING


def test_original_deleted_by_somebody_during_the_import_does_not_hold_up_the_way_back(tmp_path: Path) -> None:
    old, import_id = crashed_before_the_conversion(tmp_path)
    old.cloud.remove(old.machine)

    old.engine.recover()

    assert old.row(import_id).state == "failed", old.row(import_id).error

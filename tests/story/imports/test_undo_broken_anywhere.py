"""Undo, finish and discard, with a crash at every step and a failure of every change, one for each run.

Afterwards the import is undone and the original as it was before the import, or it is imported and its node runs under
the identity that is recorded, with a retention that ends by itself; or, under an error that stays, it is stuck and goes
on when the error is gone. An undo that was given up hinders neither a second one nor the clean-up.
"""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes.cloud import DISKS, MACHINES
from holdfast.clouds.protocols import Power
from holdfast.engine import Crashed, State, crash_points
from holdfast.imports.options import DiskSource, NetworkSource
from holdfast.imports.undoing import discard_kept
from holdfast.machines.ledger import Fate
from story.imports.counting import CountingCloud
from story.imports.import_rig import VARIANTS, ImportRig, options
from story.imports.test_import_broken_anywhere import EXTREMES, HOWS, REST
from story.imports.test_importing import as_before

Variant = tuple[NetworkSource, DiskSource]
UNDO, TO_IMPORT_POINT, FINISH = "undo", "undo to import point", "finish"


class Home:
    """An imported machine on a counting cloud, or a copy of one."""

    def __init__(self, rig: ImportRig, machine: str, before: dict[str, Any], import_id: str, disks: DiskSource) -> None:
        assert isinstance(rig.cloud, CountingCloud)
        self.rig, self.cloud, self.machine, self.before = rig, rig.cloud, machine, before
        self.import_id, self.disks = import_id, disks
        self.cloud.changes.clear()

    @classmethod
    def imported(cls, folder: Path, variant: Variant) -> Home:
        folder.mkdir(parents=True)
        rig = ImportRig(folder, cloud=CountingCloud())
        machine = rig.cloud.add_machine(delete_option="Delete", tags={"team": "db"})
        rig.cloud.write_data(rig.cloud.ref("rg-1", DISKS, "db-1-os"), "written before the import")
        before = rig.cloud.state_of(machine)
        row, view = rig.run_import(machine, options(*variant))
        assert view.state is State.DONE, view.error
        return cls(rig, machine, before, row.id, variant[1])

    def copied(self, folder: Path) -> Home:
        return Home(self.rig.copied(folder), self.machine, self.before, self.import_id, self.disks)

    def begin(self, what: str) -> str:
        if what == FINISH:
            return self.rig.service.finish(self.import_id, actor="test", confirmed=True)
        return self.rig.service.undo(self.import_id, actor="test", to_import_point=what == TO_IMPORT_POINT)

    def pass_hours(self, hours: float) -> None:
        self.rig.clock.advance(timedelta(hours=hours))
        self.rig.engine.tick()

    def parts_of_node(self) -> set[str]:
        facts = self.cloud.describe(str(self.rig.node(self.rig.row(self.import_id)).machine))
        disks = {disk.document.ref for disk in facts.disks if disk.document}
        return {facts.machine.ref} | disks | {nic.ref for nic in facts.nics} | {ip.ref for ip in facts.public_ips}


def check_ended_well(home: Home, what: str, then: str) -> None:
    row = home.rig.row(home.import_id)
    assert home.cloud.violations == [], "two machines ran with the same data"
    assert home.rig.unrecorded() == []
    match row.state:
        case "undone":
            check_undone(home, what)
        case "finished":
            assert what == FINISH
            check_finished(home)
        case _:
            assert row.state == "imported", f"{row.state}: {row.error}"
            check_still_imported(home)
            carry_on(home, then)


def check_undone(home: Home, what: str) -> None:
    now = home.cloud.state_of(home.machine)
    if what == TO_IMPORT_POINT and home.disks is DiskSource.REATTACH:
        assert now["power"] is home.before["power"]
        assert sorted(now["contents"].values()) == sorted(home.before["contents"].values())
    else:
        assert as_before(now, home.before)
    assert home.cloud.refs(MACHINES) == [home.machine]
    home.pass_hours(97)
    left = {ref.lower() for ref in home.cloud.refs()}
    assert left == set(home.cloud.state_of(home.machine)["documents"]), "what was kept of the node goes after its time"
    assert home.rig.row(home.import_id).state == "undone"


def check_still_imported(home: Home) -> None:
    row = home.rig.row(home.import_id)
    node = home.rig.node(row)
    assert node.state == "active"
    machine = home.cloud.read(str(node.machine))
    assert machine is not None, "the node has no machine"
    assert machine.identity == node.machine_identity == row.successor["identity"]
    recorded = next(entry for entry in home.rig.ledger(home.import_id) if entry.role == "machine")
    assert (recorded.identity, recorded.fate) == (machine.identity, Fate.IN_USE)
    assert home.cloud.power_of(machine.ref)[0] is Power.RUNNING
    assert all(home.cloud.exists(ref) for ref in home.parts_of_node())
    home.pass_hours(1.1)
    with home.rig.database.read() as session:
        assert [timer.kind for timer in home.rig.engine.timers.list(session)] == ["finish-import"]


def check_finished(home: Home) -> None:
    assert set(home.cloud.refs()) == home.parts_of_node()
    assert home.cloud.power_of(str(home.rig.node(home.rig.row(home.import_id)).machine))[0] is Power.RUNNING


def carry_on(home: Home, then: str) -> None:
    """What was given up can be begun again, and the other way is open too."""
    view = home.rig.run(home.begin(then))
    assert view.state is State.DONE, view.error
    assert home.cloud.violations == []
    assert home.rig.unrecorded() == []
    if then == FINISH:
        check_finished(home)
    else:
        check_undone(home, then)


def crash_everywhere(folder: Path, variant: Variant, what: str, every: int = 1) -> None:
    prototype = Home.imported(folder / "imported", variant)
    clean = prototype.copied(folder / "clean")
    operation = clean.begin(what)
    assert clean.rig.run(operation).state is State.DONE
    check_ended_well(clean, what, what)
    points = list(crash_points(clean.rig.engine.steps(operation)))[::every]  # type: ignore[arg-type]
    crashed = 0
    for number, crash in enumerate(points):
        home = prototype.copied(folder / f"crash-{number}")
        operation = home.begin(what)
        home.rig.start_engine(crash)
        try:
            home.rig.run(operation)
        except Crashed:
            crashed += 1
            home.rig.start_engine()
            home.rig.engine.recover()
        try:
            check_ended_well(home, what, (UNDO, FINISH)[number % 2])
        except AssertionError as exc:
            raise AssertionError(f"{crash}: {exc}") from exc
        home.rig.database.close()
    assert crashed > 0.9 * len(points), "most places must be reached, or this test shows nothing"


def fail_everywhere(
    folder: Path, variant: Variant, what: str, how: dict[str, Any], *, first: int = 0, every: int = 1
) -> None:
    prototype = Home.imported(folder / "imported", variant)
    clean = prototype.copied(folder / "clean")
    assert clean.rig.run(clean.begin(what)).state is State.DONE
    for number in range(first, len(clean.cloud.changes), every):
        home = prototype.copied(folder / f"fail-{number}")
        home.cloud.fail_at = number
        for name, value in how.items():
            setattr(home.cloud, name, value)
        operation = home.begin(what)
        view = home.rig.run(operation)
        failed = home.cloud.changes[number]
        home.cloud.fail_at = None
        if view.state is State.STUCK:
            home.rig.service.retry(home.import_id, actor="test")
            home.rig.run(operation)
        try:
            check_ended_well(home, what, (UNDO, FINISH)[number // every % 2])
        except AssertionError as exc:
            raise AssertionError(f"change {number} ({failed}): {exc}") from exc
        home.rig.database.close()


def name_of(value: Any) -> str:
    return "-".join(part.value for part in value) if isinstance(value, tuple) else str(value)


extremes = pytest.mark.parametrize("variant", EXTREMES, ids=name_of)
all_variants = pytest.mark.parametrize("variant", VARIANTS, ids=name_of)
the_rest = pytest.mark.parametrize("variant", REST, ids=name_of)


@extremes
def test_undo_crashed_at_every_fifth_place_ends_well(tmp_path: Path, variant: Variant) -> None:
    crash_everywhere(tmp_path, variant, UNDO, every=5)  # 5 and 3 moments in a step: every moment has its turn


@extremes
def test_clean_up_crashed_at_every_second_place_ends_well(tmp_path: Path, variant: Variant) -> None:
    crash_everywhere(tmp_path, variant, FINISH, every=2)


@extremes
@pytest.mark.parametrize("how", HOWS)
def test_undo_whose_every_change_fails_in_one_of_five_ways_ends_well(
    tmp_path: Path, variant: Variant, how: str
) -> None:
    fail_everywhere(tmp_path, variant, UNDO, HOWS[how], first=list(HOWS).index(how), every=len(HOWS))


@extremes
@pytest.mark.parametrize("how", ["answer lost once", "refused from then on"])
def test_clean_up_whose_every_third_change_fails_ends_well(tmp_path: Path, variant: Variant, how: str) -> None:
    fail_everywhere(tmp_path, variant, FINISH, HOWS[how], every=3)


@pytest.mark.slow
@all_variants
@pytest.mark.parametrize("what", [UNDO, TO_IMPORT_POINT, FINISH])
def test_every_variant_crashed_anywhere_ends_well(tmp_path: Path, variant: Variant, what: str) -> None:
    crash_everywhere(tmp_path, variant, what)


@pytest.mark.slow
@all_variants
@pytest.mark.parametrize("what", [UNDO, TO_IMPORT_POINT, FINISH])
@pytest.mark.parametrize("how", HOWS)
def test_every_variant_whose_every_change_fails_ends_well(
    tmp_path: Path, variant: Variant, what: str, how: str
) -> None:
    fail_everywhere(tmp_path, variant, what, HOWS[how])


# --- what an undo kept of the node ------------------------------------------------------------------------------------


def undone(folder: Path, variant: Variant, what: str) -> Home:
    home = Home.imported(folder, variant)
    view = home.rig.run(home.begin(what))
    assert view.state is State.DONE, view.error
    home.cloud.changes.clear()
    return home


def check_discarded(home: Home) -> None:
    documents = home.cloud.state_of(home.machine)["documents"]
    assert {ref.lower() for ref in home.cloud.refs()} == set(documents)
    assert home.rig.unrecorded() == []
    assert home.rig.row(home.import_id).state == "undone"


def crash_while_discarding(folder: Path, variant: Variant, what: str) -> None:
    prototype = undone(folder / "undone", variant, what)
    clean = prototype.copied(folder / "clean")
    clean.pass_hours(97)
    check_discarded(clean)
    done = [view for view in clean.rig.engine.list(limit=1000) if view.kind == discard_kept.name]
    points = list(crash_points(clean.rig.engine.steps(done[0].id)))
    for number, crash in enumerate(points):
        home = prototype.copied(folder / f"crash-{number}")
        home.rig.start_engine(crash)
        with pytest.raises(Crashed):
            home.pass_hours(97)
        home.rig.start_engine()
        home.rig.engine.recover()
        home.pass_hours(1.1)
        check_discarded(home)
        home.rig.database.close()


def fail_while_discarding(folder: Path, variant: Variant, what: str, how: dict[str, Any]) -> None:
    prototype = undone(folder / "undone", variant, what)
    clean = prototype.copied(folder / "clean")
    clean.pass_hours(97)
    for number in range(len(clean.cloud.changes)):
        home = prototype.copied(folder / f"fail-{number}")
        home.cloud.fail_at = number
        for name, value in how.items():
            setattr(home.cloud, name, value)
        home.pass_hours(97)
        home.cloud.fail_at = None
        for _ in range(3):
            home.pass_hours(1.1)
        try:
            check_discarded(home)
        except AssertionError as exc:
            raise AssertionError(f"change {number}: {exc}") from exc
        home.rig.database.close()


@extremes
def test_discarding_crashed_anywhere_is_finished_by_the_next_process(tmp_path: Path, variant: Variant) -> None:
    crash_while_discarding(tmp_path, variant, UNDO)


@extremes
@pytest.mark.parametrize("how", ["answer lost once", "refused from then on"])
def test_discarding_that_fails_is_tried_again_and_leaves_nothing(tmp_path: Path, variant: Variant, how: str) -> None:
    fail_while_discarding(tmp_path, variant, UNDO, HOWS[how])


@pytest.mark.slow
@the_rest
def test_discarding_crashed_anywhere_is_finished_for_the_other_variants(tmp_path: Path, variant: Variant) -> None:
    crash_while_discarding(tmp_path, variant, TO_IMPORT_POINT)


@pytest.mark.slow
@all_variants
@pytest.mark.parametrize("how", HOWS)
def test_discarding_that_fails_is_tried_again_for_every_variant(tmp_path: Path, variant: Variant, how: str) -> None:
    fail_while_discarding(tmp_path, variant, TO_IMPORT_POINT, HOWS[how])

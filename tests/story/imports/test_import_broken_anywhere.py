"""A crash at every step and a failure of every change, one for each run, enumerated from a clean run.

Afterwards either the original is exactly as before, or the node has the machine, or (under an error that stays) the
import is stuck and goes on when the error is gone. At no moment do two machines run with the same data, nothing that we
made is left untracked, and everything that is deleted was recorded.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from holdfast.clouds.protocols import Power
from holdfast.engine import Crash, Crashed, State, crash_points
from holdfast.imports.options import DiskSource, NetworkSource
from story.imports.counting import REFUSED, UNAVAILABLE, CountingCloud
from story.imports.import_rig import VARIANTS, ImportRig, options
from story.imports.test_importing import as_before

pytestmark = pytest.mark.timeout(600)  # dozens of whole imports each; on a busy machine that takes minutes

EXTREMES = [(NetworkSource.NEW, DiskSource.SNAPSHOT), (NetworkSource.KEEP, DiskSource.REATTACH)]
REST = [variant for variant in VARIANTS if variant not in EXTREMES]


class Home(ImportRig):
    """A rig whose cloud counts; `folder` of its own for every run."""

    def __init__(self, folder: Path, power: Power = Power.RUNNING) -> None:
        folder.mkdir()
        self.cloud: CountingCloud
        super().__init__(folder, cloud=CountingCloud())
        self.machine = self.cloud.add_machine(power=power, delete_option="Delete", tags={"team": "db"})
        self.before = self.cloud.state_of(self.machine)


def check_ended_well(home: Home, import_id: str) -> None:
    row = home.row(import_id)
    assert home.cloud.violations == [], "two machines ran with the same data"
    if row.state == "imported":
        node = home.node(row)
        assert node.state in ("active", "stopped")
        assert home.cloud.describe(str(node.machine)).power is home.before["power"]
        with home.database.read() as session:
            assert [timer.kind for timer in home.engine.timers.list(session)] == ["finish-import"]
    else:
        assert row.state in ("failed", "cancelled"), f"{row.state}: {row.error}"
        home.sweep()
        assert as_before(home.cloud.state_of(home.machine), home.before)
        home.clock.advance(97 * 3600)  # safety snapshots of disks that a successor may have written to are kept so long
        home.engine.tick()
        assert len(home.cloud.refs()) == len(home.before["documents"]), home.cloud.refs()
        assert as_before(home.cloud.state_of(home.machine), home.before)
    assert home.unrecorded() == []


def clean_run(folder: Path, variant: tuple[NetworkSource, DiskSource]) -> tuple[list[Crash], int]:
    """(places to crash, number of changes) of a run that nothing disturbs."""
    home = Home(folder)
    started = home.begin(home.machine, options(*variant))
    view = home.engine.run(started.operation)
    assert view.state is State.DONE, view.error
    points = list(crash_points(home.engine.steps(started.operation)))
    home.database.close()
    return points, len(home.cloud.changes)


def crash_everywhere(folder: Path, variant: tuple[NetworkSource, DiskSource], every: int = 1) -> None:
    points, _ = clean_run(folder / "clean", variant)
    crashed = 0
    for number, crash in enumerate(points[::every]):
        home = Home(folder / f"crash-{number}")
        started = home.begin(home.machine, options(*variant))
        home.start_engine(crash)
        try:
            home.engine.run(started.operation)
        except Crashed:
            crashed += 1
            home.start_engine()
            home.engine.recover()
        try:
            check_ended_well(home, started.import_id)
        except AssertionError as exc:
            raise AssertionError(f"{crash}: {exc}") from exc
        home.database.close()
    assert crashed > 0.9 * len(points[::every]), "most places must be reached, or this test shows nothing"


def fail_everywhere(
    folder: Path, variant: tuple[NetworkSource, DiskSource], how: dict[str, Any], every: int = 1
) -> None:
    _, changes = clean_run(folder / "clean", variant)
    for number in range(0, changes, every):
        home = Home(folder / f"fail-{number}")
        home.cloud.fail_at = number
        for name, value in how.items():
            setattr(home.cloud, name, value)
        started = home.begin(home.machine, options(*variant))
        view = home.engine.run(started.operation)
        if view.state is State.STUCK:
            home.cloud.fail_at = None
            home.service.retry(started.import_id, actor="test")
            home.engine.run(started.operation)
        try:
            check_ended_well(home, started.import_id)
        except AssertionError as exc:
            raise AssertionError(f"change {number} ({home.cloud.changes[number]}): {exc}") from exc
        home.database.close()


HOWS = {
    "no answer once": {"error": UNAVAILABLE},
    "answer lost once": {"error": UNAVAILABLE, "after": True},
    "refused once": {"error": REFUSED},
    "refused after the effect": {"error": REFUSED, "after": True},
    "refused from then on": {"error": REFUSED, "fails_for": 10_000},
}
variant_ids = pytest.mark.parametrize("variant", EXTREMES, ids=lambda value: "-".join(part.value for part in value))


@variant_ids
def test_import_crashed_anywhere_leaves_one_owner_and_nothing_unrecorded(
    tmp_path: Path, variant: tuple[NetworkSource, DiskSource]
) -> None:
    crash_everywhere(tmp_path, variant)


@variant_ids
@pytest.mark.parametrize("how", HOWS)
def test_import_whose_every_change_fails_once_ends_in_one_of_two_states(
    tmp_path: Path, variant: tuple[NetworkSource, DiskSource], how: str
) -> None:
    fail_everywhere(tmp_path, variant, HOWS[how])


@pytest.mark.parametrize("variant", REST, ids=lambda value: "-".join(part.value for part in value))
def test_other_variants_crashed_at_every_third_place_end_well(
    tmp_path: Path, variant: tuple[NetworkSource, DiskSource]
) -> None:
    crash_everywhere(tmp_path, variant, every=3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", REST, ids=lambda value: "-".join(part.value for part in value))
@pytest.mark.parametrize("how", HOWS)
def test_other_variants_whose_every_change_fails_once_end_well(
    tmp_path: Path, variant: tuple[NetworkSource, DiskSource], how: str
) -> None:
    fail_everywhere(tmp_path, variant, HOWS[how])

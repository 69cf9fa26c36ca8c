"""A crash at every step and an error, a lost answer or a failing operation at every ARM write, one fault for each run.

Places and writes are enumerated from a recorded run of the same variant. The default suite takes the two extreme
variants, and of each step the crash that is hardest to recover from (every other place in a step is crashed on the
in-memory cloud, test_import_broken_anywhere.py); `make test-all` takes all four variants, places and kinds of fault.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from holdfast.engine import Crash, Crashed, Direction, State, When, crash_points
from holdfast.imports.options import DiskSource, NetworkSource
from story.imports.import_rig import VARIANTS, options
from story.lab.lab_rig import LabRig, Town

pytestmark = pytest.mark.timeout(600)  # dozens of whole imports each; on a busy machine that takes minutes

Variant = tuple[NetworkSource, DiskSource]
NEW_SNAPSHOT: Variant = (NetworkSource.NEW, DiskSource.SNAPSHOT)
KEEP_REATTACH: Variant = (NetworkSource.KEEP, DiskSource.REATTACH)
SEED = "5eed00"

# What Azure does to a write, as azurelab's faults. `for_ever` stays until the test takes it away.
FAULTS = {
    "error": {"kind": "error", "status": 409, "code": "RequestDisallowedByPolicy", "message": "a policy forbids it"},
    "lost answer": {"kind": "lost_response"},
    "operation fails": {"kind": "lro_fails", "code": "InternalExecutionError", "message": "it failed"},
    "server error": {"kind": "error", "status": 500},
    "throttled": {"kind": "throttle", "retry_after": 1},
    "half done": {"kind": "half_done"},
    "error for ever": {"kind": "error", "status": 403, "code": "AuthorizationFailed", "message": "no", "times": 0},
}


def begin(rig: LabRig, variant: Variant) -> str:
    """Start an import whose new names are the same in every run."""
    plan = rig.service.plan("lab", rig.machine, options(*variant), seed=SEED)
    return rig.service.start(plan, actor="test", fresh=True).import_id


def check_ended_well(rig: LabRig, import_id: str) -> None:
    row = rig.row(import_id)
    assert rig.twins() == []
    assert rig.deleted_unrecorded() == []
    assert rig.untracked() == set()
    if row.state == "imported":
        node = rig.node(row)
        now = rig.town.state_of(str(node.machine))
        assert (now["power"], now["bytes"]) == (rig.before["power"], rig.before["bytes"])
    else:
        assert row.state in ("failed", "cancelled"), f"{row.state}: {row.error}"
        rig.sweep()
        assert rig.town.state_of(rig.machine) == rig.before
        assert all(ref.endswith("-final") for ref in rig.resources() - rig.there)  # kept where a successor had run
        assert rig.there <= rig.resources()


@cache
def recorded(folder: Path, town: Town, variant: Variant) -> tuple[list[Crash], list[tuple[str, str, int]]]:
    """(places to crash, writes as (method, path pattern, which of its like)) of a run that nothing disturbs."""
    rig = LabRig(folder, town)
    operation = rig.row(begin(rig, variant)).operation
    view = rig.run(operation)
    assert view.state is State.DONE, view.error
    writes: list[tuple[str, str]] = []
    for write in rig.writes():
        generic = re.escape(write.path.lower()).replace(re.escape(rig.group.rsplit("/", 1)[-1].lower()), "[^/]+", 1)
        generic = re.sub(r"(os_?disk_1_|_disk\d_)[0-9a-f]{32}", r"\1[0-9a-f]{32}", generic)
        writes.append((write.method, f"{generic}$"))
    counted = [(method, path, writes[: n + 1].count((method, path))) for n, (method, path) in enumerate(writes)]
    points = list(crash_points(rig.engine.steps(view.id)))
    rig.close()
    return points, counted


@pytest.fixture
def record(tmp_path_factory: pytest.TempPathFactory, town: Town):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.getbasetemp()
    return lambda variant: recorded(folder / f"recorded-{variant[0].value}-{variant[1].value}", town, variant)


def crash_each(folder: Path, town: Town, variant: Variant, points: list[Crash]) -> None:
    reached = 0
    for number, crash in enumerate(points):
        rig = LabRig(folder / str(number), town)
        import_id = begin(rig, variant)
        operation = rig.row(import_id).operation
        rig.start_engine(crash)
        try:
            rig.run(operation)
        except Crashed:
            reached += 1
            rig.start_engine()
            rig.engine.recover()
        try:
            check_ended_well(rig, import_id)
        except AssertionError as exc:
            raise AssertionError(f"{crash}: {exc}") from exc
        rig.close()
    assert reached > 0.9 * len(points), "most places must be reached, or this test shows nothing"


def fault_each(folder: Path, town: Town, variant: Variant, kind: str, writes: list[tuple[str, str, int]]) -> None:
    met = 0
    for number, (method, path, nth) in enumerate(writes):
        rig = LabRig(folder / str(number), town)
        import_id = begin(rig, variant)
        fault = town.lab.faults.add(method=method, path=path, nth=nth, **FAULTS[kind])
        view = rig.run(rig.row(import_id).operation)
        met += next(one["hits"] for one in town.lab.faults.all() if one["id"] == fault) > 0
        town.lab.faults.clear()
        if view.state is State.STUCK:
            rig.service.retry(import_id, actor="test")
            rig.run(rig.row(import_id).operation)
        try:
            check_ended_well(rig, import_id)
        except AssertionError as exc:
            raise AssertionError(f"{kind} at write {number} ({method} {path}): {exc}") from exc
        rig.close()
    assert met == len(writes), "every fault must be met, or this test shows nothing"


extremes = pytest.mark.parametrize(
    "variant", [NEW_SNAPSHOT, KEEP_REATTACH], ids=lambda value: "-".join(part.value for part in value)
)
every_variant = pytest.mark.parametrize("variant", VARIANTS, ids=lambda value: "-".join(part.value for part in value))


@extremes
@pytest.mark.parametrize("direction", list(Direction))
def test_import_that_dies_after_any_step_on_azurelab_ends_well(tmp_path, town, record, variant, direction) -> None:  # type: ignore[no-untyped-def]
    points, _ = record(variant)
    after = [point for point in points if point.when is When.DONE_UNRECORDED and point.direction is direction]

    crash_each(tmp_path, town, variant, after)


@extremes
@pytest.mark.parametrize("kind", ["error", "lost answer"])
def test_import_with_a_fault_at_any_write_on_azurelab_ends_well(tmp_path, town, record, variant, kind) -> None:  # type: ignore[no-untyped-def]
    _, writes = record(variant)

    fault_each(tmp_path, town, variant, kind, writes)


@pytest.mark.parametrize(
    ("variant", "kind"),
    [
        ((NetworkSource.NEW, DiskSource.REATTACH), "lost answer"),
        ((NetworkSource.KEEP, DiskSource.SNAPSHOT), "operation fails"),
    ],
    ids=["new-reattach", "keep-snapshot"],
)
def test_other_variants_with_a_fault_at_every_third_write_end_well(tmp_path, town, record, variant, kind) -> None:  # type: ignore[no-untyped-def]
    points, writes = record(variant)

    fault_each(tmp_path / "fault", town, variant, kind, writes[::3])
    crash_each(tmp_path / "crash", town, variant, points[::18])


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_variant
@pytest.mark.parametrize("kind", FAULTS)
def test_every_variant_with_every_fault_at_every_write_ends_well(tmp_path, town, record, variant, kind) -> None:  # type: ignore[no-untyped-def]
    _, writes = record(variant)

    fault_each(tmp_path, town, variant, kind, writes)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@every_variant
def test_every_variant_crashed_at_every_step_ends_well(tmp_path, town, record, variant) -> None:  # type: ignore[no-untyped-def]
    points, _ = record(variant)

    crash_each(tmp_path, town, variant, points)

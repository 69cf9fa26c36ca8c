"""A story that dies anywhere ends as if it had not."""

from __future__ import annotations

import pytest
from engine_stories import REGISTRY, Spec, World, take
from sqlalchemy import text

from holdfast.engine import Crash, Crashed, Direction, InlineEngine, State, When, crash_points
from holdfast.store import Database

SPEC = Spec("db-1", ("full", "spot"))
STEPS = ("stop_original", "make_disks", "launch#0", "launch#1", "see_ready", "hand_over", "match_power")
UNDONE = ("stop_original", "make_disks", "launch#0", "launch#1")
POINTS = [Crash(step, when) for step in STEPS for when in When] + [
    Crash(step, when, Direction.UNWIND) for step in UNDONE for when in When
]


def test_crash_points_of_a_clean_run_are_all_its_steps(database: Database) -> None:
    engine = InlineEngine(database, REGISTRY, services=World(full={"full"}))
    ended = engine.run(engine.submit(None, take, SPEC))

    assert set(crash_points(engine.steps(ended.id))) == set(POINTS)


@pytest.mark.parametrize("crash", POINTS, ids=str)
def test_operation_crashed_anywhere_is_finished_or_undone_and_nothing_is_left(database: Database, crash: Crash) -> None:
    world = World(full={"full"}, ready_after=2)
    engine = InlineEngine(database, REGISTRY, services=world, crash=crash)
    operation = engine.submit(None, take, SPEC)

    with pytest.raises(Crashed):
        engine.run(operation)
    again = InlineEngine(database, REGISTRY, services=world, clock=engine.clock)
    (ended,) = again.recover()

    with database.read() as session:
        nodes = session.execute(text("select operation, machine from test_nodes")).all()
    if crash.direction is Direction.UNWIND and crash.step != "launch#0":
        assert ended.state is State.CANCELLED
    if ended.state is State.DONE:
        assert nodes == [(operation, "machine-spot")]
        assert world.things == {"disk-0", "disk-1", "machine-spot"}
        assert world.power == "off"
    else:
        assert ended.state is State.CANCELLED
        assert nodes == []
        assert world.things == set()
        assert world.power == "on"

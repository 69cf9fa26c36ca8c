"""What a story may do, and what the engine refuses: on the inline engine, which runs the real record."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from engine_stories import Broken, Spec, World
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from holdfast.core.ids import OperationId
from holdfast.engine import (
    Call,
    Crash,
    Crashed,
    Direction,
    InlineEngine,
    NotRecordable,
    NotYet,
    Operation,
    OperationKind,
    Registry,
    Secret,
    State,
    StoryChanged,
    When,
    crash_points,
    operation,
)
from holdfast.engine.seams import Moment
from holdfast.store import Database, SecretInRecord

SPEC = Spec("db-1")


def touch(call: Call[World], what: str) -> str:
    """Touch it."""
    call.services.touch(call, what)
    call.services.things.add(what)
    return what


def untouch(call: Call[World], what: str) -> None:
    """Leave it alone again."""
    call.services.touch(call, f"un-{what}")
    call.services.things.discard(what)


def look(call: Call[World]) -> None:
    """See whether it is time."""
    call.services.looks += 1
    if call.services.looks <= call.services.ready_after:
        raise NotYet("not yet")


def decide(call: Call[World]) -> str:
    """Decide."""
    return "decided"


def tell(story: Any, **more: Any) -> OperationKind[Spec, Any]:
    return operation(story.__name__, spec=Spec, subject=lambda spec: spec.machine, **more)(story)


def run(
    database: Database, kind: OperationKind[Spec, Any], world: World, **more: Any
) -> tuple[InlineEngine, OperationId]:
    engine = InlineEngine(database, Registry([kind]), services=world, **more)
    operation_id = engine.submit(None, kind, SPEC)
    engine.run(operation_id)
    return engine, operation_id


def test_two_steps_with_one_key_are_refused(database: Database) -> None:
    def twice(op: Operation, spec: Spec) -> None:
        op.do(touch, "a", undo=untouch)
        op.do(touch, "b", undo=untouch)

    world = World()
    engine, one = run(database, tell(twice), world)

    assert engine.get(one).state is State.FAILED
    assert isinstance(engine.get(one).unwinding_because, NotRecordable)
    assert world.things == set()


def test_function_used_twice_with_keys_is_two_steps(database: Database) -> None:
    def twice(op: Operation, spec: Spec) -> str:
        return op.do(touch, "a") + op.do(touch, "b", key="touch b")

    engine, one = run(database, tell(twice), World())

    assert engine.result(one) == "ab"
    assert [step.key for step in engine.steps(one)] == ["touch", "touch b"]


def test_compensation_that_could_not_be_found_after_a_restart_is_refused_before_the_effect(database: Database) -> None:
    def careless(op: Operation, spec: Spec) -> None:
        op.do(touch, "a", undo=lambda call, what: None)

    world = World()
    engine, one = run(database, tell(careless), world)

    assert isinstance(engine.get(one).unwinding_because, NotRecordable)
    assert world.effects == []


def keep_secret(call: Call[World], password: Secret) -> None:
    """Keep a secret."""


def test_secret_in_an_argument_fails_the_operation_and_is_written_nowhere(database: Database) -> None:
    def indiscreet(op: Operation, spec: Spec) -> None:
        op.do(keep_secret, Secret("hunter2"))

    engine, one = run(database, tell(indiscreet), World())

    assert isinstance(engine.get(one).unwinding_because, SecretInRecord)
    database.engine.dispose()
    path = database.engine.url.database
    assert path is not None
    assert b"hunter2" not in Path(path).read_bytes()


def test_failure_that_a_story_caught_is_the_same_on_replay(database: Database) -> None:
    def forgiving(op: Operation, spec: Spec) -> str:
        try:
            op.do(touch, "a")
        except Broken:
            op.do(touch, "b", key="instead")
        op.wait(look, every_s=1, timeout_s=60)
        return "told"

    world = World(broken={"a"}, ready_after=1)
    engine = InlineEngine(database, Registry([tell(forgiving)]), services=world)
    one = engine.submit(None, "forgiving", SPEC)
    engine.tick()
    world.broken = set()

    assert engine.run(one).state is State.DONE
    assert world.effects == ["b"]


def test_story_that_no_longer_fits_its_record_is_undone(database: Database) -> None:
    def changing(op: Operation, spec: Spec) -> None:
        op.do(touch, "a", undo=untouch)
        op.wait(look, every_s=1, timeout_s=60)

    world = World(ready_after=1)
    engine = InlineEngine(database, Registry([tell(changing)]), services=world)
    one = engine.submit(None, "changing", SPEC)
    engine.tick()

    def changed(op: Operation, spec: Spec) -> None:
        op.do(decide)
        op.do(touch, "a", undo=untouch)

    changed.__name__ = "changing"
    later = InlineEngine(database, Registry([tell(changed)]), services=world, clock=engine.clock)

    ended = later.run(one)

    assert ended.state is State.FAILED
    assert isinstance(ended.unwinding_because, StoryChanged)
    assert world.things == set()


def refuse_write(call: Call[World]) -> None:
    """Write what cannot be written."""
    call.write(lambda session: session.execute(text("insert into test_nodes values ('x', 'y')")))
    call.write(lambda session: session.execute(text("insert into test_nodes values ('x', 'y')")))


def test_write_that_the_database_refuses_fails_its_step_and_leaves_nothing(database: Database) -> None:
    def clumsy(op: Operation, spec: Spec) -> None:
        op.do(touch, "a", undo=untouch)
        op.do(refuse_write)

    world = World()
    engine, one = run(database, tell(clumsy), world)

    assert engine.get(one).state is State.FAILED
    assert world.things == set()
    with database.read() as session:
        assert session.scalar(text("select count(*) from test_nodes")) == 0


def test_keys_are_equal_for_attempts_and_differ_for_choices_and_compensations(database: Database) -> None:
    def keyed(op: Operation, spec: Spec) -> None:
        op.do(touch, "a", undo=untouch)
        op.first_of(["x", "y"], touch, undo=untouch, key="choose")
        op.do(touch, "broken", key="end")

    world = World(broken={"broken"})
    world.flaky["a"] = 1
    _, one = run(database, tell(keyed), world)

    expected = ["touch", "touch", "choose#0", "end", "choose#0/undo", "touch/undo"]
    assert world.keys == [f"{one}/{key}" for key in expected]


def test_draining_engine_releases_at_the_next_boundary(database: Database) -> None:
    def long_story(op: Operation, spec: Spec) -> None:
        op.do(touch, "a")
        op.do(touch, "b", key="second")

    world = World()
    engine = InlineEngine(database, Registry([tell(long_story)]), services=world)
    one = engine.submit(None, "long_story", SPEC)
    engine.drain()

    view = engine.run(one)

    assert (view.state, view.owner) == (State.RUNNING, None)
    assert world.effects == []


# --- engine.md 5.2 (a): arming the timer and finishing must be one transaction --------------------------------------


def retain(call: Call[World], spec: Spec) -> None:
    """Retain the original."""
    due = call.clock.now() + timedelta(hours=96)
    call.write(
        lambda session: call.engine.timers.arm(session, spec.machine, due, "clean", spec, spec.machine, deletes=True)
    )


def adopt(op: Operation, spec: Spec) -> None:
    """Adopt."""
    op.do(touch, "node", undo=untouch)
    op.pivot(retain, spec)
    op.do(touch, "after", key="after")


def clean(op: Operation, spec: Spec) -> None:
    """Clean up."""
    op.do(touch, "cleaned")


class At:
    """Calls something once when a moment comes."""

    def __init__(self, moment: Moment, step: str, then: Any) -> None:
        self.moment, self.step, self.then, self.done = moment, step, then, False

    def at(self, moment: Moment, operation: OperationId, step: str, undoing: bool) -> None:
        if (moment, step) == (self.moment, self.step) and not self.done:
            self.done = True
            self.then(operation)


@pytest.mark.parametrize("moment", [Moment.BEFORE_PIVOT, Moment.BEFORE_CALL, Moment.AFTER_CALL])
def test_import_cancelled_right_before_its_pivot_leaves_no_timer(database: Database, moment: Moment) -> None:
    world = World()
    engine = InlineEngine(database, Registry([tell(adopt), tell(clean)]), services=world)
    engine.seam = At(moment, "retain", engine.cancel)
    one = engine.submit(None, "adopt", SPEC)

    ended = engine.run(one)
    engine.advance(timedelta(hours=200))

    assert ended.state is State.CANCELLED
    assert world.things == set(), "nothing was cleaned up, 96 h later, on an operation that was undone"
    with database.read() as session:
        assert engine.timers.find(session, SPEC.machine) is None


def test_import_that_fails_after_its_pivot_keeps_its_timer_and_is_never_unwound(database: Database) -> None:
    world = World(broken={"after"})
    engine = InlineEngine(database, Registry([tell(adopt), tell(clean)]), services=world)
    one = engine.submit(None, "adopt", SPEC)

    assert engine.run(one).state is State.STUCK
    assert engine.cancel(one) is False
    assert world.things == {"node"}
    with database.read() as session:
        assert engine.timers.get(session, SPEC.machine).state == "armed"


# --- any story, any crash ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Chapter:
    """One step of a random story."""

    fate: str  # fine, flaky, broken, waits
    undone: bool


def random_story(chapters: list[Chapter], pivot_at: int) -> OperationKind[Spec, None]:
    def story(op: Operation, spec: Spec) -> None:
        for number, chapter in enumerate(chapters):
            if number == pivot_at:
                op.pivot(decide)
            if chapter.fate == "waits":
                op.wait(look, every_s=5, timeout_s=10_000, key=f"wait {number}")
            else:
                op.do(touch, f"{chapter.fate}-{number}", undo=untouch if chapter.undone else None, key=f"s{number}")
        if pivot_at >= len(chapters):
            op.pivot(decide)

    return tell(story)


def world_of(chapters: list[Chapter]) -> World:
    world = World(ready_after=1)
    for number, chapter in enumerate(chapters):
        if chapter.fate == "flaky":
            world.flaky[f"flaky-{number}"] = 2
        if chapter.fate == "broken":
            world.broken.add(f"broken-{number}")
    return world


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_story_crashed_anywhere_ends_like_its_clean_run(database: Database, data: st.DataObject) -> None:
    fates = st.sampled_from(["fine", "fine", "flaky", "broken", "waits"])
    chapters = data.draw(st.lists(st.builds(Chapter, fate=fates, undone=st.just(True)), min_size=1, max_size=5))
    pivot_at = data.draw(st.integers(0, len(chapters)))
    kind = random_story(chapters, pivot_at)
    clean_world = world_of(chapters)
    engine, one = run(database, kind, clean_world)
    clean_end = engine.get(one)
    points = list(crash_points(engine.steps(one)))
    if clean_end.state is State.STUCK:
        with database.write() as session:  # free the subject for the next run
            session.execute(text("update operations set holds = null where id = :id"), {"id": one})
    if not points:
        return
    crash = data.draw(st.sampled_from(points))

    world = world_of(chapters)
    dying = InlineEngine(database, Registry([kind]), services=world, crash=crash)
    second = dying.submit(None, kind, SPEC)
    try:
        dying.run(second)
    except Crashed:
        after = InlineEngine(database, Registry([kind]), services=world, clock=dying.clock)
        after.recover()
    ended = dying.get(second)
    with database.write() as session:
        session.execute(text("update operations set holds = null where id = :id"), {"id": second})

    if crash.direction is Direction.FORWARD:
        assert ended.state is clean_end.state
        assert world.things == clean_world.things
    elif ended.state is State.CANCELLED:
        assert world.things == set()
    else:
        assert ended.state is clean_end.state
    if ended.state in (State.FAILED, State.CANCELLED):
        assert world.things == set()


def test_crash_reads_as_direction_step_and_place() -> None:
    assert str(Crash("stop", When.ANSWER_LOST)) == "forward-stop-answer_lost"

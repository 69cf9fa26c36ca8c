"""Timers, schedules, reconcilers and looking again, on every engine."""

from __future__ import annotations

from datetime import timedelta

import pytest
from engine_rig import Rig, eventually
from engine_stories import Spec, take
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.clock import ManualClock
from holdfast.engine import Call, OperationView, State, reconciler
from holdfast.engine.kinds import Watch
from holdfast.engine.schedules import next_slot
from holdfast.store import audit_entries

RETENTION = timedelta(hours=96)


def arm(rig: Rig, after: timedelta = RETENTION, deletes: bool = False) -> str:
    """A timer for a machine of its own; its key is the machine's name."""
    machine = rig.name()
    with rig.engine.database.write() as session:
        rig.engine.timers.arm(session, machine, rig.clock.now() + after, take, Spec(machine), deletes=deletes)
    return machine


def started(rig: Rig, machine: str) -> list[OperationView]:
    return list(rig.engine.list(subject=machine))


def timer_state(rig: Rig, machine: str) -> str:
    with rig.engine.database.read() as session:
        return rig.engine.timers.get(session, machine).state


def test_timer_fires_after_its_time_and_not_before(rig: Rig) -> None:
    machine = arm(rig)

    rig.clock.advance(timedelta(hours=95.9))
    rig.tick()
    before = started(rig, machine)
    rig.clock.advance(timedelta(hours=0.2))
    rig.tick()

    assert before == []
    (operation,) = started(rig, machine)
    assert rig.finish(operation.id).state is State.DONE
    assert timer_state(rig, machine) == "fired"


def test_timer_fires_once_however_often_the_tick_looks(rig: Rig) -> None:
    machine = arm(rig, timedelta(hours=1))
    rig.clock.advance(timedelta(hours=2))

    for _ in range(3):
        rig.tick()

    (operation,) = started(rig, machine)
    rig.finish(operation.id)


def test_cancelled_timer_never_fires(rig: Rig) -> None:
    machine = arm(rig)

    with rig.engine.database.write() as session:
        assert rig.engine.timers.cancel(session, machine) is True
        assert rig.engine.timers.cancel(session, machine) is False
    rig.clock.advance(timedelta(hours=200))
    rig.tick()

    assert started(rig, machine) == []


def test_timer_cancelled_in_a_transaction_that_rolls_back_stays_armed(rig: Rig) -> None:
    machine = arm(rig)

    def fail() -> None:
        with rig.engine.database.write() as session:
            rig.engine.timers.cancel(session, machine)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert timer_state(rig, machine) == "armed"
    with rig.engine.database.write() as session:
        rig.engine.timers.cancel(session, machine)


def test_postponed_timer_fires_at_its_new_time(rig: Rig) -> None:
    machine = arm(rig)
    with rig.engine.database.write() as session:
        assert rig.engine.timers.postpone(session, machine, rig.clock.now() + timedelta(hours=120))

    rig.clock.advance(timedelta(hours=119))
    rig.tick()
    before = started(rig, machine)
    rig.clock.advance(timedelta(hours=2))
    rig.tick()

    assert before == []
    (operation,) = started(rig, machine)
    rig.finish(operation.id)
    with rig.engine.database.write() as session:
        assert rig.engine.timers.postpone(session, machine, rig.clock.now()) is False, "too late"


def test_timer_armed_again_after_it_fired_starts_another_operation(rig: Rig) -> None:
    machine = arm(rig, timedelta(hours=1))
    rig.clock.advance(timedelta(hours=2))
    rig.tick()
    rig.finish(started(rig, machine)[0].id)

    with rig.engine.database.write() as session:
        rig.engine.timers.arm(session, machine, rig.clock.now(), take, Spec(machine))
    rig.tick()

    assert len({view.id for view in started(rig, machine)}) == 2
    for view in started(rig, machine):
        rig.finish(view.id)


def test_timer_of_a_busy_subject_waits_for_it(rig: Rig) -> None:
    rig.world.ready_after = 10_000
    machine = arm(rig, timedelta(seconds=5))
    first = rig.engine.submit(None, take, Spec(machine))
    rig.until(first, State.WAITING)

    rig.clock.advance(6)
    rig.tick()
    while_busy = timer_state(rig, machine)
    rig.engine.cancel(first)
    rig.finish(first)
    rig.world.ready_after = 0
    rig.tick()

    assert while_busy == "armed"
    assert timer_state(rig, machine) == "fired"
    for view in started(rig, machine):
        rig.finish(view.id)


def test_many_due_timers_fire_in_one_tick_each_once(rig: Rig) -> None:
    machines = [arm(rig, timedelta(seconds=1)) for _ in range(20)]
    rig.clock.advance(2)

    rig.tick()

    for machine in machines:
        (operation,) = eventually(lambda machine=machine: started(rig, machine))  # the engine's own tick may be at it
        assert rig.finish(operation.id).state is State.DONE
    assert all(len(started(rig, machine)) == 1 for machine in machines)


def test_destructive_timer_waits_and_is_announced_after_a_long_pause(rig: Rig) -> None:
    deleting, other = arm(rig, timedelta(hours=1), deletes=True), arm(rig, timedelta(hours=1))
    rig.tick()
    real = rig.engine.real_time

    with rig.alone():  # both clocks jump at once
        rig.clock.advance(timedelta(hours=2))
        rig.engine.real_time = lambda: real() + 301.0
        rig.tick()
        held = started(rig, deleting)
        rig.clock.advance(timedelta(minutes=9))
        rig.tick()
        still_held = started(rig, deleting)
        rig.clock.advance(timedelta(minutes=2))
        rig.tick()

    assert held == still_held == []
    with rig.engine.database.read() as session:
        announced = audit_entries(session, action="timer.held", subject=deleting)
    assert len(announced) == 1
    assert [timer_state(rig, one) for one in (deleting, other)] == ["fired", "fired"]
    for machine in (deleting, other):
        (operation,) = started(rig, machine)
        rig.finish(operation.id)
    rig.engine.real_time = real


def test_moving_the_clock_is_not_a_pause(rig: Rig) -> None:
    rig.tick()
    machine = arm(rig, deletes=True)
    rig.clock.advance(timedelta(hours=96.1))

    rig.tick()

    (operation,) = started(rig, machine)
    rig.finish(operation.id)


def test_schedule_starts_once_for_all_missed_slots_and_keeps_its_grid(rig: Rig) -> None:
    machine = rig.name()
    first = rig.clock.now() + timedelta(hours=1)
    with rig.engine.database.write() as session:
        rig.engine.schedules.ensure(session, machine, 3600.0, take, Spec(machine), first_at=first)

    rig.clock.advance(timedelta(hours=5.5))
    rig.tick()
    rig.tick()

    (operation,) = started(rig, machine)
    rig.finish(operation.id)
    with rig.engine.database.write() as session:
        row = next(one for one in rig.engine.schedules.list(session) if one.key == machine)
        rig.engine.schedules.delete(session, machine)
    assert row.next_at == first + timedelta(hours=5)


def test_paused_schedule_starts_nothing(rig: Rig) -> None:
    machine = rig.name()
    with rig.engine.database.write() as session:
        rig.engine.schedules.ensure(session, machine, 3600.0, take, Spec(machine))
        rig.engine.schedules.pause(session, machine)

    rig.clock.advance(timedelta(hours=5))
    rig.tick()

    assert started(rig, machine) == []
    with rig.engine.database.write() as session:
        rig.engine.schedules.delete(session, machine)


def test_reconciler_runs_about_every_interval_and_survives_its_errors(rig: Rig) -> None:
    rounds: list[str] = []

    @reconciler(rig.name(), every_s=60)
    def wish(call: Call[object]) -> None:
        call.check()
        rounds.append(call.key)
        raise ZeroDivisionError

    rig.engine.registry.add_reconciler(wish)
    try:
        rig.tick()
        eventually(lambda: len(rounds) == 1)
        rig.tick()
        rig.clock.advance(61)
        eventually(lambda: rig.tick() or len(rounds) >= 2)
    finally:
        rig.engine.registry.reconcilers.remove(wish)

    assert len(rounds) == 2


def test_closed_operation_is_looked_at_again_until_its_time_is_over(rig: Rig) -> None:
    seen: list[str] = []

    def check(call: Call[object], view: OperationView) -> None:
        call.check()
        seen.append(view.id)

    watch = Watch("take", check, for_s=3600.0, every_s=60.0)
    rig.engine.registry.watches.append(watch)
    try:
        operation = rig.engine.submit(None, take, Spec(rig.name()))
        rig.finish(operation)
        rig.clock.advance(61)
        rig.tick()
        eventually(lambda: operation in seen)
        rig.clock.advance(3700)
        seen.clear()
        rig.tick()
        rig.clock.advance(61)
        rig.tick()
    finally:
        rig.engine.registry.watches.remove(watch)

    assert operation not in seen


def test_purge_forgets_what_closed_before_and_keeps_the_rest(rig: Rig) -> None:
    old = rig.engine.submit(None, take, Spec(rig.name()))
    rig.finish(old)
    rig.clock.advance(timedelta(days=1))
    recent = rig.engine.submit(None, take, Spec(rig.name()))
    rig.finish(recent)

    assert rig.engine.purge(rig.clock.now() - timedelta(hours=12)) >= 1

    assert rig.engine.find(old) is None
    assert rig.engine.steps(old) == rig.engine.events(old) == ()
    assert rig.engine.get(recent).state is State.DONE


@given(every_s=st.floats(1, 1e6), late_s=st.floats(0, 1e7))
def test_next_slot_is_the_first_of_the_grid_after_now(every_s: float, late_s: float) -> None:
    slot = ManualClock().now()
    now = slot + timedelta(seconds=late_s)

    following = next_slot(slot, every_s, now)

    assert timedelta(0) < following - now + timedelta(milliseconds=1)
    assert following - now <= timedelta(seconds=every_s) + timedelta(milliseconds=1)

"""What every engine does with an operation: the same suite on inline, DBOS on SQLite and DBOS on PostgreSQL."""

from __future__ import annotations

import threading

import pytest
from engine_rig import Rig, eventually
from engine_stories import Broken, Spec, take

from holdfast.core.errors import NotFound
from holdfast.core.ids import OperationId
from holdfast.engine import (
    CompensationFailed,
    NoChoiceLeft,
    NotStuck,
    OperationCancelled,
    State,
    SubjectBusy,
    WaitTimedOut,
)

FORWARD = ["stop", "disk-0", "disk-1", "launch spot", "match"]


def submit(rig: Rig, *markets: str) -> OperationId:
    return rig.engine.submit(None, take, Spec(rig.name(), markets or ("spot",)))


def test_story_told_to_its_end_closes_done_with_its_result(rig: Rig) -> None:
    rig.world.ready_after = 2
    operation = submit(rig)

    ended = rig.finish(operation)

    assert ended.state is State.DONE
    assert rig.engine.result(operation) == "ssn-machine-spot"
    assert rig.world.effects == FORWARD, "recorded steps are not done again by later segments"
    assert rig.nodes(operation) == ["machine-spot"]
    assert rig.states(operation) == ["queued", "running", "waiting", "running", "waiting", "running", "done"]


def test_events_tell_the_steps_in_order_and_notes_once(rig: Rig) -> None:
    rig.world.ready_after = 1
    operation = submit(rig)
    rig.finish(operation)

    events = rig.engine.events(operation)

    titles = ["Stop the original", "Make the disks", "Launch the machine", "See the machine ready"]
    assert [event.text for event in events if event.kind == "step"][:4] == titles
    assert [event.text for event in events if event.kind == "note"] == ["disks are made"]
    assert rig.engine.events(operation, after=events[4].id) == events[5:]


def test_failure_before_the_pivot_unwinds_newest_first(rig: Rig) -> None:
    rig.world.broken = {"hand over"}
    operation = submit(rig)

    ended = rig.finish(operation)

    assert ended.state is State.FAILED
    assert ended.unwinding_because == Broken(what="hand over")
    undone = ["dissolve spot", "delete disk-0", "delete disk-1", "start"]
    assert rig.world.effects == [*FORWARD[:4], *undone]
    assert rig.world.things == set()
    assert rig.states(operation) == ["queued", "running", "unwinding", "failed"]
    with pytest.raises(Broken):
        rig.engine.result(operation)


def test_step_that_failed_halfway_is_compensated_too(rig: Rig) -> None:
    rig.world.broken = {"disk-1"}
    operation = submit(rig)

    ended = rig.finish(operation)

    assert ended.state is State.FAILED
    assert rig.world.things == set()
    assert rig.world.power == "on"


def test_flaky_step_is_tried_again_under_the_same_key(rig: Rig) -> None:
    rig.world.flaky["disk-0"] = 3
    operation = submit(rig)

    ended = rig.finish(operation)

    step = next(step for step in rig.engine.steps(operation) if step.key == "make_disks")
    assert ended.state is State.DONE
    assert step.attempt == 4
    assert set(rig.world.keys[1:6]) == {f"{operation}/make_disks"}


def test_refused_choice_is_compensated_before_the_next(rig: Rig) -> None:
    rig.world.full = {"a", "b"}
    operation = submit(rig, "a", "b", "c")

    ended = rig.finish(operation)

    assert ended.state is State.DONE
    tried = ["launch a", "dissolve a", "launch b", "dissolve b", "launch c"]
    assert rig.world.effects[3:8] == tried
    states = {step.key: step.state for step in rig.engine.steps(operation)}
    assert (states["launch#0"], states["launch#1"], states["launch#2"]) == ("refused", "refused", "done")


def test_all_choices_refused_unwinds_with_every_refusal(rig: Rig) -> None:
    rig.world.full = {"a", "b"}
    operation = submit(rig, "a", "b")

    ended = rig.finish(operation)

    assert ended.state is State.FAILED
    assert isinstance(ended.unwinding_because, NoChoiceLeft)
    assert [one["details"]["market"] for one in ended.unwinding_because.details["refusals"]] == ["a", "b"]
    assert rig.world.things == set()


def test_wait_that_times_out_unwinds(rig: Rig) -> None:
    rig.world.ready_after = 10_000
    operation = submit(rig)
    began = rig.clock.now()

    ended = rig.finish(operation)

    assert ended.state is State.FAILED
    assert isinstance(ended.unwinding_because, WaitTimedOut)
    assert 120 <= (rig.clock.now() - began).total_seconds() < 150
    assert rig.world.looks == 9, "every 15 s, and once at the deadline"
    assert rig.world.things == set()


def test_waiting_operation_can_be_cancelled_at_once(rig: Rig) -> None:
    rig.world.ready_after = 10_000
    operation = submit(rig)
    rig.until(operation, State.WAITING)

    assert rig.engine.cancel(operation) is True
    ended = rig.finish(operation)

    assert ended.state is State.CANCELLED
    assert isinstance(ended.unwinding_because, OperationCancelled)
    assert rig.world.things == set()
    assert rig.world.power == "on"


def test_queued_operation_that_is_cancelled_has_no_effect(rig: Rig) -> None:
    operation = rig.engine.submit(None, take, Spec(rig.name()), wake_at=rig.clock.now().replace(year=2090))

    assert rig.engine.cancel(operation) is True
    ended = rig.finish(operation)

    assert ended.state is State.CANCELLED
    assert rig.world.effects == []


def test_cancel_after_the_end_is_too_late(rig: Rig) -> None:
    operation = submit(rig)
    rig.finish(operation)

    assert rig.engine.cancel(operation) is False


def test_cancel_while_unwinding_is_too_late(rig: Rig) -> None:
    rig.world.broken = {"disk-1", "start"}
    operation = submit(rig)
    rig.finish(operation)

    assert rig.engine.cancel(operation) is False
    rig.world.broken = set()
    rig.engine.retry(operation)
    assert rig.finish(operation).state is State.FAILED


def test_compensation_that_fails_is_stuck_and_retry_starts_from_the_first(rig: Rig) -> None:
    rig.world.broken = {"hand over", "start"}
    operation = submit(rig)

    stuck = rig.finish(operation)
    before = len(rig.world.effects)
    rig.world.broken = {"hand over"}
    rig.world.things.add("machine-spot")  # a create of the dead worker landed late
    rig.engine.retry(operation)
    ended = rig.finish(operation)

    assert stuck.state is State.STUCK
    assert isinstance(stuck.error, CompensationFailed)
    assert stuck.error.details["cause"] == "test.broken"
    assert ended.state is State.FAILED
    assert rig.world.effects[before:] == ["dissolve spot", "delete disk-0", "delete disk-1", "start"]
    assert rig.world.power == "on"


def test_failure_after_the_pivot_goes_on_until_it_works(rig: Rig) -> None:
    rig.world.broken = {"match"}
    operation = submit(rig)
    failed = rig.until(operation, State.WAITING)
    rig.world.broken = set()

    assert failed.error == Broken(what="match")
    assert rig.engine.cancel(operation) is False
    assert rig.finish(operation).state is State.DONE
    assert rig.nodes(operation) == ["machine-spot"]


def test_failure_after_the_pivot_that_lasts_is_stuck_and_never_unwinds(rig: Rig) -> None:
    rig.world.broken = {"match"}
    operation = submit(rig)

    stuck = rig.finish(operation)
    rig.world.broken = set()
    rig.engine.retry(operation)
    ended = rig.finish(operation)

    assert stuck.state is State.STUCK
    assert "unwinding" not in rig.states(operation)
    assert ended.state is State.DONE
    assert rig.world.things == {"disk-0", "disk-1", "machine-spot"}


def test_retry_of_what_is_not_stuck_is_refused(rig: Rig) -> None:
    operation = submit(rig)
    rig.finish(operation)

    with pytest.raises(NotStuck):
        rig.engine.retry(operation)


def test_subject_that_is_being_changed_refuses_a_second_operation(rig: Rig) -> None:
    rig.world.ready_after = 10_000
    machine = rig.name()
    first = rig.engine.submit(None, take, Spec(machine))
    rig.until(first, State.WAITING)

    with pytest.raises(SubjectBusy) as refused:
        rig.engine.submit(None, take, Spec(machine))

    assert refused.value.details["operation"] == first
    rig.engine.cancel(first)
    rig.finish(first)
    rig.world.ready_after = 0
    assert rig.finish(rig.engine.submit(None, take, Spec(machine))).state is State.DONE


def test_submitting_the_same_id_again_is_the_same_operation(rig: Rig) -> None:
    machine = rig.name()
    first = rig.engine.submit(None, take, Spec(machine))

    again = rig.engine.submit(None, take, Spec(machine), operation_id=first)

    assert again == first
    rig.finish(first)
    assert rig.world.effects == FORWARD


def test_submit_in_a_transaction_that_rolls_back_leaves_nothing(rig: Rig) -> None:
    operation = OperationId(f"op-{rig.name()}")

    def fail() -> None:
        with rig.engine.database.write() as session:
            rig.engine.submit(session, take, Spec(rig.name()), operation_id=operation)
            raise Broken(what="the caller")

    with pytest.raises(Broken):
        fail()

    assert rig.engine.find(operation) is None
    with pytest.raises(NotFound):
        rig.engine.get(operation)


def test_steps_and_lists_show_what_was_done(rig: Rig) -> None:
    operation = submit(rig)
    rig.finish(operation)

    assert [step.key for step in rig.engine.steps(operation)] == [
        "stop_original",
        "make_disks",
        "launch#0",
        "see_ready",
        "hand_over",
        "match_power",
    ]
    spec = rig.engine.spec(operation)
    assert [one.id for one in rig.engine.list(states=[State.DONE], subject=spec.machine)] == [operation]
    assert spec.markets == ("spot",)


def test_cancel_during_a_step_wins_before_the_pivot(rig: Rig) -> None:
    if rig.inline:
        pytest.skip("nothing runs beside the caller on the inline engine; its crash harness cancels before the pivot")
    rig.world.gates["disk-1"] = threading.Event()
    rig.world.reached["disk-1"] = threading.Event()
    operation = submit(rig)
    assert rig.world.reached["disk-1"].wait(10)

    assert rig.engine.cancel(operation) is True
    ended = rig.finish(operation)

    assert ended.state is State.CANCELLED
    assert rig.world.things == set()
    assert rig.world.power == "on"


def test_progress_is_shown_while_a_step_runs(rig: Rig) -> None:
    if rig.inline:
        pytest.skip("nothing runs beside the caller on the inline engine")
    rig.world.gates["launch spot"] = threading.Event()
    operation = submit(rig)

    shown = eventually(lambda: (view := rig.engine.get(operation)).step == "launch#0" and view)

    assert shown.step_title == "Launch the machine"
    rig.world.gates["launch spot"].set()
    assert rig.finish(operation).percent == 100.0

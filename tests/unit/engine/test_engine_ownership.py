"""Who owns an operation: leases, epochs, generations, take-over, draining, a lost scheduler database."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from engine_rig import QUICK, eventually
from engine_stories import REGISTRY, Spec, World, brief, take
from sqlalchemy import text

from holdfast.core.clock import ManualClock
from holdfast.core.ids import OperationId
from holdfast.engine import (
    Crash,
    Crashed,
    CrashLoop,
    DbosEngine,
    Draining,
    InlineEngine,
    LeaseLost,
    Registry,
    State,
    When,
    ticking,
)
from holdfast.engine.running import Outcome, run
from holdfast.engine.seams import Moment
from holdfast.engine.worker import Worker
from holdfast.store import Database


class Boot:
    """A suspend-proof clock that the test moves."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def boot() -> Boot:
    return Boot()


@pytest.fixture
def worker(database: Database, boot: Boot) -> Worker:
    made = Worker(database, lease_s=10.0, boottime=boot)
    made.beat()
    return made


def let_lapse(database: Database, worker: Worker) -> None:
    """As the others see it: its beat is old."""
    with database.write() as session:
        session.execute(text("update workers set beat_s = beat_s - 1000 where id = :id"), {"id": worker.id})


def owned_by(database: Database, worker: Worker) -> OperationId:
    """An operation that `worker` owns."""
    operation = InlineEngine(database, REGISTRY).submit(None, take, Spec(f"vm-{worker.id}"))
    with database.write() as session:
        session.execute(
            text("update operations set owner = :me, state = 'running' where id = :id"),
            {"me": worker.id, "id": operation},
        )
    return operation


# --- the lease -------------------------------------------------------------------------------------------------------


def test_worker_that_never_beat_may_send_nothing(database: Database) -> None:
    with pytest.raises(LeaseLost):
        Worker(database, lease_s=10.0).check(0)


def test_lease_is_good_for_seven_tenths_after_its_beat_began(worker: Worker, boot: Boot) -> None:
    boot.now_s += 6.9
    worker.check(worker.epoch)

    boot.now_s += 0.2

    with pytest.raises(LeaseLost):
        worker.check(worker.epoch)


def test_beat_in_time_renews_the_lease_and_keeps_the_epoch(worker: Worker, boot: Boot) -> None:
    epoch = worker.epoch
    boot.now_s += 6.0

    assert worker.beat() is True

    boot.now_s += 6.0
    worker.check(epoch)


def test_beat_after_a_lapse_gives_back_what_was_owned_and_disarms_old_threads(
    database: Database, worker: Worker
) -> None:
    operation = owned_by(database, worker)
    old_epoch = worker.epoch
    let_lapse(database, worker)

    assert worker.beat() is False

    view = InlineEngine(database, REGISTRY).get(operation)
    assert (view.owner, view.generation) == (None, 1)
    with pytest.raises(LeaseLost):
        worker.check(old_epoch)
    worker.check(worker.epoch)


def test_draining_worker_stops_at_the_next_check(worker: Worker) -> None:
    worker.draining = True

    with pytest.raises(Draining):
        worker.check(worker.epoch)


def test_worker_ids_are_new_at_every_start(database: Database) -> None:
    """Workers orphaned by a failed run kept their ids and broke the following runs (engine.md 5.2 b)."""
    assert Worker(database, 10.0).id != Worker(database, 10.0).id


# --- taking over -----------------------------------------------------------------------------------------------------


def test_operation_of_an_owner_without_a_fresh_beat_is_taken_over(database: Database, worker: Worker) -> None:
    operation = owned_by(database, worker)
    engine = InlineEngine(database, REGISTRY, settings=replace(QUICK, lease_s=10.0))

    while_fresh = ticking.take_over(engine)
    let_lapse(database, worker)
    after = ticking.take_over(engine)

    assert (while_fresh, after) == (0, 1)
    assert engine.get(operation).generation == 1


def test_zombie_that_claims_after_it_was_declared_dead_is_taken_over_again(database: Database, worker: Worker) -> None:
    engine = InlineEngine(database, REGISTRY)
    let_lapse(database, worker)
    owned_by(database, worker)

    assert ticking.take_over(engine) == 1


def test_what_is_ours_but_does_not_run_here_is_given_back(database: Database) -> None:
    engine = InlineEngine(database, REGISTRY)
    operation = owned_by(database, engine.worker)

    assert ticking.give_back_lost(engine) == 1
    assert engine.get(operation).generation == 1


def test_what_runs_here_is_not_given_back(database: Database) -> None:
    engine = InlineEngine(database, REGISTRY)
    operation = owned_by(database, engine.worker)
    engine.worker.enter(operation, 0)

    assert ticking.give_back_lost(engine) == 0


class TakenOver:
    """A seam: at one moment of one step another worker takes the operation."""

    def __init__(self, database: Database, step: str, moment: Moment) -> None:
        self.database, self.step, self.moment = database, step, moment

    def at(self, moment: Moment, operation: OperationId, step: str, undoing: bool) -> None:
        if step == self.step and moment is self.moment:
            with self.database.write() as session:
                session.execute(
                    text("update operations set owner='other', generation=generation+1 where id=:id"),
                    {"id": operation},
                )


@pytest.mark.parametrize("moment", [Moment.BEFORE_CALL, Moment.AFTER_CALL])
@pytest.mark.parametrize("step", ["make_disks", "hand_over"])
def test_worker_that_was_taken_over_records_nothing_and_goes_no_further(
    database: Database, step: str, moment: Moment
) -> None:
    world = World()
    engine = InlineEngine(database, REGISTRY, services=world, seam=TakenOver(database, step, moment))
    operation = engine.submit(None, take, Spec("db-1"))

    outcome = run(engine, operation, 0)

    assert outcome is Outcome.LOST
    assert engine.get(operation).owner == "other"
    assert "launch spot" not in world.effects or step == "hand_over"
    assert [one.state for one in engine.steps(operation) if one.key == step] in (["intent"], [])
    with database.read() as session:
        assert session.scalar(text("select count(*) from test_nodes")) == 0


def test_stale_generation_is_not_run(database: Database) -> None:
    world = World()
    engine = InlineEngine(database, REGISTRY, services=world)
    operation = engine.submit(None, take, Spec("db-1"))

    assert run(engine, operation, 7) is Outcome.STALE
    assert world.effects == []


def test_operation_whose_workers_die_again_and_again_is_stuck_until_retried(database: Database) -> None:
    world = World()
    settings = replace(QUICK, crash_loop=3)
    crash = Crash("make_disks", When.BEFORE_CALL)
    engine = InlineEngine(database, REGISTRY, services=world, settings=settings, crash=crash)
    operation = engine.submit(None, take, Spec("db-1"))
    for _ in range(3):
        with pytest.raises(Crashed):
            engine.run(operation)
        engine = InlineEngine(database, REGISTRY, services=world, settings=settings, crash=crash)
        ticking.take_over_all(engine)

    calm = InlineEngine(database, REGISTRY, services=world, settings=settings)
    stuck = calm.run(operation)
    calm.retry(operation)

    assert stuck.state is State.STUCK
    assert isinstance(stuck.error, CrashLoop)
    assert calm.run(operation).state is State.DONE


def test_operation_of_an_unknown_kind_stays_queued_for_a_worker_that_knows_it(database: Database) -> None:
    operation = InlineEngine(database, REGISTRY).submit(None, take, Spec("db-1"))
    older = InlineEngine(database, Registry())

    older.tick()

    assert run(older, operation, 0) is Outcome.STALE
    assert older.get(operation).state is State.QUEUED
    newer = InlineEngine(database, REGISTRY, services=World())
    assert newer.run(operation).state is State.DONE


# --- DBOS ------------------------------------------------------------------------------------------------------------


class Home:
    """A home whose server is started, stopped and robbed of its scheduler database."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        self.world = World()
        self.clock = ManualClock()
        self.scheduler = folder / "dbos.db"
        self.engine: DbosEngine | None = None

    def start(self, alone: bool = True) -> DbosEngine:
        self.engine = DbosEngine(
            self.database,
            REGISTRY,
            scheduler_url=f"sqlite:///{self.scheduler}",
            clock=self.clock,
            services=self.world,
            settings=QUICK,
            alone=alone,
        )
        self.engine.start()
        return self.engine

    def stop(self) -> None:
        if self.engine is not None:
            self.engine.stop()
            self.engine = None

    def hold(self, what: str) -> threading.Event:
        """A step that stands still there until the returned event is set."""
        self.world.gates[what] = threading.Event()
        self.world.reached[what] = threading.Event()
        return self.world.gates[what]


@pytest.fixture
def home(database: Database, tmp_path: Path) -> Iterator[Home]:
    made = Home(database, tmp_path)
    yield made
    made.stop()


def ended(engine: DbosEngine, operation: OperationId) -> State | None:
    view = engine.get(operation)
    return view.state if view.is_closed else None


def test_stopping_server_releases_its_operations_and_the_next_one_finishes_them(home: Home) -> None:
    gate = home.hold("disk-1")
    operation = home.start().submit(None, take, Spec("db-1"))
    assert home.world.reached["disk-1"].wait(10)

    home.stop()
    released = InlineEngine(home.database, REGISTRY).get(operation)
    gate.set()

    assert (released.state, released.owner) == (State.RUNNING, None)
    assert eventually(lambda: ended(home.start() if home.engine is None else home.engine, operation)) is State.DONE
    assert home.world.effects == ["stop", "disk-0", "disk-0", "disk-1", "launch spot", "match"]


def test_lost_scheduler_database_loses_nothing(home: Home) -> None:
    gate = home.hold("launch spot")
    engine = home.start()
    operations = [engine.submit(None, take, Spec(f"db-{n}")) for n in range(5)]
    assert home.world.reached["launch spot"].wait(10)

    home.stop()
    for leftover in home.scheduler.parent.glob("dbos.db*"):
        leftover.unlink()
    gate.set()
    again = home.start()

    for operation in operations:
        assert eventually(lambda operation=operation: ended(again, operation)) is State.DONE


def test_operation_of_a_process_that_was_killed_is_finished_by_the_next(home: Home) -> None:
    crash = Crash("launch#0", When.DONE_UNRECORDED)
    dead = InlineEngine(home.database, REGISTRY, services=home.world, crash=crash)
    operation = dead.submit(None, take, Spec("db-1"))
    with pytest.raises(Crashed):
        dead.run(operation)

    engine = home.start(alone=False)

    assert eventually(lambda: ended(engine, operation)) is State.DONE
    assert home.world.effects.count("launch spot") == 2, "the step in flight runs again, under the same key"


def test_second_engine_in_one_process_is_refused(home: Home) -> None:
    home.start()

    with pytest.raises(RuntimeError, match="already"):
        Home(home.database, home.scheduler.parent).start()


def test_cancel_racing_the_pivot_is_either_accepted_and_undone_or_refused_and_done(home: Home) -> None:
    engine = home.start()
    answers: dict[OperationId, bool] = {}

    def cancel_late(operation: OperationId) -> None:
        eventually(lambda: engine.get(operation).step is not None)
        answers[operation] = engine.cancel(operation)

    operations = [engine.submit(None, brief, Spec(f"db-{n}")) for n in range(16)]
    threads = [threading.Thread(target=cancel_late, args=(operation,)) for operation in operations]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    for operation in operations:
        state = eventually(lambda operation=operation: ended(engine, operation))
        assert state is (State.CANCELLED if answers[operation] else State.DONE)
    kept = {operation for operation in operations if not answers[operation]}
    with home.database.read() as session:
        assert set(session.scalars(text("select operation from test_nodes"))) == kept
    assert len(home.world.things) == len(kept)

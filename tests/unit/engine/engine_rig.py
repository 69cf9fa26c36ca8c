"""One face over both engines, so that one suite judges them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine_stories import REGISTRY, World
from sqlalchemy import text

from holdfast.core.clock import ManualClock
from holdfast.core.ids import OperationId, short_hex
from holdfast.engine import DbosEngine, Engine, InlineEngine, OperationView, Settings, State
from holdfast.store import Database, upgrade

QUICK = Settings(lease_s=10.0, tick_s=0.1, queue_poll_s=0.03, doubt_s=0.5, drain_s=5.0)


def make_test_tables(database: Database) -> None:
    with database.write() as session:
        session.execute(text("create table if not exists test_nodes (operation text primary key, machine text)"))
        session.execute(text("create table if not exists test_states (operation text, old text, new text)"))


def eventually(condition: Callable[[], Any], bound_s: float = 20.0) -> Any:
    """What `condition` returns once it is true. Fails after the bound."""
    deadline = time.monotonic() + bound_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {bound_s} s")
        time.sleep(0.01)
    return found


class Rig:
    """An engine on a manual clock, and the world that it works on."""

    def __init__(self, engine: Engine, clock: ManualClock) -> None:
        self.engine = engine
        self.clock = clock
        self.world = World()
        self.names: list[str] = []

    @property
    def inline(self) -> InlineEngine | None:
        return self.engine if isinstance(self.engine, InlineEngine) else None

    def renew(self) -> None:
        self.world = World()
        self.engine.services = self.world

    def name(self) -> str:
        return f"db-{short_hex(8)}"

    def require_idle(self) -> None:
        """A test that leaves something running would disturb the next one."""
        left = [view for view in self.engine.list(open_only=True) if view.state is not State.STUCK]
        assert left == [], left

    def finish(self, operation: OperationId) -> OperationView:
        """Run to its end, the clock moved over its waits."""
        if self.inline:
            return self.inline.run(operation)

        def ended() -> OperationView | None:
            view = self.engine.get(operation)
            if view.is_closed or view.state is State.STUCK:
                return view
            if view.owner is None and view.wake_at is not None and view.wake_at > self.clock.now():
                self.clock.advance(view.wake_at - self.clock.now())
            return None

        found: OperationView = eventually(ended)
        return found

    def until(self, operation: OperationId, state: State) -> OperationView:
        """Run until it is in that state, the clock left alone."""

        def there() -> OperationView | None:
            if self.inline:
                self.inline.tick()
            view = self.engine.get(operation)
            return view if view.state is state and (view.owner is None or state is State.RUNNING) else None

        found: OperationView = eventually(there)
        return found

    def tick(self) -> None:
        """Let everything that is due happen at least once."""
        self.engine.tick()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody ticks but this thread: the engine's own thread waits at the gate until the block ends."""
        if self.inline:
            yield
            return
        tick, gate, arrived, me = self.engine.tick, threading.RLock(), threading.Event(), threading.get_ident()

        def gated() -> None:
            if threading.get_ident() != me:
                arrived.set()
            with gate:
                tick()

        with gate:
            self.engine.tick = gated  # type: ignore[method-assign]
            try:
                assert arrived.wait(20), "the engine's own thread does not tick"
                yield
            finally:
                self.engine.tick = tick  # type: ignore[method-assign]

    def states(self, operation: OperationId) -> list[str]:
        with self.engine.database.read() as session:
            rows = session.execute(text("select new from test_states where operation=:o"), {"o": operation})
            return [row.new for row in rows]

    def nodes(self, operation: OperationId) -> list[str]:
        with self.engine.database.read() as session:
            rows = session.execute(text("select machine from test_nodes where operation=:o"), {"o": operation})
            return [row.machine for row in rows]


@contextmanager
def inline_rig(url: str) -> Iterator[Rig]:
    database = Database.open(url, durable=False)
    upgrade(database)
    make_test_tables(database)
    clock = ManualClock()
    yield Rig(InlineEngine(database, REGISTRY, clock=clock, settings=QUICK), clock)
    database.close()


@contextmanager
def dbos_rig(url: str, scheduler_url: str) -> Iterator[Rig]:
    database = Database.open(url, durable=False, idle_in_transaction_s=QUICK.lease_s)
    upgrade(database)
    make_test_tables(database)
    clock = ManualClock()
    engine = DbosEngine(database, REGISTRY, scheduler_url=scheduler_url, clock=clock, settings=QUICK)
    engine.start()
    try:
        yield Rig(engine, clock)
    finally:
        engine.stop()
        database.close()

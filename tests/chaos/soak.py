"""The soak's driver: real worker processes are killed, frozen and robbed while they work; then invariants are read.

Phases as `reference/engine.md` 5.1 lays them down: submit and kill until nothing is open; check; 95.9 h: nothing may be
cleaned; keep the originals of two; 97 h; check. Children are ended by pid on every way out.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from soak_cloud import CloudServer, Faults
from soak_stories import REGISTRY, Adoption
from soak_worker import soak_settings
from sqlalchemy import text

from holdfast.core.clock import FileClock
from holdfast.core.ids import OperationId
from holdfast.engine import DbosEngine, State, ticking
from holdfast.store import Database, upgrade

__all__ = ["Plan", "Report", "Soak"]


@dataclass(frozen=True)
class Plan:
    """What one soak does. Times are real seconds."""

    imports: int = 60
    workers: int = 1
    kills: int = 10
    freezes: int = 0
    freeze_s: float = 5.0
    pause_s: tuple[float, float] = (1.2, 2.6)
    lease_s: float = 4.0
    fails: float = 0.1
    cancels: int = 3
    forget_scheduler: bool = False  # its database is deleted at every second kill
    restart_server: Callable[[], None] | None = None  # the database server goes away in the middle
    refuse_deletes_s: float = 0.0  # no undo can succeed for so long
    kill_cleaning: int = 2  # kills while originals are cleaned up
    for_good: bool = False  # every third kill, while more than one worker is left
    bound_s: float = 600.0
    faults: Faults = field(default_factory=Faults)


@dataclass
class Report:
    seed: int
    states: Counter[str] = field(default_factory=Counter)
    final: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    interrupted: int = 0  # operations that a killed worker owned
    freezes: int = 0
    requests: int = 0
    effects: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.kills} kills of {self.interrupted} running operations, "
            f"{self.freezes} freezes, {self.seconds:.0f} s; "
            f"imports {dict(self.states)} → {dict(self.final)}; "
            f"cancels {self.accepted} accepted, {self.refused} refused; "
            f"{self.requests} requests for {self.effects} creations; violations {self.violations}"
        )


class Soak:
    """One run. `url` and `scheduler_url` name databases that are empty."""

    def __init__(self, plan: Plan, folder: Path, url: str, scheduler_url: str, seed: int) -> None:
        self.plan, self.folder, self.url, self.scheduler_url = plan, folder, url, scheduler_url
        self.random = random.Random(seed)
        self.report = Report(seed)
        self.workers: list[subprocess.Popen[bytes]] = []
        self.frozen: list[tuple[float, subprocess.Popen[bytes]]] = []
        self.clock_file = folder / "clock.json"
        self.cancelled: dict[str, bool] = {}

    def run(self) -> Report:
        began = time.monotonic()
        self.database = Database.open(self.url, idle_in_transaction_s=self.plan.lease_s)
        upgrade(self.database)
        with self.database.write() as session:
            session.execute(
                text("create table soak (name text primary key, operation text, state text, counted integer)")
            )
        with CloudServer(self.report.seed, self.plan.faults) as self.cloud:
            self.engine = DbosEngine(
                self.database,
                REGISTRY,
                scheduler_url=self.scheduler_url,
                clock=FileClock(self.clock_file),
                settings=soak_settings(self.plan.lease_s),
                works=False,
            )
            try:
                self._submit()
                for _ in range(self.plan.workers):
                    self._start_worker()
                self._disturb()
                self._until("nothing is open", self._nothing_open)
                self._settle()
                self.report.states = self._check()
                self._retention()
                self.report.final = self._check()
            finally:
                self._end_workers()
                self.database.close()
        self.report.requests = self.cloud.state.requests
        self.report.effects = sum(self.cloud.state.effects.values())
        self.report.violations += self.cloud.state.violations
        self.report.seconds = time.monotonic() - began
        return self.report

    # --- phases --------------------------------------------------------------------------------------------------

    def _submit(self) -> None:
        for number in range(self.plan.imports):
            name = f"vm-{number:03d}"
            self.cloud.state.parts[f"{name}/original"] = True
            fails = self.random.random() < self.plan.fails
            markets = ("full", "spot") if self.random.random() < 0.15 else ("spot",)
            with self.database.write() as session:
                operation = self.engine.submit(session, "adopt", Adoption(name, fails, markets))
                session.execute(
                    text("insert into soak values (:name, :operation, 'NEW', 0)"),
                    {"name": name, "operation": operation},
                )

    def _disturb(self) -> None:
        plan, restarts, refused_since = self.plan, 0, None
        deadline = time.monotonic() + plan.bound_s
        while self.report.kills < plan.kills or self.report.freezes < plan.freezes:
            if self._nothing_open() or time.monotonic() > deadline:
                break
            # A worker that has not started, or has nothing to do, cannot be interrupted.
            self._until("workers are busy", lambda: self._nothing_open() or self._busy())
            time.sleep(self.random.uniform(*plan.pause_s))
            self._thaw()
            if self.report.freezes < plan.freezes:
                self._freeze()
            if self.report.kills < plan.kills:
                self._kill()
            disturbed = self.report.kills + self.report.freezes
            if disturbed == 2 and plan.refuse_deletes_s:
                self.cloud.refuse_deletes, refused_since = True, time.monotonic()
            if refused_since is not None and time.monotonic() - refused_since > plan.refuse_deletes_s:
                self.cloud.refuse_deletes, refused_since = False, None
            if disturbed >= 3 and not self.cancelled:
                self._cancel_some()
            if disturbed == 4 and plan.restart_server is not None and not restarts:
                restarts += 1
                plan.restart_server()
        self.cloud.refuse_deletes = False

    def _settle(self) -> None:
        """After a freeze a request may land late; the reconciler mends it in one pass."""
        while self.frozen:
            time.sleep(0.1)
            self._thaw()
        if self.plan.freezes:
            time.sleep(3 * 2.0 + 2.0)

    def _retention(self) -> None:
        self._move_clock(95.9)
        time.sleep(3.0)
        with self.database.write() as session:
            cleaned = session.scalars(text("select name from soak where state in ('CLEANING', 'CLEANED')")).all()
            self._blame(f"{name} was cleaned before 96 h" for name in cleaned)
            imported = session.scalars(text("select name from soak where state='IMPORTED' order by name")).all()
            for name in imported[:2]:  # keep the originals: timer and state in one transaction
                if self.engine.timers.cancel(session, f"clean {name}"):
                    session.execute(text("update soak set state='KEPT' where name=:name"), {"name": name})
        self._move_clock(97.0)
        for _ in range(self.plan.kill_cleaning):
            time.sleep(self.random.uniform(0.5, 1.0))
            self._kill()
        self._until("nothing waits for clean-up", self._nothing_to_clean)

    # --- disturbances --------------------------------------------------------------------------------------------

    def _start_worker(self) -> None:
        arguments = [
            self.url,
            self.scheduler_url,
            str(self.cloud.port),
            str(self.clock_file),
            str(self.plan.lease_s),
            "alone" if self.plan.workers == 1 else "peers",
        ]
        with open(self.folder / "workers.log", "ab") as log:
            command = [sys.executable, str(Path(__file__).with_name("soak_worker.py")), *arguments]
            self.workers.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _kill(self) -> None:
        """`kill -9` of a random live worker; a new process takes its place, or, for good, its peers do."""
        awake = [one for one in self.workers if all(one is not frozen for _, frozen in self.frozen)]
        if not awake:
            return
        victim = self.random.choice(awake)
        victim.kill()
        victim.wait()
        self.workers.remove(victim)
        with self.database.read() as session:
            self.report.interrupted += session.scalar(
                text("select count(*) from operations o join workers w on w.id = o.owner where w.about like :pid"),
                {"pid": f"%pid {victim.pid}"},
            )
        self.report.kills += 1
        if self.plan.forget_scheduler and self.report.kills % 2 == 0:
            file = self.scheduler_url.removeprefix("sqlite:///")
            for leftover in Path(file).parent.glob(Path(file).name + "*"):
                leftover.unlink()
        if not (self.plan.for_good and self.report.kills % 3 == 0 and len(self.workers) > 1):
            self._start_worker()

    def _freeze(self) -> None:
        awake = [one for one in self.workers if all(one is not frozen for _, frozen in self.frozen)]
        if len(awake) < 2:
            return
        victim = self.random.choice(awake)
        os.kill(victim.pid, signal.SIGSTOP)
        self.frozen.append((time.monotonic() + self.plan.freeze_s, victim))
        self.report.freezes += 1

    def _thaw(self) -> None:
        for entry in [entry for entry in self.frozen if entry[0] <= time.monotonic()]:
            os.kill(entry[1].pid, signal.SIGCONT)
            self.frozen.remove(entry)

    def _cancel_some(self) -> None:
        running = self.engine.list(kind="adopt", states=[State.RUNNING], limit=1000)
        for view in self.random.sample(running, min(self.plan.cancels, len(running))):
            self.cancelled[view.spec["name"]] = self.engine.cancel(view.id)
        self.report.accepted = sum(self.cancelled.values())
        self.report.refused = len(self.cancelled) - self.report.accepted

    def _end_workers(self) -> None:
        for worker in self.workers:
            worker.kill()  # also ends a stopped process
        for worker in self.workers:
            worker.wait()

    def _move_clock(self, hours: float) -> None:
        fresh = self.clock_file.with_suffix(".new")
        fresh.write_text(json.dumps({"offset_s": hours * 3600.0}))
        fresh.replace(self.clock_file)

    # --- looking -------------------------------------------------------------------------------------------------

    def _until(self, what: str, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + self.plan.bound_s
        while not condition():
            self._thaw()
            if time.monotonic() > deadline:
                left = [str(view) for view in self.engine.list(open_only=True, limit=3)]
                log = (self.folder / "workers.log").read_text()[-3000:]
                raise AssertionError(f"not within {self.plan.bound_s} s: {what}; {left}\n{log}")
            for view in self.engine.list(states=[State.STUCK], limit=1000):
                if not self.cloud.refuse_deletes:
                    self.engine.retry(view.id)
            time.sleep(0.2)

    def _busy(self) -> bool:
        with self.database.read() as session:
            owned = session.scalar(text("select count(*) from operations where owner is not null and open"))
        return bool(owned) and self._all_up()

    def _all_up(self) -> bool:
        fresh = ticking.live_workers(self.engine)
        with self.database.read() as session:
            rows = session.execute(text("select id, about from workers")).all()
        beating = {row.about.rpartition(" ")[2] for row in rows if row.id in fresh}
        frozen = {one.pid for _, one in self.frozen}
        return all(str(one.pid) in beating for one in self.workers if one.pid not in frozen)

    def _nothing_open(self) -> bool:
        return not self.engine.list(kind="adopt", open_only=True, limit=1)

    def _nothing_to_clean(self) -> bool:
        with self.database.read() as session:
            left = session.scalar(text("select count(*) from soak where state in ('IMPORTED', 'CLEANING')"))
        return left == 0 and not self.engine.list(open_only=True, limit=1)

    def _blame(self, violations: object) -> None:
        self.report.violations.extend(violations)  # type: ignore[arg-type]

    def _check(self) -> Counter[str]:
        with self.database.read() as session:
            rows = session.execute(text("select name, operation, state, counted from soak order by name")).all()
            timers = {timer.key: timer.state for timer in self.engine.timers.list(session, state=None, limit=10_000)}
        for row in rows:
            with self.cloud.lock:
                parts = {
                    part.partition("/")[2]: on
                    for part, on in self.cloud.state.parts.items()
                    if part.startswith(f"{row.name}/")
                }
            made = {"disk": False, "node-spot": True}
            wanted = {
                "IMPORTED": {"original": False, "snapshot": False, **made},
                "KEPT": {"original": False, "snapshot": False, **made},
                "CLEANED": made,
                "FAILED": {"original": True},
                "CANCELLED": {"original": True},
            }.get(row.state)
            if parts != wanted:
                self._blame([f"{row.name} is {row.state} with {parts}"])
            if row.counted != (1 if row.state in ("IMPORTED", "KEPT", "CLEANED") else 0):
                self._blame([f"{row.name} is {row.state} and was counted {row.counted} times"])
            if row.state in ("FAILED", "CANCELLED") and f"clean {row.name}" in timers:
                self._blame([f"{row.name} is {row.state} with a timer"])
            closed = self.engine.get(OperationId(row.operation)).state
            if self.cancelled.get(row.name) and closed is not State.CANCELLED:
                self._blame([f"{row.name}: cancel was accepted and it is {closed}"])
        return Counter(row.state for row in rows)

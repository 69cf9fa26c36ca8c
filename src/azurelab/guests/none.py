"""The hypervisor without guests: power states only, for thousands of machines."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from azurelab.guests.behaviour import Behaviours, well_behaved
from azurelab.guests.events import ScheduledEvents
from azurelab.guests.hypervisor import Agent, BootFailed, DiskAttachment, GuestSpec, Power

__all__ = ["NoGuests"]


@dataclass
class _Machine:
    spec: GuestSpec
    started_at_s: float
    events: ScheduledEvents


class NoGuests:
    """Keeps in memory which machines run; after a restart azurelab's own record says it again through `adopt`.

    `now` is the lab's clock (seconds). Boots at once; the agent is READY unless `behaviour` says otherwise.
    """

    def __init__(self, behaviour: Behaviours = well_behaved, now: Callable[[], float] = time.time) -> None:
        self._behaviour = behaviour
        self._now = now
        self._lock = threading.Lock()
        self._running: dict[str, _Machine] = {}
        self._listeners: list[Callable[[str, Power], None]] = []

    def start(self, spec: GuestSpec) -> None:
        self._refuse_to_boot(spec.key)
        with self._lock:
            if spec.key not in self._running:
                self._running[spec.key] = _Machine(spec, self._now(), ScheduledEvents())

    def stop(self, key: str, *, graceful: bool, timeout_s: float = 60) -> None:
        with self._lock:
            self._running.pop(key, None)

    def restart(self, key: str) -> None:
        self._refuse_to_boot(key)
        with self._lock:
            if key in self._running:
                self._running[key].started_at_s = self._now()

    def _refuse_to_boot(self, key: str) -> None:
        if self._behaviour(key).fails_to_boot:
            with self._lock:
                self._running.pop(key, None)
            raise BootFailed("the guest did not boot (asked for by the lab's world)")

    def power(self, key: str) -> Power:
        with self._lock:
            return Power.RUNNING if key in self._running else Power.OFF

    def agent(self, key: str) -> Agent:
        with self._lock:
            machine = self._running.get(key)
        behaviour = self._behaviour(key)
        if machine is None or behaviour.no_agent:
            return Agent.ABSENT
        if behaviour.never_ready or self._now() < machine.started_at_s + behaviour.ready_after_s:
            return Agent.NOT_READY
        return Agent.READY

    def attach(self, key: str, disk: DiskAttachment) -> None:
        """Nothing to do: what is attached stands in azurelab's record."""

    def detach(self, key: str, lun: int) -> None:
        """Nothing to do, as for attach."""

    def readdress(self, spec: GuestSpec) -> None:
        with self._lock:
            if spec.key in self._running:
                self._running[spec.key].spec = spec

    def notify_preempt(self, key: str, not_before_s: float) -> None:
        with self._lock:
            machine = self._running.get(key)
        if machine is not None:
            machine.events.preempt(str(machine.spec.compute.get("name", "")), not_before_s)

    def console(self, key: str) -> bytes:
        return b""

    def remove(self, key: str) -> None:
        self.stop(key, graceful=False)

    def adopt(self, specs: Mapping[str, GuestSpec]) -> None:
        """`specs` are the machines that should run: they do."""
        with self._lock:
            self._running = {key: _Machine(spec, self._now(), ScheduledEvents()) for key, spec in specs.items()}

    def on_power_change(self, listener: Callable[[str, Power], None]) -> None:
        self._listeners.append(listener)

    def power_off_from_inside(self, key: str) -> None:
        """As if the guest had powered itself off: the listeners hear of it."""
        with self._lock:
            was_running = self._running.pop(key, None) is not None
        if was_running:
            for listener in self._listeners:
                listener(key, Power.OFF)

    def close(self, *, stop_guests: bool) -> None:
        if stop_guests:
            with self._lock:
                self._running.clear()

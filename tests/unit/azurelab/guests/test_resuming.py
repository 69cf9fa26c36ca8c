"""When a guest that its disks stopped is continued."""

from __future__ import annotations

from typing import Any

from azurelab.guests.qmp import QmpClosed, QmpError
from azurelab.guests.resuming import AGAIN_S, Resumption


class _Machine:
    """QEMU as far as it matters: a status, whether its disks answer, what it was told."""

    def __init__(self, status: str = "running", *, disks: bool = True) -> None:
        self.status, self.disks, self.gone = status, disks, False
        self.now = 100.0
        self.told: list[str] = []
        self.resumption = Resumption(self.execute, lambda: self.now)

    def execute(self, command: str) -> Any:
        if self.gone:
            raise QmpClosed(command)
        self.told.append(command)
        if command == "query-status":
            return {"status": self.status}
        if self.status == "postmigrate":
            raise QmpError(command, {"desc": "no"})
        self.status = "running" if self.disks else "io-error"
        return {}

    def step_after(self, seconds: float) -> bool:
        self.now += seconds
        return self.resumption.step()


def test_a_guest_that_was_found_again_is_looked_at_once() -> None:
    machine = _Machine()

    assert [machine.step_after(s) for s in (0, 1, 1000)] == [False, False, False]
    assert machine.told == ["query-status"]


def test_a_guest_that_stopped_while_nobody_listened_goes_on() -> None:
    machine = _Machine("io-error")

    assert machine.step_after(0)
    assert machine.status == "running"


def test_a_guest_whose_disks_stay_away_is_tried_again_until_they_are_back() -> None:
    machine = _Machine("io-error", disks=False)

    machine.step_after(0)
    soon = len(machine.told)
    machine.step_after(AGAIN_S / 2)
    assert len(machine.told) == soon
    machine.step_after(AGAIN_S)
    machine.disks = True
    machine.step_after(AGAIN_S)

    assert machine.status == "running"
    assert machine.told.count("cont") == 3


def test_trouble_is_looked_into_after_a_while() -> None:
    machine = _Machine()
    machine.step_after(0)

    machine.status = "io-error"
    machine.resumption.trouble()

    assert [machine.step_after(s) for s in (0, AGAIN_S)] == [False, True]


def test_a_guest_that_somebody_paused_stays_paused_and_one_that_is_off_is_left_alone() -> None:
    paused, off = _Machine("paused"), _Machine("io-error")
    off.gone = True

    assert (paused.step_after(0), off.step_after(0)) == (False, False)
    assert paused.told == ["query-status"]

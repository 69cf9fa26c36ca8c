from __future__ import annotations

from dataclasses import replace

import pytest

from azurelab.guests.behaviour import Behaviour
from azurelab.guests.hypervisor import Agent, BootFailed, GuestSpec, Hypervisor, Power
from azurelab.guests.none import NoGuests

SPEC = GuestSpec("/vm/1", "v", "h", (), ())


class World:
    def __init__(self) -> None:
        self.behaviour = Behaviour()
        self.now_s = 1000.0
        self.guests = NoGuests(lambda key: self.behaviour, lambda: self.now_s)


def test_it_is_a_hypervisor() -> None:
    hypervisor: Hypervisor = NoGuests()
    hypervisor.close(stop_guests=True)


def test_power_follows_start_and_stop_and_repeats_change_nothing() -> None:
    guests = NoGuests()
    assert (guests.power("/vm/1"), guests.agent("/vm/1")) == (Power.OFF, Agent.ABSENT)
    for _ in range(2):
        guests.start(SPEC)
        assert (guests.power("/vm/1"), guests.agent("/vm/1")) == (Power.RUNNING, Agent.READY)
    for _ in range(2):
        guests.stop("/vm/1", graceful=True)
        assert guests.power("/vm/1") is Power.OFF


def test_a_machine_told_to_fail_does_not_boot_until_told_otherwise() -> None:
    world = World()
    world.behaviour = Behaviour(fails_to_boot=True)
    with pytest.raises(BootFailed):
        world.guests.start(SPEC)
    assert world.guests.power("/vm/1") is Power.OFF

    world.behaviour = Behaviour()
    world.guests.start(SPEC)
    world.behaviour = Behaviour(fails_to_boot=True)
    with pytest.raises(BootFailed):
        world.guests.restart("/vm/1")
    assert world.guests.power("/vm/1") is Power.OFF


def test_readiness_comes_when_told() -> None:
    world = World()
    world.guests.start(SPEC)
    world.behaviour = Behaviour(never_ready=True)
    assert world.guests.agent("/vm/1") is Agent.NOT_READY
    world.behaviour = Behaviour(no_agent=True)
    assert world.guests.agent("/vm/1") is Agent.ABSENT
    world.behaviour = Behaviour(ready_after_s=30)
    assert world.guests.agent("/vm/1") is Agent.NOT_READY
    world.now_s += 30
    assert world.guests.agent("/vm/1") is Agent.READY
    world.guests.restart("/vm/1")
    assert world.guests.agent("/vm/1") is Agent.NOT_READY


def test_after_a_restart_exactly_the_machines_that_should_run_do() -> None:
    guests = NoGuests()
    guests.start(SPEC)
    other = replace(SPEC, key="/vm/2")

    guests.adopt({"/vm/2": other})

    assert guests.power("/vm/1") is Power.OFF
    assert guests.power("/vm/2") is Power.RUNNING


def test_a_guest_that_powers_itself_off_is_told_to_the_listeners_once() -> None:
    guests = NoGuests()
    told: list[tuple[str, Power]] = []
    guests.on_power_change(lambda key, power: told.append((key, power)))
    guests.start(SPEC)

    guests.power_off_from_inside("/vm/1")
    guests.power_off_from_inside("/vm/1")
    guests.stop("/vm/1", graceful=False)

    assert told == [("/vm/1", Power.OFF)]


def test_thousands_of_machines_cost_nothing() -> None:
    guests = NoGuests()
    for number in range(5000):
        guests.start(replace(SPEC, key=f"/vm/{number}"))
    assert all(guests.power(f"/vm/{number}") is Power.RUNNING for number in range(5000))
    guests.close(stop_guests=True)
    assert guests.power("/vm/1") is Power.OFF

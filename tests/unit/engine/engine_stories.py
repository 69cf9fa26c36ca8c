"""A small world and the stories that the engine's suite runs on it."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

from holdfast.core.errors import HoldfastError, Retry
from holdfast.core.ids import NodeId, OperationId
from holdfast.engine import Call, NextChoice, NotYet, Operation, Registry, Role, State, operation


class Broken(HoldfastError):
    """It cannot be done."""

    code = "test.broken"
    text = "{what} is broken."
    remedy = "Mend it."


class Flaky(HoldfastError):
    """It may work the next time."""

    code, retry = "test.flaky", Retry.NOW
    text = "{what} hiccuped."
    remedy = "Again."


class NoRoom(NextChoice, HoldfastError):
    """This choice is full."""

    code, retry = "test.no_room", Retry.LATER
    text = "No room in {market}."
    remedy = "Another."


@dataclass
class World:
    """Things that exist, every effect counted, and what should go wrong. Shared by threads."""

    things: set[str] = field(default_factory=set)
    power: str = "on"
    effects: list[str] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    flaky: Counter[str] = field(default_factory=Counter)
    full: set[str] = field(default_factory=set)
    ready_after: int = 0
    looks: int = 0
    gates: dict[str, threading.Event] = field(default_factory=dict)
    reached: dict[str, threading.Event] = field(default_factory=dict)
    states: list[tuple[str | None, str]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)

    def touch(self, call: Call[World], what: str) -> None:
        call.check()
        self.keys.append(call.key)
        if what in self.reached:
            self.reached[what].set()
        if what in self.gates:
            while not self.gates[what].wait(0.01):
                call.check()
        if self.flaky[what] > 0:
            self.flaky[what] -= 1
            raise Flaky(what=what)
        if what in self.broken:
            raise Broken(what=what)
        self.effects.append(what)


@dataclass(frozen=True)
class Spec:
    machine: str
    markets: tuple[str, ...] = ("spot",)


@dataclass(frozen=True)
class Disk:
    name: str
    size_bytes: int


def stop_original(call: Call[World], spec: Spec) -> None:
    """Stop the original."""
    call.services.touch(call, "stop")
    call.services.power = "off"


def restore_power(call: Call[World], spec: Spec) -> None:
    """Start the original again."""
    call.services.touch(call, "start")
    if any(thing.startswith("machine") for thing in call.services.things):
        raise Broken(what="a successor runs and restore_power")
    call.services.power = "on"


def make_disks(call: Call[World], spec: Spec) -> tuple[Disk, ...]:
    """Make the disks."""
    for number in range(2):
        call.services.touch(call, f"disk-{number}")
        call.services.things.add(f"disk-{number}")
    return (Disk("disk-0", 10), Disk("disk-1", 20))


def delete_disks(call: Call[World], spec: Spec, result: tuple[Disk, ...] | None = None) -> None:
    """Delete the disks."""
    for name in [disk.name for disk in result] if result else ["disk-0", "disk-1"]:
        call.services.touch(call, f"delete {name}")
        call.services.things.discard(name)


def launch(call: Call[World], market: str, spec: Spec, disks: tuple[Disk, ...]) -> str:
    """Launch the machine."""
    call.services.touch(call, f"launch {market}")
    call.services.things.add(f"machine-{market}")
    if market in call.services.full:
        raise NoRoom(market=market)
    return f"machine-{market}"


def dissolve(call: Call[World], market: str, spec: Spec, disks: tuple[Disk, ...]) -> None:
    """Dissolve the machine."""
    call.services.touch(call, f"dissolve {market}")
    call.services.things.discard(f"machine-{market}")


def see_ready(call: Call[World], machine: str) -> int:
    """See the machine ready."""
    call.services.looks += 1
    if call.services.looks <= call.services.ready_after:
        raise NotYet(f"{machine} boots")
    return call.services.looks


def hand_over(call: Call[World], spec: Spec, machine: str) -> NodeId:
    """Hand over to the node."""
    if "hand over" in call.services.broken:
        raise Broken(what="hand over")
    call.write(lambda session: add_node(session, call.operation, machine))
    return NodeId(f"ssn-{machine}")


def match_power(call: Call[World], node: NodeId) -> None:
    """Match the power of before."""
    call.services.touch(call, "match")


def add_node(session: Session, operation: OperationId, machine: str) -> None:
    session.execute(text("insert into test_nodes (operation, machine) values (:o, :m)"), {"o": operation, "m": machine})


def keep_state(
    session: Session, operation: OperationId, old: State | None, new: State, error: dict[str, Any] | None
) -> None:
    session.execute(
        text("insert into test_states (operation, old, new) values (:o, :a, :b)"),
        {"o": operation, "a": old and old.value, "b": new.value},
    )


@operation("take", spec=Spec, role=Role.OPERATOR, subject=lambda spec: spec.machine, on_state=keep_state)
def take(op: Operation, spec: Spec) -> NodeId:
    """Take a machine over."""
    op.do(stop_original, spec, undo=restore_power)
    disks = op.do(make_disks, spec, undo=delete_disks)
    op.note("disks are made", count=len(disks))
    machine = op.first_of(spec.markets, launch, spec, disks, undo=dissolve)
    op.wait(see_ready, machine, every_s=15, timeout_s=120)
    node = op.pivot(hand_over, spec, machine)
    op.do(match_power, node)
    return node


def mark(call: Call[World], spec: Spec) -> str:
    """Leave a mark."""
    call.check()
    call.services.things.add(spec.machine)
    return spec.machine


def wipe(call: Call[World], spec: Spec) -> None:
    """Wipe the mark."""
    call.services.things.discard(spec.machine)


@operation("brief", spec=Spec, subject=lambda spec: spec.machine, urgent=True)
def brief(op: Operation, spec: Spec) -> NodeId:
    """Leave a mark for good."""
    machine = op.do(mark, spec, undo=wipe)
    return op.pivot(hand_over, spec, machine)


REGISTRY = Registry([take, brief])

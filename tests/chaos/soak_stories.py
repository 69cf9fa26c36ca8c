"""What the soak's workers run: an adoption that looks like an import, and the clean-up of its originals 96 h later."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from soak_cloud import CloudClient, CloudRefused, NoCapacity
from sqlalchemy import text
from sqlalchemy.orm import Session

from holdfast.core.errors import Refused
from holdfast.core.ids import OperationId
from holdfast.engine import Call, NotYet, Operation, OperationView, Registry, State, Watch, operation

RETENTION = timedelta(hours=96)


@dataclass(frozen=True)
class Adoption:
    """fails: the node does not pass its proof. markets: tried in order; those that begin with `full` are sold out."""

    name: str
    fails: bool
    markets: tuple[str, ...]


@dataclass(frozen=True)
class Cleaning:
    name: str


Soak = Call[CloudClient]


def describe_original(call: Soak, spec: Adoption) -> bool:
    """Describe the original."""
    return call.services.running(f"{spec.name}/original")


def tag_original(call: Soak, spec: Adoption) -> None:
    """Tag the original."""
    call.services.tag(call, f"{spec.name}/original", call.operation)


def untag_original(call: Soak, spec: Adoption) -> None:
    """Take the tag away."""
    call.services.tag(call, f"{spec.name}/original", "")


def stop_original(call: Soak, spec: Adoption) -> None:
    """Stop the original."""
    call.services.power(call, f"{spec.name}/original", False)


def restore_power(call: Soak, spec: Adoption) -> None:
    """Start the original again, never beside a node."""
    require_no_node(call, spec.name)
    call.services.power(call, f"{spec.name}/original", True)


def require_no_node(call: Soak, name: str) -> None:
    if found := call.services.parts(f"{name}/node"):
        raise CloudRefused(what=f"{sorted(found)} exists")


def take_snapshot(call: Soak, spec: Adoption) -> str:
    """Take the snapshot."""
    call.services.put(call, f"{spec.name}/snapshot")
    return f"{spec.name}/snapshot"


def delete_snapshot(call: Soak, spec: Adoption) -> None:
    """Delete the snapshot."""
    call.services.delete(call, f"{spec.name}/snapshot")


def make_disk(call: Soak, spec: Adoption, snapshot: str) -> str:
    """Make the disk."""
    call.services.put(call, f"{spec.name}/disk")
    return f"{spec.name}/disk"


def delete_disk(call: Soak, spec: Adoption, snapshot: str) -> None:
    """Delete the disk."""
    call.services.delete(call, f"{spec.name}/disk")


def launch(call: Soak, market: str, spec: Adoption, disk: str) -> str:
    """Launch the node."""
    name = f"{spec.name}/node-{market}"
    call.services.put(call, name, "on")
    if market.startswith("full"):
        raise NoCapacity(market=market)
    return name


def dissolve(call: Soak, market: str, spec: Adoption, disk: str) -> None:
    """Dissolve the node."""
    call.services.delete(call, f"{spec.name}/node-{market}")


def see_boot(call: Soak, spec: Adoption, node: str) -> bool:
    """See the node boot."""
    with call.read() as session:
        looks = session.scalar(
            text("select attempt from operation_steps where operation=:o and key='see_boot'"), {"o": call.operation}
        )
    if (looks or 0) < 2:
        raise NotYet("it boots")
    return call.services.running(node)


def prove(call: Soak, spec: Adoption, node: str) -> None:
    """Prove the node."""
    if spec.fails:
        raise CloudRefused(what=f"{node} does not answer")


def hand_over(call: Soak, spec: Adoption) -> None:
    """Hand over: the state and the timer of the originals together."""
    due = call.clock.now() + RETENTION
    call.write(lambda session: set_state(session, spec.name, "IMPORTED"))
    call.write(
        lambda session: call.engine.timers.arm(
            session, f"clean {spec.name}", due, "clean", Cleaning(spec.name), spec.name, deletes=True
        )
    )


def count_effect(call: Soak, spec: Adoption) -> None:
    """Count the import: a database effect that must happen once."""
    call.write(
        lambda session: session.execute(
            text("update soak set counted = counted + 1 where name = :name"), {"name": spec.name}
        )
    )


def keep_state(
    session: Session, operation: OperationId, old: State | None, new: State, error: dict[str, Any] | None
) -> None:
    if new in (State.FAILED, State.CANCELLED, State.STUCK):
        session.execute(
            text("update soak set state = :state where operation = :operation and state <> 'IMPORTED'"),
            {"state": new.value.upper(), "operation": operation},
        )


def set_state(session: Session, name: str, state: str) -> None:
    session.execute(text("update soak set state = :state where name = :name"), {"state": state, "name": name})


@operation("adopt", spec=Adoption, subject=lambda spec: spec.name, on_state=keep_state)
def adopt(op: Operation, spec: Adoption) -> str:
    """Adopt a machine."""
    op.do(describe_original, spec)
    op.do(tag_original, spec, undo=untag_original)
    op.do(stop_original, spec, undo=restore_power)
    snapshot = op.do(take_snapshot, spec, undo=delete_snapshot)
    disk = op.do(make_disk, spec, snapshot, undo=delete_disk)
    node = op.first_of(spec.markets, launch, spec, disk, undo=dissolve)
    op.wait(see_boot, spec, node, every_s=0.5, timeout_s=600)
    op.do(prove, spec, node)
    op.pivot(hand_over, spec)
    op.do(count_effect, spec)
    return node


def claim_cleaning(call: Soak, spec: Cleaning) -> None:
    """Claim the right to delete: nobody may keep the originals from here on."""

    def claim(session: Session) -> None:
        statement = text("update soak set state='CLEANING' where name=:name and state='IMPORTED' returning name")
        if session.execute(statement, {"name": spec.name}).first() is None:
            raise Refused(problem=f"{spec.name} is not to be cleaned", way_out="Nothing is to be done.")

    call.write(claim)


def prove_again(call: Soak, spec: Cleaning) -> None:
    """Prove the node once more."""
    if not any(call.services.parts(f"{spec.name}/node").values()):
        raise CloudRefused(what="the node does not run")


def delete_original(call: Soak, spec: Cleaning) -> None:
    """Delete the original."""
    call.services.delete(call, f"{spec.name}/original")


def delete_its_snapshot(call: Soak, spec: Cleaning) -> None:
    """Delete the snapshot of the original."""
    call.services.delete(call, f"{spec.name}/snapshot")


def close_cleaning(call: Soak, spec: Cleaning) -> None:
    """Say that it is clean."""
    call.write(lambda session: set_state(session, spec.name, "CLEANED"))


@operation("clean", spec=Cleaning, subject=lambda spec: spec.name)
def clean(op: Operation, spec: Cleaning) -> None:
    """Clean up after an adoption."""
    op.do(prove_again, spec)
    op.pivot(claim_cleaning, spec)
    op.do(delete_its_snapshot, spec)
    op.do(delete_original, spec)
    op.do(close_cleaning, spec)


def look_again(call: Soak, view: OperationView) -> None:
    """Requests of dead or frozen workers may land after the operation was undone: mend what its end does not keep."""
    if view.state not in (State.FAILED, State.CANCELLED):
        return
    name = view.spec["name"]
    found = call.services.parts(f"{name}/")
    for part in sorted(set(found) - {f"{name}/original"}):
        call.services.delete(call, part)
    if not found.get(f"{name}/original"):
        require_no_node(call, name)
        call.services.power(call, f"{name}/original", True)


REGISTRY = Registry([adopt, clean], watches=[Watch("adopt", look_again, for_s=3600.0, every_s=2.0)])

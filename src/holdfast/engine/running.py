"""The body of every segment: claim, tell the story, and end in a state that the record explains. Never raises."""

from __future__ import annotations

import logging
from enum import StrEnum
from typing import TYPE_CHECKING

from holdfast.core.errors import HoldfastError
from holdfast.core.ids import OperationId
from holdfast.engine.attempting import CompensationFailed, as_error, compensate
from holdfast.engine.errors import Cancelled, Draining, LeaseLost, OperationCancelled, SegmentEnded
from holdfast.engine.operation import Operation, finish
from holdfast.engine.record import Record, claim
from holdfast.engine.states import State

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

__all__ = ["Outcome", "run"]

log = logging.getLogger("holdfast.engine")


class Outcome(StrEnum):
    """How a segment ended. For the scheduler's own log; the record is what counts."""

    STALE = "stale"  # that generation was not ours to run
    CLOSED = "closed"
    WAITING = "waiting"
    STUCK = "stuck"
    RELEASED = "released"
    LOST = "lost"  # somebody else owns it
    DROPPED = "dropped"  # our database did not answer; the tick finds it


def run(engine: Engine, operation: OperationId, generation: int) -> Outcome:
    """Run one segment of one generation."""
    engine.worker.enter(operation, generation)  # before the claim: the tick gives back what is owned but not running
    try:
        record = claim(engine, operation, generation)
        if record is None:
            return Outcome.STALE
        return _tell(record)
    except LeaseLost:
        return Outcome.LOST
    except Exception:
        log.exception("operation %s was dropped and will be taken up again", operation)
        return Outcome.DROPPED
    finally:
        engine.worker.leave(operation, generation)


def _tell(record: Record) -> Outcome:
    try:
        if record.state is not State.UNWINDING:
            why = _forward(record)
            if why is None:
                return Outcome.CLOSED
            if record.pivoted:
                return Outcome.STUCK if record.release_failed(why) else Outcome.WAITING
            if getattr(why, "holds", False):
                # A person has to choose between going on (retry) and going back (cancel): neither is ours to pick.
                record.give_up(why)
                return Outcome.STUCK
            record.begin_unwinding(why)
        for row in record.to_undo():
            compensate(record, row)
        record.close_undone()
    except CompensationFailed as error:
        record.give_up(error)
        log.error("operation %s is stuck: %s", record.id, error.message)
        return Outcome.STUCK
    except SegmentEnded:
        return Outcome.WAITING
    except Draining:
        record.release()
        return Outcome.RELEASED
    return Outcome.CLOSED


def _forward(record: Record) -> HoldfastError | None:
    """Tell the story to its end. Returns why it did not get there. Waits, drains and lost leases leave as they are."""
    operation = Operation(record)
    try:
        spec = record.kind.decode_spec(record.spec)
        finish(operation, record.kind.story(operation, spec))
    except CompensationFailed:
        raise
    except Cancelled:
        return OperationCancelled()
    except Exception as exc:  # noqa: BLE001 - whatever a story raises, its operation unwinds with that reason
        return as_error(exc)
    return None

"""The life of an operation as a pure function: every pair of state and event, the illegal ones included."""

from __future__ import annotations

from enum import StrEnum

from holdfast.core.errors import HoldfastError, Retry

__all__ = ["CLOSED", "OPEN", "Event", "IllegalTransition", "State", "next_state"]


class State(StrEnum):
    """What users see. A released operation keeps its state: `running` without an owner is taken up again."""

    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"  # a row with a wake time; no thread
    UNWINDING = "unwinding"  # compensations run, last first
    STUCK = "stuck"  # a person must act; `retry` goes on
    DONE = "done"
    FAILED = "failed"  # undone after an error
    CANCELLED = "cancelled"  # undone on request


class Event(StrEnum):
    CLAIMED = "claimed"
    WAITS = "waits"
    FAILS = "fails"  # unwinding begins
    GIVES_UP = "gives up"
    RETRIED = "retried"
    RETRIED_BACK = "retried back"  # a stuck unwind starts again from the first compensation
    FINISHED = "finished"
    UNDONE = "undone"
    UNDONE_CANCELLED = "undone, cancelled"


CLOSED = frozenset({State.DONE, State.FAILED, State.CANCELLED})
OPEN = frozenset(State) - CLOSED

_NEXT: dict[tuple[State, Event], State] = {
    (State.QUEUED, Event.CLAIMED): State.RUNNING,
    (State.RUNNING, Event.CLAIMED): State.RUNNING,  # after a take-over
    (State.WAITING, Event.CLAIMED): State.RUNNING,
    (State.UNWINDING, Event.CLAIMED): State.UNWINDING,
    (State.RUNNING, Event.WAITS): State.WAITING,
    (State.RUNNING, Event.FAILS): State.UNWINDING,
    (State.RUNNING, Event.GIVES_UP): State.STUCK,
    (State.UNWINDING, Event.GIVES_UP): State.STUCK,
    (State.STUCK, Event.RETRIED): State.QUEUED,
    (State.STUCK, Event.RETRIED_BACK): State.UNWINDING,
    (State.RUNNING, Event.FINISHED): State.DONE,
    (State.UNWINDING, Event.UNDONE): State.FAILED,
    (State.UNWINDING, Event.UNDONE_CANCELLED): State.CANCELLED,
}


class IllegalTransition(HoldfastError):
    """A lifecycle event came in a state that does not know it."""

    code, retry = "operation.illegal_transition", Retry.NEVER
    text = "An operation that is {state} cannot take the event '{event}'."
    remedy = "This is a defect in Holdfast: report the text."


def next_state(state: State, event: Event) -> State:
    """Raises IllegalTransition."""
    try:
        return _NEXT[state, event]
    except KeyError:
        raise IllegalTransition(state=state.value, event=event.value) from None

"""The states of a node as a pure function: every pair of state and event, the illegal ones included."""

from __future__ import annotations

from enum import StrEnum

from holdfast.core.errors import HoldfastError, Retry

__all__ = ["NodeEvent", "NodeState", "next_node_state"]


class NodeState(StrEnum):
    """The words that Spot's clients see (spot-stateful-node-api.md 6.1), kept stable."""

    IMPORTING = "importing"
    ACTIVE = "active"
    STOPPED = "stopped"
    ERROR = "error"
    DELETING = "deleting"
    DELETED = "deleted"


class NodeEvent(StrEnum):
    HANDED_OVER = "handed over"
    HANDED_OVER_OFF = "handed over, off"
    NOT_HANDED_OVER = "not handed over"
    EVICTED = "evicted"
    MACHINE_OFF = "machine off"
    MACHINE_GONE = "machine gone"
    MACHINE_RUNS = "machine runs"
    GIVEN_BACK = "given back"


_NEXT: dict[tuple[NodeState, NodeEvent], NodeState] = {
    (NodeState.IMPORTING, NodeEvent.HANDED_OVER): NodeState.ACTIVE,
    (NodeState.IMPORTING, NodeEvent.HANDED_OVER_OFF): NodeState.STOPPED,
    (NodeState.IMPORTING, NodeEvent.NOT_HANDED_OVER): NodeState.DELETED,
    (NodeState.ACTIVE, NodeEvent.EVICTED): NodeState.ERROR,
    (NodeState.ACTIVE, NodeEvent.MACHINE_OFF): NodeState.STOPPED,
    (NodeState.ACTIVE, NodeEvent.MACHINE_GONE): NodeState.ERROR,
    (NodeState.ACTIVE, NodeEvent.MACHINE_RUNS): NodeState.ACTIVE,
    (NodeState.STOPPED, NodeEvent.MACHINE_RUNS): NodeState.ACTIVE,
    (NodeState.STOPPED, NodeEvent.MACHINE_OFF): NodeState.STOPPED,
    (NodeState.STOPPED, NodeEvent.EVICTED): NodeState.STOPPED,
    (NodeState.STOPPED, NodeEvent.MACHINE_GONE): NodeState.ERROR,
    (NodeState.ERROR, NodeEvent.MACHINE_RUNS): NodeState.ACTIVE,
    (NodeState.ERROR, NodeEvent.MACHINE_OFF): NodeState.STOPPED,  # somebody had it back and switched it off
    (NodeState.ERROR, NodeEvent.EVICTED): NodeState.ERROR,
    (NodeState.ERROR, NodeEvent.MACHINE_GONE): NodeState.ERROR,
    (NodeState.ACTIVE, NodeEvent.GIVEN_BACK): NodeState.DELETED,
    (NodeState.STOPPED, NodeEvent.GIVEN_BACK): NodeState.DELETED,
    (NodeState.ERROR, NodeEvent.GIVEN_BACK): NodeState.DELETED,
}


class IllegalNodeEvent(HoldfastError):
    """An event came to a node in a state that does not know it."""

    code, retry = "node.illegal_event", Retry.NEVER
    text = "A node that is {state} cannot take the event '{event}'."
    remedy = "This is a defect in Holdfast: report the text."


def next_node_state(state: NodeState, event: NodeEvent) -> NodeState:
    """Raises IllegalNodeEvent."""
    try:
        return _NEXT[state, event]
    except KeyError:
        raise IllegalNodeEvent(state=state.value, event=event.value) from None

"""What we know of each node: its specification as the client gave it, and the machine that carries it now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Index, select
from sqlalchemy.orm import Mapped, Session, mapped_column

from holdfast.core.errors import HoldfastError, Retry
from holdfast.nodes.states import NodeEvent, NodeState, next_node_state
from holdfast.store.base import Base
from holdfast.store.types import Json, Utc

__all__ = ["NodeMissing", "NodeRow", "happened", "the_node", "the_nodes"]


class NodeMissing(HoldfastError):
    """There is no such node. The code is the one by which Spot's Terraform provider drops a resource."""

    code, retry, exit_code, http_status = "GROUP_DOESNT_EXIST", Retry.AFTER_CHANGE, 3, 404
    text = "There is no node {name}."
    remedy = "Check the id: 'holdfast node list' lists the nodes."


class NodeRow(Base):
    """One node. `spec` is echoed as it was given; defaults are not written into it."""

    __tablename__ = "nodes"
    __table_args__ = (Index(None, "state"), Index(None, "cloud"))

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    state: Mapped[str]
    cloud: Mapped[str]
    region: Mapped[str]
    resource_group: Mapped[str]
    spec: Mapped[Any] = mapped_column(Json)
    machine: Mapped[str | None]  # the id of the machine object
    machine_identity: Mapped[str | None]
    vm_name: Mapped[str | None]
    size: Mapped[str | None]
    zone: Mapped[str | None]
    spot: Mapped[bool]
    private_ip: Mapped[str | None]
    public_ip: Mapped[str | None]
    health: Mapped[str]  # HEALTHY, UNHEALTHY, UNKNOWN
    reason: Mapped[str | None]  # of the error state: EVICTED, MACHINE_GONE …
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


def the_node(session: Session, node_id: str) -> NodeRow:
    """A node that is not deleted. Raises NodeMissing."""
    row = session.get(NodeRow, node_id)
    if row is None or row.state == NodeState.DELETED.value:
        raise NodeMissing(name=node_id)
    return row


def the_nodes(
    session: Session, *, name: str | None = None, region: str | None = None, states: Sequence[NodeState] | None = None
) -> list[NodeRow]:
    """Nodes that are not deleted, oldest first; `states` overrides which."""
    query = select(NodeRow).order_by(NodeRow.created_at, NodeRow.id)
    if states is None:
        query = query.where(NodeRow.state != NodeState.DELETED.value)
    else:
        query = query.where(NodeRow.state.in_([state.value for state in states]))
    if name is not None:
        query = query.where(NodeRow.name == name)
    if region is not None:
        query = query.where(NodeRow.region == region)
    return list(session.scalars(query))


def happened(row: NodeRow, event: NodeEvent, now: datetime, *, reason: str | None = None) -> bool:
    """Take the event; True if the state changed. The reason is kept while the node is in error."""
    old = NodeState(row.state)
    new = next_node_state(old, event)
    row.state = new.value
    row.reason = (reason or row.reason) if new is NodeState.ERROR else None
    if new is not old:
        row.updated_at = now
    return new is not old

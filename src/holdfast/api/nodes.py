"""/v1/nodes: stateful nodes and what carries them."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from sqlalchemy import select

from holdfast.api import shown
from holdfast.api.access import TheHouse, Viewer
from holdfast.imports.records import ImportRow
from holdfast.nodes.records import the_node, the_nodes

__all__ = ["router"]

router = APIRouter(prefix="/v1/nodes", tags=["nodes"])


@router.get("", operation_id="listNodes")
def list_nodes(
    house: TheHouse, caller: Viewer, name: str | None = None, region: str | None = None, cloud: str | None = None
) -> list[dict[str, Any]]:
    """Nodes that are not deleted, oldest first."""
    with house.database.read() as session:
        rows = the_nodes(session, name=name, region=region)
    return [shown.node(row) for row in rows if caller.sees(row.cloud) and cloud in (None, row.cloud)]


@router.get("/{node_id}", operation_id="getNode")
def get_node(node_id: str, house: TheHouse, caller: Viewer) -> dict[str, Any]:
    """One node with its specification, and the import that it came from."""
    with house.database.read() as session:
        row = the_node(session, node_id)
        came_from = session.scalar(select(ImportRow.id).where(ImportRow.node_id == node_id))
    caller.require_cloud(row.cloud)
    return {**shown.node(row), "import_id": came_from, "spec": shown.without_secrets(row.spec)}

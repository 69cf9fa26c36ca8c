"""Nodes, their status and imports in Spot's words and spellings (spot-stateful-node-api.md 3, 5.3, 5.5)."""

from __future__ import annotations

from typing import Any

from holdfast.api.shown import without_secrets
from holdfast.core.clock import format_utc
from holdfast.imports.plan import ImportPlan
from holdfast.imports.records import ImportRow
from holdfast.imports.states import ImportState, spot_word
from holdfast.nodes.records import NodeRow
from holdfast.nodes.states import NodeState

__all__ = ["import_item", "import_status_item", "node_item", "status_item"]


def node_item(row: NodeRow) -> dict[str, Any]:
    """The bare node as it was given, without what can only be written, and our read-only fields."""
    told: dict[str, Any] = without_secrets(row.spec)
    return {
        **told,
        "id": row.id,
        "createdAt": format_utc(row.created_at),
        "updatedAt": format_utc(row.updated_at),
    }


def status_item(row: NodeRow, about: ImportRow | None) -> dict[str, Any]:
    """Both spellings of lifecycle: Go and Java read the one, Python the other. What is not known is left out."""
    failed = row.state == NodeState.ERROR.value
    lifecycle = "spot" if row.spot else "od"
    told = {
        "id": row.id,
        "name": row.name,
        "region": row.region,
        "resourceGroupName": row.resource_group,
        "status": row.state,
        "vmName": row.vm_name,
        "vmSize": row.size.lower() if row.size else None,
        "zone": row.zone,
        "lifecycle": lifecycle,
        "lifeCycle": lifecycle,
        "rollbackReason": _failure(about) if about is not None and row.state == NodeState.IMPORTING.value else None,
        "errorReason": row.reason if failed else None,
        "privateIp": row.private_ip,
        "publicIp": row.public_ip,
        "vmHealthStatus": row.health,
        "createdAt": format_utc(row.created_at),
        "updatedAt": format_utc(row.updated_at),
    }
    return {key: value for key, value in told.items() if value is not None}


def import_item(row: ImportRow, node: NodeRow, plan: ImportPlan) -> dict[str, Any]:
    """The import as it was begun. Terraform reads node.id without looking whether it is there."""
    return {
        "statefulImportId": row.id,
        "originalVmName": row.vm_name,
        "resourceGroupName": row.resource_group,
        "drainingTimeout": plan.options.draining_timeout_s,
        "resourcesRetentionTime": plan.options.retention_s // 3600,
        "convertUnmanagedDisks": plan.options.convert_unmanaged_disks,
        "node": node_item(node),
    }


def import_status_item(row: ImportRow) -> dict[str, Any]:
    """`stateDescription` is what the AWS sibling of this call has; here it says what went wrong or was changed."""
    told = {
        "statefulImportId": row.id,
        "statefulNodeId": row.node_id,
        "vmName": row.vm_name,
        "state": spot_word(ImportState(row.state)),
        "stateDescription": _words(row),
    }
    return {key: value for key, value in told.items() if value is not None}


def _words(row: ImportRow) -> str | None:
    told = [*(row.warnings or []), _failure(row), row.attention]
    return " ".join(filter(None, told)) or None


def _failure(row: ImportRow) -> str | None:
    return f"{row.error['code']}: {row.error['text']}" if row.error else None

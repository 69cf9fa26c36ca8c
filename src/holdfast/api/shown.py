"""What `/v1` shows of each thing, as JSON. Keys are snake_case, times RFC 3339 in UTC, durations seconds."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Facts, Finding, Observation
from holdfast.clouds.registry import Connected
from holdfast.core.clock import format_utc
from holdfast.core.errors import HoldfastError
from holdfast.engine import EventView, OperationView, StepView
from holdfast.imports.plan import ImportPlan, plan_to_json
from holdfast.imports.records import ImportRow
from holdfast.imports.service import UndoPlan
from holdfast.machines.ledger import Entry
from holdfast.nodes.records import NodeRow
from holdfast.store.audit import AuditEntry
from holdfast.store.tokens import TokenView

__all__ = ["audit_line", "cloud", "event", "finding", "import_", "ledger_entry", "machine", "machine_facts", "node",
           "operation", "plan", "step", "time_of", "token", "undo_plan"]  # fmt: skip

SECRET_KEYS = frozenset({"protectedsettings", "password", "adminpassword", "shutdownscript", "customdata"})


def time_of(moment: datetime | None) -> str | None:
    return None if moment is None else format_utc(moment)


def without_secrets(value: Any) -> Any:
    """The same without what can only be written: it is never shown, wherever in a document it stands."""
    if isinstance(value, dict):
        return {key: without_secrets(inner) for key, inner in value.items() if key.lower() not in SECRET_KEYS}
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return value


def cloud(connected: Connected) -> dict[str, Any]:
    return {
        "name": connected.name,
        "kind": connected.kind,
        "options": {key: value for key, value in connected.options.items() if value is not None},
        "has_secret": connected.has_secret,
        "added_at": time_of(connected.added_at),
    }


def finding(found: Finding) -> dict[str, Any]:
    return {
        "code": found.code,
        "severity": found.severity.value,
        "text": found.text,
        "remedy": found.remedy,
        "about": found.about,
    }


def machine(cloud_name: str, seen: Observation) -> dict[str, Any]:
    return {
        "name": seen.name,
        "resource_group": seen.resource_group,
        "vm": f"{seen.resource_group}/{seen.name}",
        "cloud": cloud_name,
        "id": seen.ref,
        "location": seen.location,
        "zones": list(seen.zones),
        "size": seen.size,
        "priority": seen.priority.lower(),
        "power": seen.power.value,
        "os": seen.os,
        "disk_count": seen.disks,
        "private_ip": seen.private_ip,
        "public_ip": seen.public_ip,
        "tags": dict(seen.tags),
    }


def machine_facts(facts: Facts) -> dict[str, Any]:
    """What `machine` cannot know from a list call."""
    return {
        "agent": facts.agent.value,
        "generalized": facts.generalized,
        "disks": [
            {
                "role": "os" if disk.lun is None else "data",
                "lun": disk.lun,
                "name": disk.document.name if disk.document else disk.vhd_uri,
                "id": disk.document.ref if disk.document else None,
                "size_gib": disk.document.get("properties.diskSizeGB") if disk.document else None,
                "sku": disk.document.get("sku.name") if disk.document else "unmanaged",
            }
            for disk in facts.disks
        ],
        "nics": [_part(nic) for nic in facts.nics],
        "public_ips": [{**_part(ip), "address": ip.get("properties.ipAddress")} for ip in facts.public_ips],
        "extensions": [extension.name.rsplit("/", 1)[-1] for extension in facts.extensions],
        "locks": [lock.name for lock in facts.locks],
        "vm_id": facts.machine.identity,
    }


def _part(document: Document) -> dict[str, Any]:
    return {"name": document.name, "id": document.ref}


def plan(of: ImportPlan) -> dict[str, Any]:
    """The whole plan; `spec` is what `--spec` takes. Given back to `start`, it must be as it was.

    For the caller who has just sent the specification: protected settings of extensions in it are echoed.
    """
    told = plan_to_json(of)
    told["spec"] = told["node"]
    return told


def undo_plan(of: UndoPlan) -> dict[str, Any]:
    return {
        "import_id": of.import_id,
        "steps": list(of.steps),
        "kept": list(of.kept),
        "deleted": list(of.deleted),
        "lost": list(of.lost),
    }


def import_(
    row: ImportRow, now: datetime, working: OperationView | None = None, held_until: datetime | None = None
) -> dict[str, Any]:
    """One import. countdown_s: seconds until the originals may be deleted, while they are retained."""
    retained = row.retained_until if row.state in ("imported", "undoing") else None
    return {
        "id": row.id,
        "state": row.state,
        "vm": f"{row.resource_group}/{row.vm_name}",
        "vm_name": row.vm_name,
        "resource_group": row.resource_group,
        "cloud": row.cloud,
        "machine": row.machine,
        "node_id": row.node_id,
        "operation": row.operation,
        "working": row.working,
        "plan_digest": row.plan_digest,
        "successor": row.successor,
        "warnings": list(row.warnings or []),
        "error": row.error,
        "attention": row.attention,
        "created_at": time_of(row.created_at),
        "updated_at": time_of(row.updated_at),
        "imported_at": time_of(row.imported_at),
        "retained_until": time_of(retained),
        "countdown_s": None if retained is None else max(0, int((retained - now).total_seconds())),
        "held_until": time_of(held_until),
        "closed_at": time_of(row.closed_at),
        "progress": None if working is None else progress(working),
    }


def progress(of: OperationView) -> dict[str, Any]:
    return {
        "operation": of.id,
        "kind": of.kind,
        "state": of.state.value,
        "step": of.step,
        "title": of.step_title,
        "percent": of.percent,
        "message": of.message,
        "started_at": time_of(of.started_at),
        "wake_at": time_of(of.wake_at),
    }


def ledger_entry(entry: Entry) -> dict[str, Any]:
    return {
        "operation": entry.operation,
        "role": entry.role,
        "part": entry.part.value,
        "origin": entry.origin.value,
        "fate": entry.fate.value,
        "id": entry.ref,
        "identity": entry.identity,
    }


def node(row: NodeRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "name": row.name,
        "state": row.state,
        "reason": row.reason,
        "health": row.health,
        "cloud": row.cloud,
        "region": row.region,
        "resource_group": row.resource_group,
        "vm_name": row.vm_name,
        "machine": row.machine,
        "size": row.size,
        "zone": row.zone,
        "spot": row.spot,
        "private_ip": row.private_ip,
        "public_ip": row.public_ip,
        "created_at": time_of(row.created_at),
        "updated_at": time_of(row.updated_at),
    }


def operation(of: OperationView) -> dict[str, Any]:
    return {
        "id": of.id,
        "kind": of.kind,
        "state": of.state.value,
        "subject": of.subject,
        "actor": of.actor,
        "step": of.step,
        "step_title": of.step_title,
        "percent": of.percent,
        "message": of.message,
        "cancel_requested": of.cancel_requested,
        "pivoted": of.pivoted,
        "error": _error(of.error or of.unwinding_because),
        "created_at": time_of(of.created_at),
        "started_at": time_of(of.started_at),
        "updated_at": time_of(of.updated_at),
        "closed_at": time_of(of.closed_at),
        "wake_at": time_of(of.wake_at),
    }


def step(of: StepView) -> dict[str, Any]:
    return {
        "key": of.key,
        "seq": of.seq,
        "title": of.title,
        "state": of.state,
        "attempt": of.attempt,
        "undo": of.undo,
        "undone": of.undone,
        "error": _error(of.error),
        "started_at": time_of(of.started_at),
        "ended_at": time_of(of.ended_at),
    }


def event(of: EventView) -> dict[str, Any]:
    return {
        "id": of.id,
        "operation": of.operation,
        "at": time_of(of.at),
        "kind": of.kind,
        "step": of.step,
        "text": of.text,
        "percent": of.percent,
        "fields": of.fields,
    }


def token(of: TokenView) -> dict[str, Any]:
    return {
        "name": of.name,
        "role": of.role,
        "clouds": None if of.clouds is None else list(of.clouds),
        "created_at": time_of(of.created_at),
        "created_by": of.created_by,
        "revoked_at": time_of(of.revoked_at),
    }


def audit_line(of: AuditEntry) -> dict[str, Any]:
    return {
        "id": of.id,
        "at": time_of(of.at),
        "actor": of.actor,
        "action": of.action,
        "subject": of.subject,
        "operation": of.operation,
        "details": of.details,
    }


def _error(error: HoldfastError | None) -> dict[str, Any] | None:
    if error is None:
        return None
    return {
        "code": error.code,
        "text": error.message,
        "remedy": error.advice,
        "field": error.about,
        "details": error.details,
    }

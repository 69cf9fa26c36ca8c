"""What can be done with imports: the use cases that every face calls. They decide nothing that a plan decides."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from holdfast.clouds.protocols import Cloud
from holdfast.core.errors import Conflict, InvalidInput, Refused, Retry
from holdfast.core.ids import OperationId, new_import_id, new_node_id, short_hex
from holdfast.engine import Engine
from holdfast.imports.configuration import import_configuration
from holdfast.imports.gathering import gather
from holdfast.imports.importing import ImportSpec
from holdfast.imports.options import (
    RETENTION_MOST_S,
    ImportOptions,
    NetworkSource,
    Priority,
    agree_with_spec,
    checked,
)
from holdfast.imports.plan import ImportPlan, PlanStale, differences, recorded
from holdfast.imports.planning import plan_import, unwrapped
from holdfast.imports.records import ImportRow, plan_of, the_import
from holdfast.imports.retention import FinishSpec, arm_retention, disarm_retention, subject_of
from holdfast.imports.states import ImportState
from holdfast.imports.undoing import UndoSpec
from holdfast.machines.services import Services
from holdfast.market.observing.recording import prices_seen
from holdfast.nodes.records import NodeRow
from holdfast.nodes.spec import parse_node_spec
from holdfast.nodes.states import NodeState
from holdfast.store.audit import audit

__all__ = ["ImportService", "Started", "UndoPlan"]


@dataclass(frozen=True)
class Started:
    import_id: str
    node_id: str
    operation: OperationId
    plan: ImportPlan


@dataclass(frozen=True)
class UndoPlan:
    """What an undo would do, in words; shown before it is confirmed."""

    import_id: str
    steps: tuple[str, ...]
    kept: tuple[str, ...]
    deleted: tuple[str, ...]
    lost: tuple[str, ...]


class TooLate(Conflict):
    """The state of the import does not allow this any more."""

    code = "import.too_late"


class NotConfirmed(Refused):
    """It deletes something, and nobody has confirmed it."""

    code, retry = "import.not_confirmed", Retry.AFTER_CHANGE
    text = "{problem}"
    remedy = "Confirm it (--yes, or delete_originals_immediately in the API)."


class ImportService:
    """One for each server; thread-safe. Every method raises HoldfastError with code, field and remedy."""

    def __init__(self, engine: Engine, services: Services) -> None:
        self._engine = engine
        self._services = services
        self._database = services.database

    # --- planning ------------------------------------------------------------------------------------------------

    def plan(
        self,
        cloud: str,
        machine: str,
        options: ImportOptions,
        node: Mapping[str, Any] | None = None,
        *,
        given: frozenset[str] = frozenset(),
        seed: str | None = None,
    ) -> ImportPlan:
        """Describe, decide, and change nothing. `machine` is the cloud's id; given: names of the options chosen."""
        told = unwrapped(dict(node or {}))
        kept = options.network is NetworkSource.KEEP if "network" in given else None
        agreed = agree_with_spec(options, parse_node_spec(told, network_kept=kept), given)
        agreed = checked(agreed, self._services.retention_floor_s)
        inputs = gather(self._open(cloud), machine, agreed, self._services.owner, self._services.clock.now())
        prices_seen(self._database, cloud, str(inputs.facts.machine.body["location"]), inputs.prices_read)
        return plan_import(inputs, agreed, told, seed or short_hex(6))

    def configuration(self, cloud: str, machine: str) -> dict[str, Any]:
        """The node that an import with default options would make of the machine."""
        now = self._services.clock.now()
        inputs = gather(self._open(cloud), machine, ImportOptions(), self._services.owner, now)
        return import_configuration(inputs.facts, inputs.own_size)

    # --- starting ------------------------------------------------------------------------------------------------

    def start(self, plan: ImportPlan, *, actor: str, warnings: tuple[str, ...] = (), fresh: bool = False) -> Started:
        """Run exactly this plan. fresh: it was made in this call; otherwise the machine is described again first, and
        PlanStale is raised with the difference if anything material changed."""
        plan.require_startable()
        if not fresh:
            given = frozenset({"network", "priority", "draining_timeout_s"})
            now = self.plan(plan.cloud, plan.machine, plan.options, plan.given_node, given=given, seed=plan.seed)
            if now.digest != plan.digest:
                changed = differences(plan, now)
                raise PlanStale(summary=changed[0] if changed else "its digest differs", differences=changed)
            now.require_startable()
        import_id, node_id = new_import_id(), new_node_id()
        spec = ImportSpec(
            import_id=import_id,
            cloud=plan.cloud,
            machine=plan.machine,
            options=plan.options,
            node=plan.given_node,
            seed=plan.seed,
            approved_digest=plan.digest,
        )
        with self._database.write() as session:
            operation = OperationId(f"op-{short_hex(16)}")
            self._add_rows(session, plan, import_id, node_id, operation, warnings)
            self._engine.submit(session, "import", spec, subject_of(plan.cloud, plan.machine),
                                operation_id=operation, actor=actor)  # fmt: skip
            self._audit(session, actor, "import.start", import_id, operation, machine=plan.machine)
        return Started(import_id, node_id, operation, plan)

    def _add_rows(
        self,
        session: Session,
        plan: ImportPlan,
        import_id: str,
        node_id: str,
        operation: OperationId,
        warnings: tuple[str, ...],
    ) -> None:
        now = self._services.clock.now()
        session.add(
            NodeRow(
                id=node_id,
                name=str(plan.node.get("name") or plan.vm_name),
                state=NodeState.IMPORTING.value,
                cloud=plan.cloud,
                region=plan.location,
                resource_group=str(plan.node.get("resourceGroupName") or plan.resource_group),
                spec=plan.node,
                spot=plan.options.priority is Priority.SPOT,
                health="UNKNOWN",
                created_at=now,
                updated_at=now,
            )
        )
        session.add(
            ImportRow(
                id=import_id,
                state=ImportState.RUNNING.value,
                cloud=plan.cloud,
                machine=plan.machine.lower(),
                vm_name=plan.vm_name,
                resource_group=plan.resource_group,
                node_id=node_id,
                operation=operation,
                working=operation,
                plan=recorded(plan),
                plan_digest=plan.digest,
                unsupported=[[entry.size, list(entry.reasons)] for entry in plan.unsupported],
                warnings=list(warnings),
                created_at=now,
                updated_at=now,
            )
        )
        session.flush()

    # --- while it runs -------------------------------------------------------------------------------------------

    def cancel(self, import_id: str, *, actor: str) -> ImportRow:
        """Undo what the running import did; on a stuck undo: start the node again. Raises TooLate after the pivot."""
        row = self._row(import_id)
        if not self._engine.cancel(OperationId(row.working)):
            raise TooLate(
                problem=f"The import {import_id} is {row.state}: there is nothing left to cancel.",
                way_out="Use 'holdfast import undo' to give the machine back.",
            )
        with self._database.write() as session:
            now = self._services.clock.now()
            row = the_import(session, import_id, light=True)
            if row.state == ImportState.RUNNING.value and row.working == row.operation:
                row.state, row.updated_at = ImportState.CANCELLING.value, now
            self._audit(session, actor, "import.cancel", import_id, row.working)
        return self._row(import_id)

    def retry(self, import_id: str, *, actor: str) -> ImportRow:
        """Let a stuck import, undo or clean-up go on. Raises NotStuck."""
        row = self._row(import_id)
        self._engine.retry(OperationId(row.working))
        with self._database.write() as session:
            self._audit(session, actor, "import.retry", import_id, row.working)
        return self._row(import_id)

    # --- during the retention ------------------------------------------------------------------------------------

    def extend(self, import_id: str, by: timedelta, *, actor: str) -> ImportRow:
        """Keep the originals longer. Raises TooLate once clean-up or undo has begun."""
        if not timedelta(0) < by <= timedelta(seconds=RETENTION_MOST_S):
            most_h = RETENTION_MOST_S // 3600
            raise InvalidInput(field="by", problem=f"must be longer than nothing and at most {most_h} h")
        with self._database.write() as session:
            row = self._resting(session, import_id, "extend the retention")
            now = self._services.clock.now()
            row.retained_until = max(row.retained_until or now, now) + by
            row.updated_at = now
            arm_retention(self._engine.timers, session, row, row.retained_until)
            self._audit(session, actor, "import.extend", import_id, until=row.retained_until.isoformat())
        return self._row(import_id)

    def undo_plan(self, import_id: str, *, to_import_point: bool = False) -> UndoPlan:
        """What `undo` would do. Changes nothing."""
        with self._database.read() as session:
            row = the_import(session, import_id)
            plan = plan_of(row)
        if row.state != ImportState.IMPORTED.value:
            raise self._too_late(row, "be undone")
        return _undo_plan(import_id, plan, to_import_point)

    def undo(self, import_id: str, *, actor: str, to_import_point: bool = False) -> OperationId:
        """Give the machine back. The caller has confirmed the undo plan."""
        spec_of = UndoSpec(import_id=import_id, cloud=self._row(import_id).cloud, to_import_point=to_import_point)
        with self._database.write() as session:
            row = self._resting(session, import_id, "be undone")
            disarm_retention(self._engine.timers, session, row)
            return self._submit(session, row, "undo-import", spec_of, ImportState.UNDOING, actor)

    def finish(self, import_id: str, *, actor: str, confirmed: bool) -> OperationId:
        """Delete the originals now instead of at the end of the retention."""
        if not confirmed:
            raise NotConfirmed(problem="Finishing deletes the originals; after it the import cannot be undone.")
        spec = FinishSpec(import_id=import_id, cloud=self._row(import_id).cloud)
        with self._database.write() as session:
            row = self._resting(session, import_id, "be finished")
            disarm_retention(self._engine.timers, session, row)
            return self._submit(session, row, "finish-import", spec, ImportState.FINISHING, actor)

    def _submit(
        self, session: Session, row: ImportRow, kind: str, spec: Any, state: ImportState, actor: str
    ) -> OperationId:
        operation = OperationId(f"op-{short_hex(16)}")
        row.working, row.state, row.error, row.attention = operation, state.value, None, None
        row.updated_at = self._services.clock.now()
        session.flush()
        self._engine.submit(session, kind, spec, subject_of(row.cloud, row.machine), operation_id=operation,
                            actor=actor)  # fmt: skip
        self._audit(session, actor, f"import.{state.value}", row.id, operation)
        return operation

    def _resting(self, session: Session, import_id: str, what: str) -> ImportRow:
        """The import, if nothing works on it: compare and set under the row's lock."""
        row = session.scalar(select(ImportRow).where(ImportRow.id == import_id).with_for_update())
        if row is None:
            the_import(session, import_id)
            raise AssertionError("unreachable")
        if row.state != ImportState.IMPORTED.value:
            raise self._too_late(row, what)
        return row

    def _too_late(self, row: ImportRow, what: str) -> TooLate:
        ways = {
            ImportState.FINISHING.value: "The clean-up has begun; wait for its end.",
            ImportState.FINISHED.value: "Its originals are deleted.",
            ImportState.RUNNING.value: "Wait for its end, or cancel it.",
            ImportState.STUCK.value: "Retry or cancel it first.",
        }
        return TooLate(
            problem=f"The import {row.id} is {row.state} and cannot {what}.",
            way_out=ways.get(row.state, "Look at it with 'holdfast import show'."),
        )

    def _row(self, import_id: str) -> ImportRow:
        with self._database.read() as session:
            return the_import(session, import_id)

    def _open(self, cloud: str) -> Cloud:
        return self._services.open_cloud(cloud)

    def _audit(
        self, session: Session, actor: str, action: str, import_id: str, operation: str | None = None, **details: Any
    ) -> None:
        now: datetime = self._services.clock.now()
        audit(session, now, actor, action, subject=import_id, operation=operation, **details)


def _undo_plan(import_id: str, plan: ImportPlan, to_import_point: bool) -> UndoPlan:
    """to_import_point counts only where the node runs on the original's own disks."""
    name, successor = plan.vm_name, plan.succession.machine.name
    replaces = to_import_point and not plan.succession.disks
    steps = [f"stop the node's machine {successor}", "take snapshots of its disks, kept for 96 h"]
    if replaces:
        steps.append("make disks as they were at the import; the present ones are kept for 96 h")
    if plan.options.object_goes:
        steps += [f"delete the machine object {successor}, keep its parts", f"create {name} again from its own parts"]
    steps += [f"give {name} its former power state and prove it", "delete what the import created"]
    succession = plan.succession
    made = [document for kind in (succession.disks, succession.nics, succession.public_ips, succession.final)
            for document in kind.values()]  # fmt: skip
    made += succession.early.values()
    own = [disk.document.ref for disk in plan.facts.disks if disk.document is not None]
    return UndoPlan(
        import_id=import_id,
        steps=tuple(steps),
        kept=(plan.machine, *(() if replaces else own)),
        deleted=(*([] if plan.options.object_goes else [succession.machine.ref]), *(made_.ref for made_ in made)),
        lost=plan.lost,
    )

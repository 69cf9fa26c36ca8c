"""What is made for the successor before it exists: snapshots, disks, addresses, network cards."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import partial

from sqlalchemy.orm import Session

from holdfast.clouds.documents import Document
from holdfast.core.ids import OperationId
from holdfast.engine.timers import Timers
from holdfast.imports.options import DiskSource
from holdfast.imports.records import the_import
from holdfast.imports.retention import KEEP_STATE_FOR, arm_discard
from holdfast.imports.steps.case import Case, StepCall, ensure_made, plan_of_case, remove_made, warn
from holdfast.machines import ledger
from holdfast.machines.ledger import Fate

__all__ = ["delete_disks", "delete_network", "discard_early_snapshots", "discard_final_snapshots", "make_disks",
           "make_network", "take_early_snapshots", "take_final_snapshots"]  # fmt: skip


def take_early_snapshots(call: StepCall, case: Case) -> None:
    """Take snapshots while the original runs"""
    _make_all(call, case, "early/", plan_of_case(call, case).succession.early)


def discard_early_snapshots(call: StepCall, case: Case) -> None:
    """Delete the snapshots that were taken while the original ran"""
    _remove_all(call, case, "early/", plan_of_case(call, case).succession.early)


def take_final_snapshots(call: StepCall, case: Case) -> None:
    """Take snapshots of the stopped original"""
    _make_all(call, case, "final/", plan_of_case(call, case).succession.final)


def discard_final_snapshots(call: StepCall, case: Case) -> None:
    """Delete the snapshots of the stopped original, or keep them where a successor has written to its disks"""
    plan = plan_of_case(call, case)
    launched = any(step.key.startswith("launch_machine") for step in call.engine.steps(OperationId(case.operation)))
    if plan.options.disks is DiskSource.REATTACH and launched:
        call.write(partial(_keep_safety, timers=call.engine.timers, case=case, roles=tuple(plan.succession.final),
                           until=call.clock.now() + KEEP_STATE_FOR))  # fmt: skip
        warn(call, case, "A new machine may have written to the disks before it was given up: the safety snapshots "
                         "of them are kept for 96 h.")  # fmt: skip
    else:
        _remove_all(call, case, "final/", plan.succession.final)


def _keep_safety(session: Session, timers: Timers, case: Case, roles: tuple[str, ...], until: datetime) -> None:
    """Those that were taken are retained, with a timer that deletes them."""
    for role in roles:
        entry = ledger.entry(session, case.operation, f"final/{role}")
        fate = Fate.GONE if entry.identity is None else Fate.RETAINED
        ledger.settle(session, case.operation, [entry.role], fate, until if fate is Fate.RETAINED else None)
    arm_discard(timers, session, the_import(session, case.import_id, light=True), case.operation, until)


def make_disks(call: StepCall, case: Case) -> None:
    """Make the new machine's disks from the snapshots"""
    _make_all(call, case, "", plan_of_case(call, case).succession.disks)


def delete_disks(call: StepCall, case: Case) -> None:
    """Delete the new machine's disks"""
    _remove_all(call, case, "", plan_of_case(call, case).succession.disks)


def make_network(call: StepCall, case: Case) -> None:
    """Make the new machine's addresses and network cards"""
    succession = plan_of_case(call, case).succession
    _make_all(call, case, "", succession.public_ips)
    _make_all(call, case, "", succession.nics)


def delete_network(call: StepCall, case: Case) -> None:
    """Delete the new machine's network cards and addresses"""
    succession = plan_of_case(call, case).succession
    _remove_all(call, case, "", succession.nics)
    _remove_all(call, case, "", succession.public_ips)


def _make_all(call: StepCall, case: Case, scope: str, documents: Mapping[str, Document]) -> None:
    for index, (role, document) in enumerate(documents.items()):
        call.progress(100 * index / len(documents), document.name)
        ensure_made(call, case, scope + role, document)


def _remove_all(call: StepCall, case: Case, scope: str, documents: Mapping[str, Document]) -> None:
    for role in reversed(list(documents)):
        remove_made(call, case, scope + role)

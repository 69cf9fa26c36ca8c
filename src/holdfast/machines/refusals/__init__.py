"""Which machines cannot be taken over, a rule per file. All rules run and all findings are shown, not the first.

A rule is a pure function from a `Case` to findings; REFUSAL findings stop the plan from being started, WARNING findings
are shown. Adding a rule = one file and one line in RULES.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals import (
    already_managed,
    disk_access,
    dynamic_address,
    encryption,
    ephemeral_os,
    extensions,
    generalized,
    identity,
    locks,
    placement,
    power,
    scale_set,
    shared_disks,
    unmanaged_disks,
    windows,
)
from holdfast.machines.refusals.case import Case

__all__ = ["RULES", "Case", "findings_of"]

RULES: tuple[Callable[[Case], Iterable[Finding]], ...] = (
    already_managed.check,
    power.check,
    generalized.check,
    ephemeral_os.check,
    unmanaged_disks.check,
    shared_disks.check,
    scale_set.check,
    placement.check,
    disk_access.check,
    dynamic_address.check,
    encryption.check,
    locks.check,
    identity.check,
    extensions.check,
    windows.check,
)


def findings_of(case: Case) -> tuple[Finding, ...]:
    """Every finding of every rule, refusals first."""
    found = [finding for rule in RULES for finding in rule(case)]
    return tuple(sorted(found, key=lambda finding: finding.severity.value != "refusal"))

"""A machine that some Holdfast manages already, or that an unfinished import holds."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.core.tags import OPERATION, OWNER
from holdfast.machines.refusals.case import Case, refusal


def check(case: Case) -> Iterator[Finding]:
    tags = case.facts.machine.tags
    owner = tags.get(OWNER)
    if owner is None:
        return
    if owner == str(case.us):
        yield refusal(
            "ALREADY_MANAGED",
            f"The machine belongs to operation {tags.get(OPERATION)} of this Holdfast.",
            "Undo or finish that import first; a node's own machine needs no import.",
            case.facts.machine.ref,
        )
    else:
        yield refusal(
            "FOREIGN_OWNER",
            f"The machine is managed by another Holdfast installation or epoch ({owner}).",
            "Release it there; if that installation is gone for good, remove the tag holdfast-owner by hand.",
            case.facts.machine.ref,
        )

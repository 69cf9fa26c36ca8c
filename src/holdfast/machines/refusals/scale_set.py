"""A member of a scale set belongs to the set."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal


def check(case: Case) -> Iterator[Finding]:
    if group := case.facts.machine.get("properties.virtualMachineScaleSet.id"):
        yield refusal(
            "SCALE_SET_MEMBER",
            f"The machine is a member of the scale set {group.rsplit('/', 1)[-1]}, which would replace it.",
            "Detach it from the scale set first.",
            group,
        )

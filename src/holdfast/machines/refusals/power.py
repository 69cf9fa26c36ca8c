"""A machine must stand still: running, stopped or deallocated, and its last change succeeded."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding, Power
from holdfast.machines.refusals.case import Case, refusal, warning


def check(case: Case) -> Iterator[Finding]:
    facts = case.facts
    state = str(facts.machine.get("properties.provisioningState", "Succeeded"))
    if facts.power in (Power.CHANGING, Power.UNKNOWN) or state.lower() in ("creating", "updating", "deleting"):
        yield refusal(
            "MACHINE_CHANGING",
            f"The machine is being changed (power {facts.power.value}, provisioning {state}).",
            "Wait until it stands still and plan again.",
            facts.machine.ref,
        )
    elif state.lower() == "failed":
        yield warning(
            "LAST_CHANGE_FAILED",
            "The last change of the machine failed in Azure.",
            "Look at it in Azure first: what failed then may fail again at launch.",
            facts.machine.ref,
        )
    if facts.power is Power.STOPPED:
        yield warning(
            "STOPPED_STAYS_ALLOCATED",
            "The machine is stopped but not deallocated: Azure bills its hardware while it is retained.",
            "Deallocate it before the import if you do not need that.",
            facts.machine.ref,
        )
    if facts.machine.get("properties.additionalCapabilities.hibernationEnabled"):
        yield warning(
            "HIBERNATION_NOT_CARRIED",
            "Hibernation is enabled; memory saved by a hibernation does not travel to the new machine.",
            "Start the machine and shut it down cleanly before the import.",
            facts.machine.ref,
        )

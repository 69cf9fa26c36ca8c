"""A dynamic public address returns to Azure when its machine is deallocated (azure.md 6e)."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding, Power
from holdfast.machines.refusals.case import Case, refusal, warning

CODE = "DYNAMIC_ADDRESS"


def check(case: Case) -> Iterator[Finding]:
    if case.facts.power is not Power.RUNNING:
        return  # it has no address now that could be lost
    for address in case.facts.public_ips:
        if str(address.get("properties.publicIPAllocationMethod", "Static")).lower() != "dynamic":
            continue
        text = (
            f"The public address {address.name} is dynamic: stopping the machine gives it back to Azure, and neither "
            "the node nor an undo gets the same one again."
        )
        fix = "Make it static first, which keeps the address (az network public-ip update --allocation-method Static)"
        if CODE in case.accepted:
            yield warning(CODE, text, f"{fix}.", address.ref)
        else:
            yield refusal(CODE, text, f"{fix}, or accept with --accept {CODE}.", address.ref)

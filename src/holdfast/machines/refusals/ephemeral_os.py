"""An ephemeral OS disk lives on the host: no stop, no snapshot (azure.md 6h)."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal


def check(case: Case) -> Iterator[Finding]:
    option = case.facts.machine.get("properties.storageProfile.osDisk.diffDiskSettings.option", "")
    if str(option).lower() == "local":
        yield refusal(
            "EPHEMERAL_OS_DISK",
            "The OS disk is ephemeral: Azure can neither stop the machine nor take a snapshot of the disk.",
            "Re-create the machine with a managed OS disk first.",
            "properties.storageProfile.osDisk.diffDiskSettings",
        )

"""Windows guests: taken over by the same steps, but never run on azurelab, which has no Windows guest."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, warning


def check(case: Case) -> Iterator[Finding]:
    if str(case.facts.machine.get("properties.storageProfile.osDisk.osType", "Linux")).lower() == "windows":
        yield warning(
            "WINDOWS_UNPROVEN",
            "The guest is Windows. The import treats it like any other, but this release was proven on Linux guests.",
            "Give --probe URLs that prove your service, and keep the retention long.",
            "properties.storageProfile.osDisk.osType",
        )

"""A disk that somebody reads or writes through a signed address cannot be taken a snapshot of reliably."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal


def check(case: Case) -> Iterator[Finding]:
    for disk in case.facts.disks:
        state = str(disk.document.get("properties.diskState", "")) if disk.document else ""
        if state.lower().startswith("activesas") or state.lower() == "activeupload":
            yield refusal(
                "DISK_ACCESS_OPEN",
                f"The disk {disk.document.name if disk.document else ''} is open through a SAS ({state}).",
                "End that access (az disk revoke-access) and plan again.",
                disk.document.ref if disk.document else None,
            )

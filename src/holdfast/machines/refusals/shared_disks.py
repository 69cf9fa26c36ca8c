"""A disk that several machines may attach: others could write to it while we take it over."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal


def check(case: Case) -> Iterator[Finding]:
    for disk in case.facts.disks:
        if disk.document is not None and int(disk.document.get("properties.maxShares", 1)) > 1:
            yield refusal(
                "SHARED_DISK",
                f"The disk {disk.document.name} can be attached to several machines (maxShares > 1).",
                "Detach it, or set maxShares to 1 while the machine is deallocated.",
                disk.document.ref,
            )

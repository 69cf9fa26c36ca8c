"""Disks that are blobs in a storage account. Azure retired them on 31 March 2026."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal


def check(case: Case) -> Iterator[Finding]:
    blobs = [disk for disk in case.facts.disks if disk.document is None]
    if not blobs:
        return
    named = ", ".join("OS disk" if disk.lun is None else f"lun {disk.lun}" for disk in blobs)
    if case.convert_unmanaged:
        remedy = (
            "Convert it with 'az vm convert' while it is deallocated, then import it. The conversion cannot be undone, "
            "so Holdfast does not do it inside an import, which must give the original back exactly."
        )
    else:
        remedy = "Convert the machine to managed disks first ('az vm convert')."
    yield refusal("UNMANAGED_DISKS", f"The machine has unmanaged disks ({named}).", remedy, case.facts.machine.ref)

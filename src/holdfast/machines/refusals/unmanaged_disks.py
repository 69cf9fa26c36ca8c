"""Disks that are blobs in a storage account. Azure retired them on 31 March 2026.

Azure can make managed disks of them, which cannot be taken back: an import does it only where that was asked for.
"""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.azure.succession import blobs_of
from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal, warning


def check(case: Case) -> Iterator[Finding]:
    blobs = blobs_of(case.facts)
    if not blobs:
        return
    machine = case.facts.machine
    named = ", ".join("OS disk" if disk.lun is None else f"lun {disk.lun}" for disk in blobs)
    if not case.convert_unmanaged:
        remedy = (
            "Ask for their conversion (--convert-unmanaged-disks), which cannot be undone, or convert them first "
            "('az vm convert')."
        )
        yield refusal("UNMANAGED_DISKS", f"The machine has unmanaged disks ({named}).", remedy, machine.ref)
        return
    places = ", ".join(disk.vhd_uri or "unknown" for disk in blobs)
    yield warning(
        "UNMANAGED_DISKS_CONVERTED",
        f"Once the machine is stopped, Azure makes managed disks of its blobs ({named}) and names them. Whatever comes "
        "after, undo too, gives it back with managed disks.",
        f"Nothing to do. The blobs stay and are billed until you delete them: {places}",
        machine.ref,
    )

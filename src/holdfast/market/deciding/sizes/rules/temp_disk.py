"""Rule 9: the size has the same class of local disk."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Note, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size, TempDisk

__all__ = ["same_temp_class", "temp_disk"]

_WORDS = {
    TempDisk.NONE: "no temp disk",
    TempDisk.SCSI: "a SCSI temp disk",
    TempDisk.NVME: "NVMe temp disks only",
    TempDisk.BOTH: "a SCSI temp disk and NVMe disks",
}


def same_temp_class(own: TempDisk, other: TempDisk) -> bool:
    """NVMe disks beside a SCSI temp disk change nothing for a guest that knows the SCSI one only."""
    return other is own or (own is TempDisk.SCSI and other is TempDisk.BOTH)


@rule("size.temp_disk", "have the same class of temp disk", Kind.HARD)
def temp_disk(size: Size, asked: Question) -> Iterable[Verdict]:
    """Azure refuses to resize between with and without; delete and create is possible, but the guest's D: or /mnt goes.

    https://learn.microsoft.com/azure/virtual-machines/azure-vms-no-temp-disk
    """
    own, other = asked.traits.temp_disk, size.temp_disk
    if own is None:
        return
    if size.scsi_temp_gib is None and size.nvme_temp_gib == 0:
        yield No(
            f"the machine has {_WORDS[own]} and the cloud does not say whether {size.name} has one",
            "choose a size whose local disk is known",
        )
    elif not same_temp_class(own, other):
        text = f"the machine has {_WORDS[own]} and {size.name} has {_WORDS[other]}"
        if asked.wish.allow_other_temp_disk:
            yield Note(text)
        else:
            yield No(text, "make sure that nothing lives on the temp disk and allow another class of it")

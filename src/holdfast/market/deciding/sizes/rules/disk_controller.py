"""Rule 8: the OS disk can boot from a controller that the size has."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Note, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["disk_controller"]


@rule("size.disk_controller", "have a disk controller the OS disk boots from", Kind.HARD)
def disk_controller(size: Size, asked: Question) -> Iterable[Verdict]:
    """NVMe wants generation 2 and a driver in the initramfs; Windows is never changed from SCSI by itself.

    https://learn.microsoft.com/azure/virtual-machines/nvme-linux: data disks convert by themselves.
    """
    traits, offered = asked.traits, size.controllers
    if traits.controller in offered:
        return
    kinds = ", ".join(sorted(offered))
    if not (traits.controllers_supported & offered):
        yield No(
            f"{size.name} has only {kinds}, and the OS disk says it boots from "
            f"{', '.join(sorted(traits.controllers_supported))}",
            f"prepare the guest for {kinds} and set the OS disk's supported controller types",
        )
    elif traits.os == "windows":
        yield No(
            f"{size.name} has only {kinds}, and Windows does not change from {traits.controller} by itself",
            "convert the guest by Azure's documented procedure first, then import it again",
        )
    elif traits.generation != "V2":
        yield No(f"{size.name} has only {kinds}, which needs a generation 2 disk", "convert the OS disk to UEFI first")
    elif traits.nvme_driver is False:
        yield No(
            f"{size.name} has only {kinds}, and the guest has no nvme driver in its initramfs",
            "add the nvme driver to the initramfs and mount by UUID",
        )
    else:
        yield Note(f"disk controller changes from {traits.controller} to {kinds}: fstab must mount by UUID")

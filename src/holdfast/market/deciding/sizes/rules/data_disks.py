"""Rule 14: all data disks fit, each under its own LUN."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["data_disks"]


@rule("size.data_disks", "take the data disks under their LUNs", Kind.HARD)
def data_disks(size: Size, asked: Question) -> Iterable[Verdict]:
    """A LUN must be smaller than the size's number of data disks, so a single disk on LUN 15 asks for 16."""
    count, highest, most = asked.traits.data_disks, asked.traits.highest_lun, size.number("MaxDataDiskCount")
    if count == 0:
        return
    if most is None:
        yield No(f"the cloud does not say how many data disks {size.name} takes", "choose a size that states it")
    elif count > most:
        yield No(
            f"{count} data disks are attached and {size.name} takes {most:g}", "detach disks or choose a larger size"
        )
    elif highest >= most:
        yield No(
            f"a data disk is on LUN {highest} and {size.name} has LUNs 0 to {most - 1:g}",
            "attach that disk under a lower LUN first",
        )

"""Rule 6: the size boots the OS disk's generation."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["generation"]


@rule("size.generation", "boot the OS disk's generation", Kind.HARD)
def generation(size: Size, asked: Question) -> Iterable[Verdict]:
    """V1 disks lose all v6, DC, Arm and A100 sizes; V2 disks lose D/Ev3 without s, and Dv2."""
    own, offered = asked.traits.generation, size.words("HyperVGenerations")
    if own is None:
        return
    if offered is None:
        yield No(
            f"the OS disk is {own} and the cloud does not say which generations {size.name} boots",
            "choose a size whose generations are known",
        )
    elif own not in offered:
        yield No(
            f"the OS disk is {own} and {size.name} boots only {', '.join(sorted(offered))}",
            "convert the OS disk to UEFI (generation 2) first" if own == "V1" else "choose a size that boots V2",
        )

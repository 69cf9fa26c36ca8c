"""Rule 16: write-accelerated disks stay accelerated."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["write_accelerator"]


@rule("size.write_accelerator", "accelerate the writes of the disks that have it on", Kind.HARD)
def write_accelerator(size: Size, asked: Question) -> Iterable[Verdict]:
    """M series only; absent = 0."""
    wanted, offered = asked.traits.write_accelerator_disks, size.number("MaxWriteAcceleratorDisksAllowed") or 0
    if wanted > offered:
        yield No(
            f"{wanted} disks use the write accelerator and {size.name} allows {offered:g}",
            "turn the write accelerator off, or stay on M sizes",
        )

"""Rule 18: accelerated networking stays on."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, Note, Question, Verdict, needs_true, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["accelerated_networking"]


@rule("size.accelerated_networking", "have accelerated networking", Kind.HARD)
def accelerated_networking(size: Size, asked: Question) -> Iterable[Verdict]:
    """A kept interface with it on cannot start on a size without; it can be turned off while the machine is stopped."""
    if not asked.traits.accelerated_networking or size.flag("AcceleratedNetworkingEnabled"):
        return
    if asked.wish.allow_accelerated_networking_off:
        yield Note(f"accelerated networking is turned off for {size.name}")
    else:
        remedy = "allow accelerated networking to be turned off, or choose another size"
        yield from needs_true(size, "AcceleratedNetworkingEnabled", "an interface uses accelerated networking", remedy)

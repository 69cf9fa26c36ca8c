"""Rule 1: the size is sold as spot."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Priority, Question, Verdict, needs_true, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["spot_allowed"]


@rule("size.spot", "sold as spot", Kind.HARD)
def spot_allowed(size: Size, asked: Question) -> Iterable[Verdict]:
    """LowPriorityCapable and a spot meter in the price list; both, because B sizes say the first without the second.

    Without a price list only the first is asked; the price then shows as unknown.
    """
    if asked.priority is not Priority.SPOT:
        return
    remedy = "choose another size, or name this one as an on-demand size"
    yield from needs_true(size, "LowPriorityCapable", "spot was asked for", remedy)
    if asked.spot_priced is not None and size.name.lower() not in asked.spot_priced:
        yield No(f"the price list has no spot price for {size.name} in {size.location}", remedy)

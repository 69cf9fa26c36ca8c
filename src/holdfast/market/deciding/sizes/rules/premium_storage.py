"""Rule 12: premium disks can be attached."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, Question, Verdict, needs_true, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["premium_storage"]


@rule("size.premium_storage", "take premium disks", Kind.HARD)
def premium_storage(size: Size, asked: Question) -> Iterable[Verdict]:
    if asked.traits.premium_disks or asked.traits.ultra_or_premium_v2_disks:
        remedy = "choose a size with s in its name, or convert the disks to standard"
        yield from needs_true(size, "PremiumIO", "the machine has premium disks", remedy)

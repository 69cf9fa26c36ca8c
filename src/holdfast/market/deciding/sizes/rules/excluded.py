"""Sizes that the user excluded by name."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["excluded"]


@rule("size.excluded", "not excluded by name", Kind.USER)
def excluded(size: Size, asked: Question) -> Iterable[Verdict]:
    if size.name.lower() in asked.wish.excluded_names:
        yield No(f"{size.name} is in excludedVmSizes", "take it off that list")

"""The wish's third range: local storage, which is lost with every move."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["storage"]


@rule("size.storage", "with the local storage asked for", Kind.USER)
def storage(size: Size, asked: Question) -> Iterable[Verdict]:
    low, high, has = asked.wish.min_storage_gib, asked.wish.max_storage_gib, size.storage_gib
    if low is not None and has < low:
        yield No(f"{has:g} GiB local storage, at least {low:g} asked for", f"lower minStorage to {has:g}")
    if high is not None and has > high:
        yield No(f"{has:g} GiB local storage, at most {high:g} asked for", f"raise maxStorage to {has:g}")

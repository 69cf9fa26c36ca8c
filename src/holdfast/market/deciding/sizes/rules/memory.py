"""Rule 5: memory in the range that was asked for."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["memory"]


@rule("size.memory", "with the memory asked for", Kind.USER)
def memory(size: Size, asked: Question) -> Iterable[Verdict]:
    low, high, has = asked.wish.min_memory_gib, asked.wish.max_memory_gib, size.memory_gib
    if low is not None and has < low:
        yield No(f"{has:g} GiB memory, at least {low:g} asked for", f"lower minMemory to {has:g}")
    if high is not None and has > high:
        yield No(f"{has:g} GiB memory, at most {high:g} asked for", f"raise maxMemory to {has:g}")

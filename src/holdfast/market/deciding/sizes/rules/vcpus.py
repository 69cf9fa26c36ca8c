"""Rule 4: vCPUs in the range that was asked for."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["vcpus"]


@rule("size.vcpus", "with the vCPUs asked for", Kind.USER)
def vcpus(size: Size, asked: Question) -> Iterable[Verdict]:
    """Counts the cores that can be used: a constrained size (M8-2ms) has 2, not 8."""
    low, high = asked.wish.min_cpu, asked.wish.max_cpu
    if low is not None and size.vcpus < low:
        yield No(f"{size.vcpus} vCPUs, at least {low} asked for", f"lower minCpu to {size.vcpus}")
    if high is not None and size.vcpus > high:
        yield No(f"{size.vcpus} vCPUs, at most {high} asked for", f"raise maxCpu to {size.vcpus}")

"""Rule 22: the OS disk must be one that can be kept."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["ephemeral_os_disk"]


@rule("size.ephemeral_os_disk", "keep the OS disk", Kind.HARD)
def ephemeral_os_disk(size: Size, asked: Question) -> Iterable[Verdict]:
    """About the machine, so it refuses every size: an ephemeral OS disk is lost with the host."""
    if asked.traits.ephemeral_os_disk:
        yield No(
            f"the OS disk is ephemeral and would not follow to {size.name}",
            "rebuild the machine with a managed OS disk; an ephemeral one cannot be kept",
        )

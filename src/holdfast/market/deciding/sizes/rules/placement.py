"""Rule 27: nothing holds the machine where spot cannot go."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Note, Priority, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["placement"]


@rule("size.placement", "are free of availability set, placement group and host", Kind.HARD)
def placement(size: Size, asked: Question) -> Iterable[Verdict]:
    """About the machine, so it refuses every spot size at once; with consent the property is dropped instead."""
    if asked.priority is not Priority.SPOT:
        return
    traits = asked.traits
    held = [
        words
        for present, words in (
            (traits.availability_set, "an availability set"),
            (traits.proximity_group, "a proximity placement group"),
            (traits.dedicated_host, "a dedicated host"),
        )
        if present
    ]
    for words in held:
        if asked.wish.drop_placement:
            yield Note(f"the machine leaves {words}")
        else:
            yield No(
                f"the machine is in {words}, which spot machines such as {size.name} cannot be",
                f"agree to leave {words}, or stay on-demand",
            )

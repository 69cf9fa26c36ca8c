"""Rule 26: enough vCPUs of quota are free."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Priority, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["quota"]


@rule("size.quota", "fit into the free quota", Kind.HARD)
def quota(size: Size, asked: Question) -> Iterable[Verdict]:
    """Spot counts against one regional total of its own; on-demand against family and region. Unknown passes."""
    free, needed = asked.quota, size.vcpus
    if asked.priority is Priority.SPOT:
        limits = [("low-priority vCPUs of the region", free.spot_free)]
    else:
        limits = [
            (f"vCPUs of {size.family}", free.family_free.get(size.family.lower())),
            ("vCPUs of the region", free.regional_free),
        ]
    for name, left in limits:
        if left is not None and left < needed:
            yield No(
                f"{size.name} needs {needed} vCPUs and {left} are free of: {name}",
                "ask Azure for more quota, or delete deallocated machines, which count",
            )

"""Rule 15: the size carries what the disks were bought to deliver."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Note, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["disk_performance"]


@rule("size.disk_performance", "carry the disks' provisioned performance", Kind.SOFT)
def disk_performance(size: Size, asked: Question) -> Iterable[Verdict]:
    """A note by default: a slower size keeps all data. Refuses only where the user asks for it."""
    traits = asked.traits
    short = []
    for needed, capability, unit in (
        (traits.provisioned_iops, "UncachedDiskIOPS", "IOPS"),
        (traits.provisioned_bytes_per_s, "UncachedDiskBytesPerSecond", "bytes per second"),
    ):
        offered = size.number(capability)
        if needed and offered is not None and offered < needed:
            short.append(f"the disks are provisioned for {needed} {unit} and {size.name} carries {offered:.0f}")
    for text in short:
        if asked.wish.require_disk_performance:
            yield No(text, "choose a larger size, or lower the disks' performance tier")
        else:
            yield Note(text)
    if traits.host_caching and not size.number("CachedDiskBytes"):
        yield Note(f"{size.name} states no host cache; cached disks run uncached")

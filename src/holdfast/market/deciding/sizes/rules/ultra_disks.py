"""Rule 13: Ultra and Premium v2 disks can be attached, in the zones where the cloud says so."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, LosesZones, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["ultra_disks"]


@rule("size.ultra_disks", "take Ultra and Premium v2 disks", Kind.HARD)
def ultra_disks(size: Size, asked: Question) -> Iterable[Verdict]:
    """UltraSSDAvailable stands on the size, or in zoneDetails for single zones."""
    if not asked.traits.ultra_or_premium_v2_disks or size.flag("UltraSSDAvailable"):
        return
    able = {z for z, has in size.zone_capabilities.items() if has.get("UltraSSDAvailable", "").lower() == "true"}
    remedy = "choose a size or zone with UltraSSDAvailable, or convert the disks to premium"
    if not able:
        yield No(f"the machine has Ultra or Premium v2 disks and {size.name} takes none here", remedy)
        return
    lost = size.zones - able
    if lost:
        yield LosesZones(
            lost, f"{size.name} takes Ultra and Premium v2 disks in zone {', '.join(sorted(able))} only", remedy
        )
    if asked.traits.zone is None and not asked.wish.zones:
        yield No(f"{size.name} takes Ultra and Premium v2 disks in zones only, and the machine has no zone", remedy)

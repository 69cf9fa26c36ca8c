"""Rule 3: the size is offered where the disks are."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["reachable_zones", "zones"]


def reachable_zones(size: Size, asked: Question) -> tuple[frozenset[str], bool]:
    """The zones of this size that the machine can be started in, and whether it can be started without a zone.

    A zone-pinned disk follows within its zone only; a zone-redundant one to any zone; without zones a machine stays
    without. With consent to the snapshot path disks go to any zone that was asked for.
    """
    traits, wish = asked.traits, asked.wish
    wanted = frozenset(wish.zones)
    if wish.across_zones or traits.zone_redundant:
        if wanted:
            return size.zones & wanted, False
        if traits.zone is None:
            return frozenset(), True
        return size.zones, False
    if traits.zone is None:
        return frozenset(), not wanted
    own = frozenset({traits.zone})
    return size.zones & own & (wanted or own), False


@rule("size.zone", "offered in a zone that the disks can reach", Kind.HARD)
def zones(size: Size, asked: Question) -> Iterable[Verdict]:
    reachable, regional = reachable_zones(size, asked)
    if reachable or regional:
        return
    traits, wish = asked.traits, asked.wish
    offered = ", ".join(sorted(size.zones)) or "none"
    if traits.zone is None and not traits.zone_redundant and not wish.across_zones:
        yield No(
            f"zone {', '.join(wish.zones)} was asked for and the disks lie in no zone",
            "leave zones out, or allow the disks to be copied into a zone (snapshot path)",
        )
    else:
        wanted = ", ".join(wish.zones) or traits.zone or "any"
        where = "anywhere" if traits.zone_redundant or wish.across_zones else f"in zone {traits.zone} only"
        yield No(
            f"the disks can be used {where}, zone {wanted} was asked for, "
            f"and {size.name} is offered in zones: {offered}",
            "use zone-redundant disks, or allow the disks to be copied to another zone (snapshot path)",
        )

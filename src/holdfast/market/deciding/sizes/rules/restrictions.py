"""Rule 2: the subscription may use the size here."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, LosesZones, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["restrictions"]

_REMEDIES = {
    "QuotaId": "this kind of subscription may not use the size; use another subscription or size",
    "NotAvailableForSubscription": "ask Azure support to open the size for the subscription, or choose another",
}


@rule("size.restricted", "not restricted for this subscription", Kind.HARD)
def restrictions(size: Size, asked: Question) -> Iterable[Verdict]:
    """A location entry drops the size; a zone entry drops those zones only: without a zone it may still be deployed."""
    for entry in size.restrictions:
        remedy = _REMEDIES.get(entry.reason, "choose another size or region")
        if entry.whole_location:
            yield No(f"{size.name} is restricted in {size.location} ({entry.reason})", remedy)
        else:
            zones = ", ".join(sorted(entry.zones))
            yield LosesZones(entry.zones, f"{size.name} is restricted in zone {zones} ({entry.reason})", remedy)

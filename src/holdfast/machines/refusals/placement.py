"""Placements that a spot machine cannot have, or that cannot be given back (market.md 8, rule 27)."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal, warning

_TIES = (
    ("AVAILABILITY_SET", "availabilitySet", "an availability set"),
    ("DEDICATED_HOST", "host", "a dedicated host"),
    ("DEDICATED_HOST", "hostGroup", "a dedicated host group"),
)


def check(case: Case) -> Iterator[Finding]:
    properties = case.facts.machine.get("properties", {})
    for code, field, words in _TIES:
        if not properties.get(field):
            continue
        if case.spot:
            yield refusal(
                code,
                f"The machine is in {words}, where Azure runs no spot machines.",
                "Import it with --priority regular, or take it out first.",
                f"properties.{field}",
            )
        else:
            yield warning(
                f"{code}_LEFT",
                f"The machine is in {words}; the new machine will not be.",
                "Nothing to do if that is what you want; undo puts the original back where it was.",
                f"properties.{field}",
            )
    if (properties.get("capacityReservation") or {}).get("capacityReservationGroup"):
        yield warning(
            "CAPACITY_RESERVATION_LEFT",
            "The machine uses a capacity reservation; the new machine will not, so the slot stays paid and free.",
            "Shrink the reservation after the import.",
            "properties.capacityReservation",
        )

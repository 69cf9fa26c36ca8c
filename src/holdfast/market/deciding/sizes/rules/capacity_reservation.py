"""Rule 25: the size can use capacity reservations, where the wish is to use one."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, Priority, Question, Verdict, needs_true, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["capacity_reservation"]


@rule("size.capacity_reservation", "use capacity reservations", Kind.HARD)
def capacity_reservation(size: Size, asked: Question) -> Iterable[Verdict]:
    """Reservations serve on-demand machines only; a spot wish is not asked."""
    if asked.wish.capacity_reservation and asked.priority is Priority.ON_DEMAND:
        remedy = "do without the reservation, or choose another size"
        yield from needs_true(size, "CapacityReservationSupported", "a capacity reservation was asked for", remedy)

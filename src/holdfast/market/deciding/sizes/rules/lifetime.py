"""Rule 24: not burstable unless asked for, and not about to retire."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["lifetime"]

# Shorter, and a machine is moved onto a size that it must leave before its owner is back from holiday.
RETIRING_WITHIN = timedelta(days=30)


@rule("size.lifetime", "neither burstable nor retiring", Kind.SOFT)
def lifetime(size: Size, asked: Question) -> Iterable[Verdict]:
    if size.burstable and not asked.wish.allow_burstable and size.name.lower() not in asked.wish.named:
        yield No(
            f"{size.name} is burstable: its processor slows down without credits", "allow burstable sizes, or name it"
        )
    retires = size.retires_on
    if retires is not None and retires <= asked.today:
        yield No(f"{size.name} was retired on {retires}", "choose a current size")
    elif retires is not None and retires - asked.today < RETIRING_WITHIN:
        yield No(f"{size.name} retires on {retires}", "choose a size that stays")

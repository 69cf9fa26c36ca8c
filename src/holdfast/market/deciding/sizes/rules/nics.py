"""Rule 17: all network interfaces fit."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["nics"]


@rule("size.nics", "take the network interfaces", Kind.HARD)
def nics(size: Size, asked: Question) -> Iterable[Verdict]:
    """Every size takes one, so silence of the cloud refuses only machines with more."""
    count, most = asked.traits.nics, size.number("MaxNetworkInterfaces")
    if count > 1 and most is None:
        yield No(f"{count} interfaces and the cloud does not say how many {size.name} takes", "choose another size")
    elif most is not None and count > most:
        yield No(
            f"{count} network interfaces and {size.name} takes {most:g}", "remove an interface, or choose a larger size"
        )

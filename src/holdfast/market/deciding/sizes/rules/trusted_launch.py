"""Rule 19: Trusted Launch stays on."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Note, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["trusted_launch"]


@rule("size.trusted_launch", "keep the security type", Kind.HARD)
def trusted_launch(size: Size, asked: Question) -> Iterable[Verdict]:
    """TrustedLaunchDisabled absent = allowed. The vTPM's state travels with the OS disk, not with a plain copy."""
    traits = asked.traits
    if traits.security_type != "TrustedLaunch":
        return
    remedy = "choose a size with Trusted Launch; the security type is kept because the vTPM may hold disk keys"
    if size.flag("TrustedLaunchDisabled"):
        yield No(f"the machine uses Trusted Launch and {size.name} does not support it", remedy)
    if "V2" not in (size.words("HyperVGenerations") or ()):
        yield No(f"the machine uses Trusted Launch, which needs generation 2, and {size.name} does not boot it", remedy)
    if asked.wish.across_zones and traits.vtpm:
        yield Note("the vTPM's state must be verified after a copy by snapshot")

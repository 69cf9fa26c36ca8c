"""Rule 20: confidential disks stay on sizes of the same technology, and other disks off them."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["confidential"]


@rule("size.confidential", "fit the disk's confidentiality", Kind.HARD)
def confidential(size: Size, asked: Question) -> Iterable[Verdict]:
    """A ConfidentialVM needs a vTPM always: its disk is sealed to it. A standard machine that runs on such a size now
    may stay on its kind.
    """
    traits, offered = asked.traits, size.confidential_type
    if traits.security_type != "ConfidentialVM":
        if offered and offered != traits.confidential_type:
            yield No(
                f"{size.name} is for confidential machines ({offered}) and the OS disk is not confidential",
                "choose a size without ConfidentialComputingType",
            )
        return
    if not traits.vtpm:
        yield No(
            "a ConfidentialVM needs its vTPM, and the machine says that it is off",
            "set securityProfile.uefiSettings.vTpmEnabled to true",
        )
    if offered is None:
        yield No(f"the OS disk is confidential and {size.name} is not a confidential size", "choose a DC or EC size")
    elif traits.confidential_type and traits.confidential_type.lower() != offered.lower():
        yield No(
            f"the OS disk is sealed for {traits.confidential_type} and {size.name} is {offered}",
            f"choose a size with ConfidentialComputingType {traits.confidential_type}",
        )

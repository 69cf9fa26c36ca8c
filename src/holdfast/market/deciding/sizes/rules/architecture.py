"""Rule 7: the size has the OS disk's processor architecture."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Note, Question, Verdict, rule
from holdfast.market.deciding.sizes.size import Size, cpu_maker

__all__ = ["architecture"]


@rule("size.architecture", "have the OS disk's architecture", Kind.HARD)
def architecture(size: Size, asked: Question) -> Iterable[Verdict]:
    """Between Intel and AMD a disk boots, with differences that some software sees: that is a note."""
    traits = asked.traits
    if size.architecture.lower() != traits.architecture.lower():
        yield No(
            f"the OS disk is {traits.architecture} and {size.name} is {size.architecture}",
            "programs would have to be built anew for the other architecture; choose a size of the same one",
        )
    elif traits.own_size and cpu_maker(traits.own_size) != cpu_maker(size.name):
        yield Note(
            f"{cpu_maker(size.name)} instead of {cpu_maker(traits.own_size)}: check nested virtualisation, AVX-512, "
            "licences bound to a processor, and timing"
        )

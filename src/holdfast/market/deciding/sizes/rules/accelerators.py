"""Rule 23: as many GPUs, and RDMA where it is used."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, No, Question, Verdict, needs_true, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["accelerators"]


@rule("size.accelerators", "have the accelerators asked for", Kind.USER)
def accelerators(size: Size, asked: Question) -> Iterable[Verdict]:
    """None by default: a GPU that nobody uses costs more than the machine. Same family, because drivers differ."""
    traits = asked.traits
    wanted = traits.gpus if asked.wish.gpus is None else asked.wish.gpus
    if size.gpus != wanted:
        yield No(f"{size.gpus} GPUs, {wanted} asked for", "ask for GPUs in the wish, or choose another size")
    elif wanted and traits.gpus and _driver_family(traits.own_size) != _driver_family(size.name):
        yield No(
            f"the guest's driver is for {_driver_family(traits.own_size)} sizes and {size.name} is of another family",
            "install the other driver first, then name the size",
        )
    if traits.rdma:
        yield from needs_true(size, "RdmaEnabled", "the machine uses RDMA", "choose a size with RDMA")


def _driver_family(size_name: str) -> str:
    """NC, ND, NV: one family of drivers each."""
    return size_name.removeprefix("Standard_")[:2]

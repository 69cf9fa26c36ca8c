"""Rule 21: encryption at host stays on."""

from __future__ import annotations

from collections.abc import Iterable

from holdfast.market.deciding.sizes.judging import Kind, Question, Verdict, needs_true, rule
from holdfast.market.deciding.sizes.size import Size

__all__ = ["encryption_at_host"]


@rule("size.encryption_at_host", "encrypt at the host", Kind.HARD)
def encryption_at_host(size: Size, asked: Question) -> Iterable[Verdict]:
    if asked.traits.encryption_at_host:
        remedy = "choose a size that encrypts at the host, or turn it off on the machine"
        yield from needs_true(size, "EncryptionAtHostSupported", "the machine is encrypted at the host", remedy)

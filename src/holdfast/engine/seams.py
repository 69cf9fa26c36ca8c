"""Places where the crash harness and the soak reach into the engine. In production nothing listens."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from holdfast.core.ids import OperationId

__all__ = ["Moment", "NoSeam", "Seam"]


class Moment(StrEnum):
    BEFORE_CALL = "before the call"  # the intent is recorded, nothing was sent
    CHECK = "check"  # directly before a mutating request, and in polling loops
    BEFORE_PIVOT = "before the pivot"  # or, where a story has none, before it closes as done
    AFTER_CALL = "after the call"  # it returned or raised; neither result nor error is recorded


class Seam(Protocol):
    def at(self, moment: Moment, operation: OperationId, step: str, undoing: bool) -> None: ...


class NoSeam:
    def at(self, moment: Moment, operation: OperationId, step: str, undoing: bool) -> None:
        """Nothing happens."""

"""What a step or a compensation is given: on whose behalf it acts, and what it may still do."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy.orm import Session

from holdfast.core.clock import Clock
from holdfast.core.ids import OperationId

if TYPE_CHECKING:
    from holdfast.engine.engine import Engine

__all__ = ["Call", "Services"]

Services = TypeVar("Services")


class Call(Generic[Services]):
    """One attempt of one step.

    `key` is the idempotency key: the same for every attempt of the same step (and choice) of the same operation, other
    for its compensation. Steps may run twice, whole or in part; facts travel only through arguments and results.
    """

    def __init__(
        self,
        *,
        operation: OperationId,
        step: str,
        attempt: int,
        undoing: bool,
        engine: Engine,
        check: Callable[[], None],
        report: Callable[[float | None, str], None],
    ) -> None:
        self.operation = operation
        self.step = step
        self.attempt = attempt
        self.undoing = undoing
        self.engine = engine
        self.writes: list[Callable[[Session], Any]] = []
        self._check = check
        self._report = report

    @property
    def key(self) -> str:
        return f"{self.operation}/{self.step}" + ("/undo" if self.undoing else "")

    @property
    def clock(self) -> Clock:
        return self.engine.clock

    @property
    def services(self) -> Services:
        """What wiring gave the engine."""
        given: Services = self.engine.services
        return given

    def check(self) -> None:
        """Call directly before each mutating request, on each of its retries, and in polling loops.

        Raises Cancelled (never while unwinding or after the pivot), Draining or LeaseLost.
        """
        self._check()

    def progress(self, percent: float | None, message: str) -> None:
        """Show how far the step is: 0 to 100, or None where nobody knows. Raises LeaseLost."""
        self._report(percent, message)

    def write(self, change: Callable[[Session], Any]) -> None:
        """Have `change` run in the transaction that records this step's success; not at all if the step fails."""
        self.writes.append(change)

    def read(self) -> AbstractContextManager[Session]:
        """A session to read with. Nothing written to it is kept."""
        return self.engine.database.read()

    def sleep(self, seconds: float) -> None:
        """Wait on the clock in short slices, checking between them. For polling; long waits are `Operation.wait`."""
        left = seconds
        while left > 0:
            self.check()
            slice_s = min(left, 1.0)
            self.clock.sleep(slice_s)
            left -= slice_s

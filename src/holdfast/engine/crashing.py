"""The crash harness: a process that dies at one chosen place of a story, forward or while unwinding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from holdfast.core.ids import OperationId
from holdfast.engine.seams import Moment
from holdfast.engine.views import StepView

__all__ = ["Crash", "CrashSeam", "Crashed", "Direction", "When", "crash_points"]


class When(StrEnum):
    """Where in a step the process dies. What a crash leaves is what the next process finds.

    BEFORE_CALL: the intent is recorded, nothing was sent. ANSWER_LOST: the step's first mutating request was sent and
    has its effect, the rest was not (died at its second `call.check()`, or at its end if it checks only once).
    DONE_UNRECORDED: all effects have landed, the result is not recorded.
    """

    BEFORE_CALL = "before call"
    ANSWER_LOST = "answer lost"
    DONE_UNRECORDED = "done unrecorded"


class Direction(StrEnum):
    FORWARD = "forward"
    UNWIND = "unwind"  # the operation is cancelled right before its pivot; the crash hits the step's compensation


@dataclass(frozen=True)
class Crash:
    """Die at `step` (its key), at that point of it, on that way."""

    step: str
    when: When
    direction: Direction = Direction.FORWARD

    def __str__(self) -> str:
        return f"{self.direction}-{self.step}-{self.when}".replace(" ", "_")


class Crashed(BaseException):
    """The process is dead; nothing of it may run on."""


class CrashSeam:
    """Kills the inline engine once, at `crash`. `fired` says whether the place was reached."""

    def __init__(self, crash: Crash, cancel: Callable[[OperationId], bool]) -> None:
        self.crash = crash
        self.fired = False
        self._cancel = cancel
        self._cancelled = False
        self._checks = 0

    def at(self, moment: Moment, operation: OperationId, step: str, undoing: bool) -> None:
        if self.fired:
            return
        if moment is Moment.BEFORE_PIVOT:
            if self.crash.direction is Direction.UNWIND and not self._cancelled:
                self._cancelled = True
                self._cancel(operation)
            return
        if step != self.crash.step or undoing is not (self.crash.direction is Direction.UNWIND):
            return
        if moment is Moment.BEFORE_CALL:
            self._checks = 0
            if self.crash.when is When.BEFORE_CALL:
                self._die()
        elif moment is Moment.CHECK:
            self._checks += 1
            if self.crash.when is When.ANSWER_LOST and self._checks == 2:
                self._die()
        elif self.crash.when is not When.BEFORE_CALL:
            self._die()

    def _die(self) -> None:
        self.fired = True
        raise Crashed(str(self.crash))


def crash_points(steps: Iterable[StepView]) -> Iterator[Crash]:
    """Every place where a run of this recorded shape can die: step × when × direction.

    `steps` is the record of a clean run (`engine.steps(id)`), so a new step is covered on the day it is written.
    """
    recorded = tuple(steps)
    for step in recorded:
        for when in When:
            yield Crash(step.key, when, Direction.FORWARD)
    for step in reversed(recorded):
        if step.undo is not None:
            for when in When:
                yield Crash(step.key, when, Direction.UNWIND)

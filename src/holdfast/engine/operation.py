"""What a story is told with. Running an operation means calling its story; recorded steps return their result."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any, TypeVar, TypeVarTuple

from holdfast.core.clock import Clock
from holdfast.core.errors import HoldfastError, error_from_record
from holdfast.core.ids import OperationId
from holdfast.engine import codec
from holdfast.engine.attempting import as_error, attempt, compensate
from holdfast.engine.call import Call
from holdfast.engine.errors import NoChoiceLeft, NotRecordable, NotYet, SegmentEnded, WaitTimedOut
from holdfast.engine.record import DONE, FAILED, REFUSED, Record
from holdfast.engine.seams import Moment
from holdfast.engine.tables import StepRow

__all__ = ["Operation"]

R = TypeVar("R")
C = TypeVar("C")
Ts = TypeVarTuple("Ts")


class Operation:
    """One operation, as its story sees it.

    The story must be deterministic: no time, randomness, database or cloud outside of steps. It may branch on results
    and on errors of steps (a caught error is recorded and raised again on replay). A step's key is its function's name;
    a function used twice needs `key`. Arguments and results are JSON by the function's annotations (`codec`).
    """

    def __init__(self, record: Record) -> None:
        self._record = record
        self._engine = record.engine
        self._notes = 0

    @property
    def id(self) -> OperationId:
        return self._record.id

    @property
    def clock(self) -> Clock:
        """For messages only. A time that matters comes out of a step."""
        return self._engine.clock

    def do(
        self,
        step: Callable[[Call[Any], *Ts], R],
        *args: *Ts,
        undo: Callable[..., Any] | None = None,
        key: str | None = None,
    ) -> R:
        """Run `step(call, *args)` until it succeeds once, and return what it returned.

        The intent is recorded before, the result after. `undo(call, *args)`, which may also take the keyword `result`
        (None when the step never answered), runs if the operation unwinds, whether the step had begun, failed or
        succeeded. Errors with Retry.NOW and LATER are retried here; others raise at once.
        """
        name = self._visit(key or step.__name__)
        return self._perform(name, step, args, undo)  # type: ignore[no-any-return]

    def first_of(
        self,
        choices: Sequence[C],
        step: Callable[[Call[Any], C, *Ts], R],
        *args: *Ts,
        undo: Callable[..., Any] | None = None,
        key: str | None = None,
    ) -> R:
        """Run `step(call, choice, *args)` with one choice after the other until one is not refused.

        An error whose class says `next_choice = True` is a refusal: it is recorded, the attempt is compensated, and the
        next choice follows. Any other error raises. Raises NoChoiceLeft when all were refused.
        """
        base = key or step.__name__
        refusals: list[dict[str, Any]] = []
        for index, choice in enumerate(choices):
            name = self._visit(f"{base}#{index}")
            row = self._record.steps.get(name)
            if row is None or row.state != REFUSED:
                try:
                    return self._perform(name, step, (choice, *args), undo)  # type: ignore[no-any-return]
                except HoldfastError as error:
                    if not getattr(error, "next_choice", False):
                        raise
                row = self._record.steps[name]
            if row.undo is not None and not row.undone:
                compensate(self._record, row)
            refusals.append(row.error)
        last = refusals[-1]["text"] if refusals else "there was none"
        title = _lower_first(codec.title_of(step))
        raise NoChoiceLeft(step=title, count=len(refusals), last=last, refusals=refusals)

    def wait(
        self,
        step: Callable[[Call[Any], *Ts], R],
        *args: *Ts,
        every_s: float,
        timeout_s: float,
        undo: Callable[..., Any] | None = None,
        key: str | None = None,
    ) -> R:
        """Look with `step(call, *args)` about every `every_s` until it returns instead of raising NotYet.

        Between looks the operation is a row with a wake time; no thread is held, and a restart loses nothing. The
        deadline is fixed at the first look; one last look is taken at it. Raises WaitTimedOut.
        """
        name = self._visit(key or step.__name__)
        try:
            return self._perform(name, step, args, undo, timeout_s=timeout_s)  # type: ignore[no-any-return]
        except NotYet as reason:
            row = self._record.steps[name]
            now = self._engine.clock.now()
            deadline = row.deadline or now
            if row.state != FAILED and now < deadline:
                self._record.wait_until(row, min(now + timedelta(seconds=every_s), deadline), reason)
                raise SegmentEnded from None
            title = _lower_first(codec.title_of(step))
            error = WaitTimedOut(step=title, timeout_s=timeout_s, reason=reason.message)
            self._record.end_badly(row, FAILED, error)
            raise error from None

    def pivot(self, step: Callable[[Call[Any], *Ts], R], *args: *Ts, key: str | None = None) -> R:
        """The point of no return. `step` only collects `call.write`s; they are committed with its result exactly once.

        A cancel that was accepted before wins and the operation unwinds; after it, cancel is refused and the operation
        only goes forward.
        """
        name = self._visit(key or step.__name__)
        record = self._record
        row = record.steps.get(name)
        if row is not None and row.state == DONE:
            return codec.decode_result(step, row.result)  # type: ignore[no-any-return]
        arguments = codec.encode_arguments(step, args)
        self._engine.seam.at(Moment.BEFORE_PIVOT, self.id, name, False)
        title = codec.title_of(step)
        record.show(name, title)
        self._engine.seam.at(Moment.BEFORE_CALL, self.id, name, False)
        call = record.call(name, 1, undoing=False)
        try:
            value = step(call, *codec.decode_arguments(step, arguments))
            result = codec.encode_result(step, value)
            self._engine.seam.at(Moment.AFTER_CALL, self.id, name, False)
            record.pivot(name, title, arguments, result, call.writes)
        except Exception as exc:
            raise as_error(exc) from exc
        return codec.decode_result(step, result)  # type: ignore[no-any-return]

    def note(self, text: str, **fields: Any) -> None:
        """One line in the operation's story, written once. `fields` are JSON values and hold no secret."""
        self._record.note(self._notes, text, fields)
        self._notes += 1

    # --- inside --------------------------------------------------------------------------------------------------

    def _visit(self, name: str) -> str:
        if name in self._record.visited:
            raise NotRecordable(name=name, problem="two steps of one story have this key; give one of them `key=`")
        self._record.visited.add(name)
        return name

    def _perform(
        self,
        name: str,
        step: Callable[..., Any],
        args: tuple[Any, ...],
        undo: Callable[..., Any] | None,
        *,
        timeout_s: float | None = None,
    ) -> Any:
        row = self._record.steps.get(name)
        if row is not None and row.state == DONE:
            return codec.decode_result(step, row.result)
        if row is not None and row.state == FAILED and self._went_on_after(row):
            raise error_from_record(row.error)
        if undo is not None:
            codec.check_compensation(step, undo, len(args))
        undo_name = None if undo is None else self._engine.registry.name_of(undo)
        arguments = codec.encode_arguments(step, args)
        return attempt(self._record, name, step, arguments, undo_name, timeout_s=timeout_s)

    def _went_on_after(self, row: StepRow) -> bool:
        """True when the story caught this failure: it took later steps, so a replay must take the same branch."""
        return any(other.seq > row.seq for other in self._record.steps.values())


def finish(operation: Operation, result: Any) -> None:
    """Close as done. For the runner."""
    record = operation._record
    encoded = record.kind.encode_result(result)
    if not record.pivoted:
        record.engine.seam.at(Moment.BEFORE_PIVOT, record.id, "close", False)
    record.close_done(encoded)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]

"""Running one step or one compensation: attempts, retries by the error's own advice, records around the effect."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from holdfast.core.errors import HoldfastError, InternalError
from holdfast.engine import codec
from holdfast.engine.errors import NotYet
from holdfast.engine.record import FAILED, REFUSED, Record
from holdfast.engine.seams import Moment
from holdfast.engine.tables import StepRow

__all__ = ["CompensationFailed", "as_error", "attempt", "compensate", "is_database_trouble"]

log = logging.getLogger("holdfast.engine")


class CompensationFailed(HoldfastError):
    """A way back could not be gone. Everything is as the last record says; nothing was given up."""

    code = "operation.compensation_failed"
    text = "Could not {title}: {problem}"
    remedy = "Remove the cause, then retry the operation: it starts again from the first compensation. {cause_remedy}"


def is_database_trouble(error: BaseException) -> bool:
    """True when our own database did not answer: nothing is known then, and a later segment goes on from the record."""
    return isinstance(error, OperationalError | InterfaceError | PoolTimeout) or (
        isinstance(error, SQLAlchemyError) and bool(getattr(error, "connection_invalidated", False))
    )


def as_error(error: Exception) -> HoldfastError:
    """Any error of a step or story as one that can be recorded. Database trouble is raised again instead."""
    if is_database_trouble(error):
        raise error
    if isinstance(error, HoldfastError):
        return error
    log.error("a defect in a step", exc_info=error)
    return InternalError(problem=f"{type(error).__name__}: {error}")


def attempt(
    record: Record,
    name: str,
    step: Callable[..., Any],
    arguments: dict[str, Any],
    undo: str | None,
    *,
    timeout_s: float | None = None,
) -> Any:
    """Intent, effect, result; again while the error says that this may help. Raises the step's last error, recorded.

    NotYet leaves without a mark: whether the wait is over is for the caller to say.
    """
    seam, settings = record.engine.seam, record.engine.settings
    tries = 0
    while True:
        looked_before = timeout_s is not None and name in record.steps
        row = record.begin(name, codec.title_of(step), arguments, undo, timeout_s=timeout_s, quiet=looked_before)
        call = record.call(name, row.attempt, undoing=False)
        seam.at(Moment.BEFORE_CALL, record.id, name, False)
        tries += 1
        try:
            value = step(call, *codec.decode_arguments(step, row.arguments))
            result = codec.encode_result(step, value)
            seam.at(Moment.AFTER_CALL, record.id, name, False)
            record.finish(row, result, call.writes)
        except NotYet:
            seam.at(Moment.AFTER_CALL, record.id, name, False)
            raise
        except Exception as exc:
            error = as_error(exc)
            seam.at(Moment.AFTER_CALL, record.id, name, False)
            refused = bool(getattr(error, "next_choice", False)) and "#" in name
            pause_s = None if refused else settings.pause_before_retry(error.retry, tries)
            if pause_s is None:
                record.end_badly(row, REFUSED if refused else FAILED, error)
                if error is exc:
                    raise
                raise error from exc
            record.retry_later(row, error, pause_s)
            call.sleep(pause_s)
            continue
        return codec.decode_result(step, result)


def compensate(record: Record, row: StepRow) -> None:
    """Undo one step, with its recorded arguments. Raises CompensationFailed once its retries are used up."""
    seam, settings = record.engine.seam, record.engine.settings
    tries = 0
    while True:
        tries += 1
        try:
            compensation = record.engine.registry.resolve(row.undo or "")
            title = codec.title_of(compensation)
            arguments = codec.decode_arguments(compensation, row.arguments)
            kind = codec.accepts_result(compensation)
            known: dict[str, Any] = {}
            if kind is not None:
                result = None if row.result is None else codec.decode(kind, row.result, row.key)
                known = {"result": result}
        except HoldfastError as exc:
            raise _failed(row.undo or row.key, exc) from exc
        record.begin_undo(row, title)
        call = record.call(row.key, row.undo_attempt, undoing=True)
        seam.at(Moment.BEFORE_CALL, record.id, row.key, True)
        try:
            compensation(call, *arguments, **known)
            seam.at(Moment.AFTER_CALL, record.id, row.key, True)
            record.finish_undo(row, title, call.writes)
        except Exception as exc:
            error = as_error(exc)
            seam.at(Moment.AFTER_CALL, record.id, row.key, True)
            pause_s = settings.pause_before_retry(error.retry, tries)
            if pause_s is None:
                raise _failed(title, error) from exc
            record.retry_later(row, error, pause_s)
            call.sleep(pause_s)
            continue
        return


def _failed(title: str, error: HoldfastError) -> CompensationFailed:
    return CompensationFailed(
        title=title[:1].lower() + title[1:],
        problem=error.message,
        cause=error.code,
        cause_details=error.details,
        cause_remedy=error.advice,
    )

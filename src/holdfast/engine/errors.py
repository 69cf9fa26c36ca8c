"""What can go wrong, or must stop, while an operation runs.

Interruptions are not errors: they derive from BaseException so that no `except Exception` in a story, a step or a cloud
swallows them. Only `engine/` may catch them.
"""

from __future__ import annotations

from typing import Any, ClassVar

from holdfast.core.errors import HoldfastError, Retry

__all__ = [
    "Cancelled",
    "CrashLoop",
    "Draining",
    "Interruption",
    "LeaseLost",
    "NextChoice",
    "NoChoiceLeft",
    "NotRecordable",
    "NotYet",
    "OperationCancelled",
    "SegmentEnded",
    "StoryChanged",
    "WaitTimedOut",
]


class Interruption(BaseException):
    """Leaves the step and the story at once; the record says where to go on."""


class Cancelled(Interruption):
    """The operation was cancelled before its pivot: it unwinds. Never raised while it does."""


class Draining(Interruption):
    """This worker stops: the operation is released and goes on elsewhere or after the restart."""


class LeaseLost(Interruption):
    """This worker owns the operation no longer. Nothing more may be sent or recorded on its behalf."""


class SegmentEnded(Interruption):
    """The operation waits as a row; a later segment goes on."""


class NextChoice:
    """Mixin for errors that make `first_of` try the next choice. Errors below the engine set `next_choice` by hand."""

    next_choice: ClassVar[bool] = True


class NotYet(HoldfastError):
    """What a wait waits for has not come. Raised by a step given to `Operation.wait`; shown while it waits."""

    code, retry = "operation.not_yet", Retry.LATER
    text = "{reason}"
    remedy = "Wait; the operation looks again by itself."

    def __init__(self, reason: str, **details: Any) -> None:
        super().__init__(reason=reason, **details)


class WaitTimedOut(HoldfastError):
    """What was waited for did not come in time."""

    code, retry = "operation.wait_timed_out", Retry.AFTER_CHANGE
    text = "Waited {timeout_s} s in vain to {step}: {reason}"
    remedy = "Find out why it did not come, then start the operation again."


class NoChoiceLeft(HoldfastError):
    """Every choice was refused. `refusals` are error records in the order of the choices."""

    code, retry = "operation.no_choice_left", Retry.AFTER_CHANGE
    text = "All {count} choices to {step} were refused; the last: {last}"
    remedy = "Allow more choices, or wait until one of these is possible."


class OperationCancelled(HoldfastError):
    """The operation was cancelled on request and has been undone."""

    code, retry, exit_code, http_status = "operation.cancelled", Retry.NEVER, 1, 409
    text = "Cancelled on request."
    remedy = "Start it again if it is still wanted."


class NotRecordable(HoldfastError):
    """An argument, result or compensation has no form in the record."""

    code, retry = "internal.not_recordable", Retry.NEVER
    text = "{name} cannot be recorded: {problem}"
    remedy = "This is a defect in Holdfast: report the text."


class StoryChanged(HoldfastError):
    """The record holds steps that this release's story no longer takes in that order."""

    code, retry = "internal.story_changed", Retry.NEVER
    text = "The story takes step {step} before recorded steps {skipped}."
    remedy = "This is a defect in this release: the operation is undone. Report the text."


class CrashLoop(HoldfastError):
    """The workers that ran this operation died again and again at the same place."""

    code, retry = "operation.crash_loop", Retry.AFTER_CHANGE
    text = "Its workers died {times} times without progress in step {step}."
    remedy = "Look at the workers' logs and memory, then retry the operation."

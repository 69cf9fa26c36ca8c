"""The root of every error that Holdfast shows, and how errors survive an operation record.

An error class has a stable `code`, says which input `field` it is about, whether trying again helps, and a `remedy`.
Concrete errors live beside the code that raises them; `docs/errors.md` lists them all (a test keeps the list true).
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from typing import Any, ClassVar

__all__ = [
    "Conflict",
    "HoldfastError",
    "InternalError",
    "InvalidInput",
    "NotFound",
    "Refused",
    "Retry",
    "UnknownError",
    "all_error_classes",
    "error_from_record",
    "error_to_record",
]


class Retry(StrEnum):
    """Whether the same call may succeed when it is made again."""

    NOW = "now"  # a lost answer, a dropped connection
    LATER = "later"  # throttled, no capacity, a busy resource
    AFTER_CHANGE = "after_change"  # somebody must change the input or the cloud first
    NEVER = "never"


class HoldfastError(Exception):
    """Base of all. Subclasses set the class attributes; keyword arguments fill the braces of `text` and `remedy`.

    `details` must be JSON values and must hold no secret: they go into records, answers and logs.
    """

    code: ClassVar[str] = "internal"
    field: ClassVar[str | None] = None
    retry: ClassVar[Retry] = Retry.NEVER
    text: ClassVar[str] = "Something went wrong."
    remedy: ClassVar[str] = "Look at the server's log for this operation id."
    exit_code: ClassVar[int] = 1  # of the CLI: 1 failed, 2 usage, 3 not found, 4 refused by a rule
    http_status: ClassVar[int] = 500

    def __init__(self, **details: Any) -> None:
        self.details = details
        super().__init__(_filled(self.text, details))

    @property
    def message(self) -> str:
        return _filled(self.text, self.details)

    @property
    def advice(self) -> str:
        return _filled(self.remedy, self.details)

    @property
    def about(self) -> str | None:
        """The input field that this error is about; a detail named `field` is more exact than the class."""
        return self.details.get("field") or self.field

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.details))

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.details == other.details

    def __hash__(self) -> int:
        return hash((self.code, str(sorted(self.details.items(), key=str))))


class InvalidInput(HoldfastError):
    """What was given does not have the right form."""

    code, retry, exit_code, http_status = "input.invalid", Retry.AFTER_CHANGE, 2, 400
    text = "{field}: {problem}"
    remedy = "Correct {field} and try again."


class NotFound(HoldfastError):
    """Nothing goes by that name."""

    code, retry, exit_code, http_status = "not_found", Retry.AFTER_CHANGE, 3, 404
    text = "There is no {kind} {name}."
    remedy = "List what exists and check the name."

    @property
    def advice(self) -> str:
        """A detail `listed_by` is the command that lists what exists."""
        command = self.details.get("listed_by")
        return f"Check the name: '{command}' lists what exists." if command else super().advice


class Refused(HoldfastError):
    """A rule forbids it; nothing was changed."""

    code, retry, exit_code, http_status = "refused", Retry.AFTER_CHANGE, 4, 409
    text = "{problem}"
    remedy = "{way_out}"


class Conflict(HoldfastError):
    """Somebody else is at it, or its state does not allow this now."""

    code, retry, exit_code, http_status = "conflict", Retry.LATER, 4, 409
    text = "{problem}"
    remedy = "{way_out}"


class InternalError(HoldfastError):
    """A defect of ours. The text is the exception's type and words."""

    code = "internal.defect"
    text = "{problem}"
    remedy = "This is a defect in Holdfast. Nothing more was changed; retry the operation, and report the text."


class UnknownError(HoldfastError):
    """An error record written by another release: shown as it was, never a reason to stop recovery."""

    code = "unknown"
    text = "{text}"
    remedy = "{remedy}"


def all_error_classes() -> Iterator[type[HoldfastError]]:
    """Every error class that has been imported, the base included."""
    queue: list[type[HoldfastError]] = [HoldfastError]
    while queue:
        cls = queue.pop()
        yield cls
        queue.extend(cls.__subclasses__())


def error_to_record(error: BaseException) -> dict[str, Any]:
    """JSON for the operation record: code, details, and the words as they were."""
    if not isinstance(error, HoldfastError):
        error = InternalError(problem=f"{type(error).__name__}: {error}")
    return {
        "code": error.code,
        "details": error.details,
        "text": error.message,
        "remedy": error.advice,
        "field": error.about,
    }


def error_from_record(record: dict[str, Any]) -> HoldfastError:
    """The inverse. A code that this release does not know becomes UnknownError."""
    for cls in all_error_classes():
        if cls.code == record["code"]:
            return cls(**record["details"])
    return UnknownError(
        **{**record["details"], "original_code": record["code"], "text": record["text"], "remedy": record["remedy"]}
    )


def _rebuild(cls: type[HoldfastError], details: dict[str, Any]) -> HoldfastError:
    return cls(**details)


class _Visible(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "{" + key + "}"


def _filled(template: str, details: dict[str, Any]) -> str:
    return template.format_map(_Visible(details))

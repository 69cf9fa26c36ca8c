"""Conditional headers of the storage service. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime

from azurelab.disks.blob.errors import BlobError

__all__ = ["require"]


def require(headers: Mapping[str, str], etag: str, modified_s: float, *, reading: bool) -> None:
    """Raise 412 ConditionNotMet, or for reads 304, unless the blob meets If-Match and its three companions."""
    wanted = headers.get("if-match")
    if wanted is not None and wanted.strip() != "*" and etag not in _tags(wanted):
        raise _unmet(412)
    unwanted = headers.get("if-none-match")
    if unwanted is not None and (unwanted.strip() == "*" or etag in _tags(unwanted)):
        raise _unmet(304 if reading else 412)
    since = _time(headers.get("if-modified-since"))
    if since is not None and int(modified_s) <= since:
        raise _unmet(304 if reading else 412)
    until = _time(headers.get("if-unmodified-since"))
    if until is not None and int(modified_s) > until:
        raise _unmet(412)
    if not reading:
        _require_sequence_number(headers)


def _require_sequence_number(headers: Mapping[str, str]) -> None:
    """The sequence number of a managed disk's blob is always 0."""
    met: dict[str, Callable[[int], bool]] = {"le": lambda n: n >= 0, "lt": lambda n: n > 0, "eq": lambda n: n == 0}
    for name, holds in met.items():
        number = headers.get(f"x-ms-if-sequence-number-{name}")
        if number is not None and not holds(int(number) if number.isdigit() else -1):
            raise BlobError(
                412, "SequenceNumberConditionNotMet", "The sequence number condition specified was not met."
            )


def _tags(text: str) -> list[str]:
    tags = [part.strip() for part in text.split(",")]
    return [tag if tag.startswith('"') else f'"{tag}"' for tag in tags]


def _time(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text).timestamp()
    except ValueError as exc:
        raise BlobError(
            400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format."
        ) from exc


def _unmet(status: int) -> BlobError:
    return BlobError(status, "ConditionNotMet", "The condition specified using HTTP conditional header(s) is not met.")

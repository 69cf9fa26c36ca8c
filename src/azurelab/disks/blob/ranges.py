"""Ranges as the storage service's headers write them: inclusive on the wire, half-open inside. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from azurelab.disks.blob.errors import BlobError
from azurelab.disks.pages import SECTOR

__all__ = ["MOST_PUT_BYTES", "page_range", "read_range", "requested_range"]

# Put Page takes at most 4 MiB; also the most for which a checksum of a read is given.
MOST_PUT_BYTES = 4 << 20
_FORM = re.compile(r"bytes=(\d+)-(\d*)$")


def requested_range(headers: Mapping[str, str]) -> tuple[int, int | None] | None:
    """(start, end or None) of `x-ms-range`, else `Range`. As on Azure an unreadable Range counts as none."""
    text = headers.get("x-ms-range") or headers.get("range")
    match = _FORM.match(text.strip()) if text else None
    if match is None:
        return None
    start = int(match[1])
    end = int(match[2]) + 1 if match[2] else None
    return None if end is not None and end <= start else (start, end)


def read_range(headers: Mapping[str, str], size_bytes: int) -> tuple[int, int, bool]:
    """(start, end, asked for a part) of a read. Raises 416 InvalidRange when it starts beyond the blob."""
    wanted = requested_range(headers)
    if wanted is None:
        return 0, size_bytes, False
    start, end = wanted
    if start >= size_bytes:
        raise BlobError(
            416,
            "InvalidRange",
            "The range specified is invalid for the current size of the resource.",
            {"Content-Range": f"bytes */{size_bytes}"},
        )
    return start, size_bytes if end is None else min(end, size_bytes), True


def page_range(headers: Mapping[str, str], size_bytes: int) -> tuple[int, int]:
    """The range that Put Page writes: given, aligned to 512, inside the blob."""
    wanted = requested_range(headers)
    if wanted is None or wanted[1] is None:
        if "x-ms-range" in headers or "range" in headers:
            raise BlobError(
                400, "InvalidHeaderValue", "The value for one of the HTTP headers is not in the correct format."
            )
        raise BlobError(
            400,
            "MissingRequiredHeader",
            "An HTTP header that's mandatory for this request is not specified: x-ms-range.",
        )
    start, end = wanted[0], wanted[1]
    if start % SECTOR or end % SECTOR or end > size_bytes:
        raise BlobError(416, "InvalidPageRange", "The page range specified is invalid.")
    return start, end

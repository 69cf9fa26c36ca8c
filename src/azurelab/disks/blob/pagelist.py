"""The XML of Get Page Ranges, and its paging. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from azurelab.disks.blob.errors import BlobError
from azurelab.disks.pages import Extent, Kind

__all__ = ["MOST_RESULTS", "marker_offset", "page_limit", "page_list"]

# The service's own page size since version 2020-10-02.
MOST_RESULTS = 10_000
_PAGED_SINCE = "2020-10-02"


def page_limit(maxresults: str | None, marker: str | None, version: str | None) -> int | None:
    """Ranges per answer; None: all of them, which is what versions before paging expect."""
    if maxresults is not None:
        if not maxresults.isdigit() or int(maxresults) == 0:
            raise BlobError(
                400, "OutOfRangeQueryParameterValue", "Value for maxresults is outside the permissible range."
            )
        return min(int(maxresults), MOST_RESULTS)
    return MOST_RESULTS if marker or (version or "") >= _PAGED_SINCE else None


def marker_offset(marker: str | None) -> int:
    """Where the next page starts; markers are opaque to clients."""
    if not marker:
        return 0
    if not marker.startswith("at!") or not marker[3:].isdigit():
        raise BlobError(400, "InvalidQueryParameterValue", "Value for one of the query parameters is invalid: marker.")
    return int(marker[3:])


def page_list(extents: Iterable[Extent], limit: int | None) -> bytes:
    """PageRange for data, ClearRange for zeros. At most `limit` extents are drawn from the iterator, plus one."""
    parts = ['<?xml version="1.0" encoding="utf-8"?><PageList>']
    marker = ""
    for count, extent in enumerate(extents):
        if limit is not None and count == limit:
            marker = f"at!{extent.start}"
            break
        name = "PageRange" if extent.kind is Kind.DATA else "ClearRange"
        parts.append(f"<{name}><Start>{extent.start}</Start><End>{extent.end - 1}</End></{name}>")
    parts.append(f"<NextMarker>{escape(marker)}</NextMarker></PageList>" if marker else "<NextMarker /></PageList>")
    return "".join(parts).encode()

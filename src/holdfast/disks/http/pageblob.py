"""The page-blob calls that we make: properties, page ranges, range differences, ranged reads, page writes.

Sources: the storage service's REST pages "Get Blob", "Get Page Ranges" (2020-10-02 and later: maxresults, marker) and
"Put Page". Ranges end inclusively on the wire and are half-open everywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from holdfast.disks.errors import WireBroken
from holdfast.disks.http.client import HttpClient
from holdfast.disks.model.extents import Extent, Kind

__all__ = ["RANGE_BYTES", "BlobFacts", "PageBlob"]

_VERSION = "2021-08-06"
RANGE_BYTES = 4 * 1024 * 1024  # Put Page's limit, and the most for which a read returns its MD5
_PAGE_RANGES_AT_ONCE = 10_000


@dataclass(frozen=True)
class BlobFacts:
    """`kind`: PageBlob, BlockBlob … `etag` changes with every write."""

    size_bytes: int
    kind: str
    etag: str


class PageBlob:
    """One blob through one client."""

    def __init__(self, client: HttpClient) -> None:
        self._client = client
        self.name = client.name

    def facts(self) -> BlobFacts:
        head = self._client.request("HEAD", headers={"x-ms-version": _VERSION}, gated=False).headers
        return BlobFacts(int(head.get("content-length", "0")), head.get("x-ms-blob-type", ""), head.get("etag", ""))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """At most 4 MiB; the answer's MD5 is checked where the server gives one."""
        headers = {
            "x-ms-version": _VERSION,
            "x-ms-range": f"bytes={offset}-{offset + len(buffer) - 1}",
            "x-ms-range-get-content-md5": "true",
        }
        self._client.request("GET", headers=headers, into=buffer, expected=(200, 206), check=_md5_agrees)

    def write(self, offset: int, data: memoryview) -> None:
        """At most 4 MiB in whole pages of 512 bytes, with its MD5."""
        headers = {
            "x-ms-version": _VERSION,
            "x-ms-page-write": "update",
            "x-ms-range": f"bytes={offset}-{offset + len(data) - 1}",
            "Content-MD5": base64.b64encode(hashlib.md5(data).digest()).decode(),
            "Content-Length": str(len(data)),
            "Content-Type": "application/octet-stream",
        }
        self._client.request("PUT", query="comp=page", headers=headers, body=data, expected=(201,))

    def clear(self, offset: int, size_bytes: int) -> None:
        """The range reads zeros and is no longer listed; any length of whole pages."""
        headers = {
            "x-ms-version": _VERSION,
            "x-ms-page-write": "clear",
            "x-ms-range": f"bytes={offset}-{offset + size_bytes - 1}",
            "Content-Length": "0",
        }
        self._client.request("PUT", query="comp=page", headers=headers, body=b"", expected=(201,))

    def page_ranges(self, start: int, end: int, *, previous: str | None = None) -> Iterator[Extent]:
        """Data extents that touch [start, end), page by page of the listing. With `previous`, the address of an older
        snapshot of the same disk: what changed since, cleared ranges as zero extents."""
        marker = ""
        while True:
            headers = {"x-ms-version": _VERSION, "x-ms-range": f"bytes={start}-{end - 1}"}
            if previous is not None:
                headers["x-ms-previous-snapshot-url"] = previous
            query = f"comp=pagelist&maxresults={_PAGE_RANGES_AT_ONCE}"
            if marker:
                query += f"&marker={quote(marker, safe='')}"
            answer = self._client.request("GET", query=query, headers=headers, gated=False)
            found, marker = _parse(self.name, answer.body)
            yield from found
            if not marker:
                return


def _md5_agrees(headers: Mapping[str, str], body: memoryview | bytes) -> bool:
    told = headers.get("content-md5")
    return told is None or base64.b64encode(hashlib.md5(body).digest()).decode() == told


def _parse(name: str, body: bytes) -> tuple[list[Extent], str]:
    """The extents of one listing, sorted, and where to go on."""
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        raise WireBroken(name=name, problem="a list of pages with entity declarations")
    try:
        root = ElementTree.fromstring(body.lstrip(b"\xef\xbb\xbf"))
        found = []
        for element in root:
            if element.tag in ("PageRange", "ClearRange"):
                kind = Kind.DATA if element.tag == "PageRange" else Kind.ZERO
                first, last = int(element.findtext("Start", "")), int(element.findtext("End", ""))
                found.append(Extent(first, last + 1, kind))
        return sorted(found, key=lambda e: e.start), root.findtext("NextMarker") or ""
    except (ElementTree.ParseError, ValueError) as exc:
        raise WireBroken(name=name, problem=f"not a list of pages: {exc}") from exc

"""The page-blob calls that we make: properties, page ranges, range differences, ranged reads, page writes.

Sources: the storage service's REST pages "Get Blob", "Get Page Ranges" (2020-10-02 and later: maxresults, marker) and
"Put Page". A request carries or asks for one guard, never two: the service refuses both together. Ranges end
inclusively on the wire and are half-open everywhere else.
"""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from holdfast.disks.errors import ServerRefused, TransferDamaged, WireBroken
from holdfast.disks.formats.vhd import FOOTER_BYTES
from holdfast.disks.http.client import Answer, HttpClient
from holdfast.disks.http.guards import CRC64, MD5, Guard, guard_of, use_md5
from holdfast.disks.http.told import size_told
from holdfast.disks.model.extents import Extent, Kind

__all__ = ["RANGE_BYTES", "BlobFacts", "PageBlob"]

_VERSION = "2021-08-06"  # CRC-64 is known from 2019-02-02 on
RANGE_BYTES = 4 * 1024 * 1024  # Put Page's limit, and the most for which a read returns its checksum
# Codes with which a service refuses a header that it does not know: Azure's, and Azurite's own.
_NOT_KNOWN = ("UnsupportedHeader", "FeatureNotSupported")
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
        size_bytes = size_told(self.name, head, beside=FOOTER_BYTES)
        return BlobFacts(size_bytes, head.get("x-ms-blob-type", ""), head.get("etag", ""))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        """At most 4 MiB, and only with a guard that agrees. Raises WireBroken where the service gives none, and
        ServerRefused where it serves another range."""

        def ask(guard: Guard) -> Answer:
            headers = {
                "x-ms-version": _VERSION,
                "x-ms-range": f"bytes={offset}-{offset + len(buffer) - 1}",
                guard.wanted: "true",
            }
            return self._client.request(
                "GET", headers=headers, into=buffer, expected=(200, 206), check=guard.agrees, offset=offset
            )

        if not self._guarded(ask):
            raise WireBroken(name=self.name, problem="the service gives no checksum with what it serves")

    def write(self, offset: int, data: memoryview) -> None:
        """At most 4 MiB in whole pages of 512 bytes. What the service does not say that it has checked is read back.

        Raises TransferDamaged where the service goes on to say, or the reading to show, that other bytes arrived.
        """

        def put(guard: Guard) -> Answer:
            value = guard.value(data)
            headers = {
                "x-ms-version": _VERSION,
                "x-ms-page-write": "update",
                "x-ms-range": f"bytes={offset}-{offset + len(data) - 1}",
                guard.header: value,
                "Content-Length": str(len(data)),
                "Content-Type": "application/octet-stream",
            }

            def same(told: Mapping[str, str], _body: memoryview | bytes) -> bool:
                return guard.told(told) in (None, value)

            return self._client.request(
                "PUT", query="comp=page", headers=headers, body=data, expected=(201,), check=same, offset=offset
            )

        if self._guarded(put):
            return
        found = bytearray(len(data))
        self.read_into(offset, memoryview(found))
        if found != data:
            raise TransferDamaged(name=self.name, offset=offset, size_bytes=len(data))

    def _guarded(self, send: Callable[[Guard], Answer]) -> bool:
        """Send with the endpoint's guard, and again with MD5 if the endpoint turns out not to know CRC-64. False: the
        answer had no guard at all."""
        endpoint = self._client.endpoint
        if guard_of(endpoint) is CRC64:
            try:
                if CRC64.told(send(CRC64).headers) is not None:
                    return True
            except ServerRefused as exc:
                if exc.details.get("problem") not in _NOT_KNOWN:
                    raise
            use_md5(endpoint)
        return MD5.told(send(MD5).headers) is not None

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

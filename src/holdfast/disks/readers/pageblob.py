"""A page blob as a source: an Azure disk or snapshot behind a SAS, or a VHD in a storage account."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.disks.errors import FormatMismatch
from holdfast.disks.formats.vhd import FOOTER_BYTES
from holdfast.disks.http.address import http_address
from holdfast.disks.http.client import HttpClient, Renew
from holdfast.disks.http.pageblob import RANGE_BYTES, PageBlob
from holdfast.disks.model.extents import Extent, Kind
from holdfast.disks.model.locator import Locator
from holdfast.disks.readers.protocol import ChangeList, SourceTraits

__all__ = ["PageBlobReader", "chain_of"]


def chain_of(etag: str, size_bytes: int) -> str:
    """Names a state of a blob: its ETag changes with every write, and a snapshot's never does."""
    return f"page-blob:{etag.strip(chr(34))}:{size_bytes}"


class PageBlobReader:
    """Page ranges say where data are; reads are of at most 4 MiB, many in flight.

    The blob of a disk ends with a VHD footer, which is no part of the disk: it is looked for and left out.
    """

    def __init__(self, locator: Locator, renew: Renew | None = None) -> None:
        self._locator = locator
        self._client = HttpClient(locator, renew)
        self._blob = PageBlob(self._client)
        try:
            facts = self._blob.facts()
            if facts.kind != "PageBlob":
                raise FormatMismatch(name=locator.name, declared="page-blob", found=facts.kind or "no blob")
            self._blob_bytes = self.size_bytes = facts.size_bytes
            if facts.size_bytes > FOOTER_BYTES and self._tail()[:8] == b"conectix":
                self.size_bytes -= FOOTER_BYTES
        except BaseException:
            self._client.close()
            raise
        self.chain = locator.chain or chain_of(facts.etag, facts.size_bytes)
        self.traits = SourceTraits(
            name=locator.name,
            lanes=12,
            adaptive=True,
            identity={"kind": "chain", "chain": self.chain},
            remote=True,
            chain=self.chain,
        )

    def _tail(self) -> bytes:
        tail = bytearray(FOOTER_BYTES)
        self._blob.read_into(self._blob_bytes - FOOTER_BYTES, memoryview(tail))
        return bytes(tail)

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        end = min(end, self.size_bytes)
        if start >= end:
            return
        for extent in self._blob.page_ranges(start, end):
            if extent.kind is Kind.DATA and extent.start < end:
                yield Extent(extent.start, min(extent.end, end))

    def changes(self, previous: Locator) -> ChangeList:
        """What changed since the older snapshot at `previous`, whose ETag names the state that it stands for."""
        client = HttpClient(previous)
        try:
            older = PageBlob(client).facts()
        finally:
            client.close()
        since = previous.chain or chain_of(older.etag, older.size_bytes)
        listed = self._blob.page_ranges(0, self._blob_bytes, previous=http_address(previous).url)
        extents = [Extent(e.start, min(e.end, self.size_bytes), e.kind) for e in listed if e.start < self.size_bytes]
        return ChangeList(since, self.chain, extents, "page-range difference")

    def read_into(self, offset: int, buffer: memoryview) -> None:
        for at in range(0, len(buffer), RANGE_BYTES):
            self._blob.read_into(offset + at, buffer[at : at + RANGE_BYTES])

    def done_with(self, start: int, end: int) -> None:
        pass

    def identity_now(self) -> dict[str, Any] | None:
        if self._locator.chain is not None:
            return self.traits.identity
        facts = self._blob.facts()
        return {"kind": "chain", "chain": chain_of(facts.etag, facts.size_bytes)}

    def close(self) -> None:
        self._client.close()

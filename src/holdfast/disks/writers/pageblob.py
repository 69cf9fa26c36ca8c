"""A page blob as a target: a managed disk in the state ReadyToUpload, or a page blob in a storage account.

The blob's size is fixed before we come: the disk in whole MiB plus a footer, which we make. A write that was answered
is durable, so flush has nothing to do.
"""

from __future__ import annotations

from holdfast.core.units import MIB
from holdfast.disks.errors import FormatMismatch, TargetHasContent, TargetTooSmall
from holdfast.disks.formats.vhd import FOOTER_BYTES, fixed_footer, rounded_size
from holdfast.disks.http.client import HttpClient, Renew
from holdfast.disks.http.pageblob import RANGE_BYTES, PageBlob
from holdfast.disks.model.extents import Kind
from holdfast.disks.model.locator import Locator
from holdfast.disks.readers.pageblob import PageBlobReader
from holdfast.disks.readers.protocol import Reader
from holdfast.disks.writers.protocol import TargetTraits

__all__ = ["PageBlobWriter"]

_PAGE = 512


class PageBlobWriter:
    """Writes whole pages; a disk's short last sector is filled with zeros.

    `fresh`: the caller wants a target that holds nothing; one that lists pages is refused unless `overwrite`, and is
    then cleared where the source is zero.
    """

    def __init__(
        self,
        locator: Locator,
        size_bytes: int,
        *,
        fresh: bool,
        overwrite: bool = False,
        renew: Renew | None = None,
    ) -> None:
        self._locator, self._renew = locator, renew
        self._client = HttpClient(locator, renew)
        self._blob = PageBlob(self._client)
        try:
            facts = self._blob.facts()
            if facts.kind not in ("PageBlob", ""):
                raise FormatMismatch(name=locator.name, declared="page-blob", found=facts.kind)
            needed = rounded_size(size_bytes) + FOOTER_BYTES
            if facts.size_bytes < needed or facts.size_bytes % MIB != FOOTER_BYTES:
                raise TargetTooSmall(name=locator.name, actual_bytes=facts.size_bytes, needed_bytes=needed)
            self.size_bytes = facts.size_bytes - FOOTER_BYTES
            empty = locator.reads_zero or self._is_empty(facts.size_bytes)
            if fresh and not empty and not overwrite:
                raise TargetHasContent(name=locator.name)
        except BaseException:
            self._client.close()
            raise
        self.traits = TargetTraits(
            name=locator.name,
            reads_zero=fresh and empty,
            granularity=_PAGE,
            lanes=12,
            adaptive=True,
            remote=True,
        )

    def _is_empty(self, size: int) -> bool:
        """Whether no page is listed but, perhaps, the footer that an upload disk is made with."""
        pages = self._blob.page_ranges(0, size)
        return all(e.kind is Kind.ZERO or e.start >= self.size_bytes for e in pages)

    def write(self, offset: int, data: memoryview) -> None:
        for at in range(0, len(data), RANGE_BYTES):
            part = data[at : at + RANGE_BYTES]
            if len(part) % _PAGE:
                part = memoryview(bytes(part) + bytes(-len(part) % _PAGE))
            self._blob.write(offset + at, part)

    def write_zeros(self, offset: int, size_bytes: int) -> None:
        self._blob.clear(offset, -(-size_bytes // _PAGE) * _PAGE)

    def done_with(self, start: int, end: int) -> None:
        pass

    def flush(self) -> None:
        pass

    def read_back(self) -> Reader:
        return PageBlobReader(self._locator, self._renew)

    def finish(self) -> None:
        self._blob.write(self.size_bytes, memoryview(fixed_footer(self.size_bytes)))
        self._client.close()

    def abandon(self) -> None:
        self._client.close()

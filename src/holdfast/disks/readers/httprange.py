"""A file on an http(s) server that serves ranges: a raw disk image behind any web server or a signed URL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from holdfast.disks.errors import ServerRefused, SourceChanged
from holdfast.disks.http.client import HttpClient, Renew
from holdfast.disks.http.told import range_told, size_told
from holdfast.disks.model.extents import Extent
from holdfast.disks.model.locator import Locator
from holdfast.disks.readers.protocol import SourceTraits

__all__ = ["HttpRangeReader"]


class HttpRangeReader:
    """All of it is data: HTTP knows no holes. Each range is asked for under the ETag seen first.

    Nothing guards the bytes but what the server says of them: its size first, then place and whole of each range.
    """

    def __init__(self, locator: Locator, renew: Renew | None = None) -> None:
        self._client = HttpClient(locator, renew)
        try:
            head = self._client.request("HEAD", gated=False)
            if head.headers.get("accept-ranges", "").lower() != "bytes":
                raise ServerRefused(name=locator.name, status=head.status, problem="it does not serve ranges")
            self.size_bytes = size_told(locator.name, head.headers)
        except BaseException:
            self._client.close()
            raise
        self._etag = head.headers.get("etag")
        strong = self._etag is not None and not self._etag.startswith("W/")
        identity: dict[str, Any] | None = None
        if strong:
            identity = {"kind": "http", "etag": self._etag, "size_bytes": self.size_bytes}
        self.traits = SourceTraits(name=locator.name, lanes=12, adaptive=True, identity=identity, remote=True)

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        if start < min(end, self.size_bytes):
            yield Extent(start, min(end, self.size_bytes))

    def read_into(self, offset: int, buffer: memoryview) -> None:
        headers = {"Range": f"bytes={offset}-{offset + len(buffer) - 1}"}
        if self._etag is not None and self.traits.identity is not None:
            headers["If-Match"] = self._etag
        try:
            self._client.request(
                "GET", headers=headers, into=buffer, expected=(206,), check=self._of_same_file, offset=offset
            )
        except ServerRefused as refused:
            if refused.details.get("status") == 412:
                raise SourceChanged(name=self.traits.name) from refused
            raise

    def _of_same_file(self, told: Mapping[str, str], _body: memoryview | bytes) -> bool:
        """Raises SourceChanged where the whole has another size than at first; the range was looked at already."""
        whole = range_told(told)
        if whole is not None and whole[2] not in (None, self.size_bytes):
            raise SourceChanged(name=self.traits.name)
        return True

    def done_with(self, start: int, end: int) -> None:
        pass

    def identity_now(self) -> dict[str, Any] | None:
        if self.traits.identity is None:
            return None
        told = self._client.request("HEAD", gated=False).headers
        return {"kind": "http", "etag": told.get("etag"), "size_bytes": size_told(self.traits.name, told)}

    def close(self) -> None:
        self._client.close()

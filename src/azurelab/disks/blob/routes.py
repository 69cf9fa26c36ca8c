"""The HTTP face of the data plane: an ASGI application for every path below `/md-`.

Bodies go out in pieces of 4 MiB, read when the socket can take them, so memory is bounded by the number of connections
and not by the size of the disks.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from azurelab.disks.blob.conditions import require
from azurelab.disks.blob.errors import BlobError, error_body
from azurelab.disks.blob.grants import Grant, Grants
from azurelab.disks.blob.guards import checksum_wanted, verify
from azurelab.disks.blob.page_blob import Footers, PageBlob
from azurelab.disks.blob.pagelist import marker_offset, page_limit, page_list
from azurelab.disks.blob.ranges import MOST_PUT_BYTES, page_range, read_range, requested_range
from azurelab.disks.errors import VolumeNotFound
from azurelab.disks.layer import LayerGone
from azurelab.disks.store import DiskStore

__all__ = ["PREFIX", "DataPlane"]

_log = logging.getLogger(__name__)

PREFIX = "/md-"
# Bytes per piece of a body. Smaller costs a thread hop and a socket write more often; larger costs memory per download.
# A range with a checksum is one piece.
_PIECE = MOST_PUT_BYTES
# A disk may be compared with a snapshot from before it grew past this size: not on Azure.
_DIFF_BOUNDARY_BYTES = 4 << 40
_NEWEST_VERSION = "2026-04-06"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class _Request:
    """One request's words. Header and query names are lower case."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.headers = {k.decode("latin-1").lower(): v.decode("latin-1") for k, v in scope["headers"]}
        self.query = _query(scope["query_string"].decode("latin-1"))
        self.path = unquote(scope["path"])
        self.receive = receive
        self.id = str(uuid.uuid4())

    async def parts(self, most_bytes: int) -> list[bytes]:
        """The body as it came. To be joined by a thread: copying megabytes would hold up every other request."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client left before its body was complete")
            part = message.get("body", b"")
            size += len(part)
            if size > most_bytes:
                raise BlobError(
                    413,
                    "RequestBodyTooLarge",
                    "The request body is too large and exceeds the maximum permissible limit.",
                )
            parts.append(part)
            if not message.get("more_body"):
                return parts


class DataPlane:
    """`modified` tells when a volume's content last changed, in Unix seconds of the lab's clock."""

    def __init__(self, store: DiskStore, grants: Grants, footers: Footers) -> None:
        self._store = store
        self._grants = grants
        self._footers = footers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(scope, receive)
        try:
            await self._answer(request, send)
        except BlobError as exc:
            await self._refuse(request, send, exc)
        except (VolumeNotFound, LayerGone):
            gone = BlobError(404, "BlobNotFound", "The specified blob does not exist.")
            await self._refuse(request, send, gone)
        except ConnectionResetError:
            return

    async def _refuse(self, request: _Request, send: Send, exc: BlobError) -> None:
        now = formatdate(usegmt=True)
        headers = {"x-ms-error-code": exc.code, **exc.headers}
        if exc.status == 304 or request.method == "HEAD":
            await self._send(request, send, exc.status, headers, b"", length=None if exc.status == 304 else 0)
            return
        headers["Content-Type"] = "application/xml"
        body = error_body(exc.code, exc.message, request.id, now, exc.details)
        await self._send(request, send, exc.status, headers, body)

    async def _send(
        self, request: _Request, send: Send, status: int, headers: Mapping[str, str], body: Any, length: int | None = -1
    ) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": self._encode(request, headers, len(body) if length == -1 else length),
            }
        )
        await send({"type": "http.response.body", "body": body})

    @staticmethod
    def _encode(request: _Request, headers: Mapping[str, str], length: int | None) -> list[tuple[bytes, bytes]]:
        common = {
            "Server": "Windows-Azure-Blob/1.0",
            "Date": formatdate(usegmt=True),
            "x-ms-request-id": request.id,
            "x-ms-version": request.headers.get("x-ms-version", _NEWEST_VERSION),
            **headers,
        }
        if "x-ms-client-request-id" in request.headers:
            common["x-ms-client-request-id"] = request.headers["x-ms-client-request-id"]
        if length is not None:
            common["Content-Length"] = str(length)
        return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in common.items()]

    # -- routing -------------------------------------------------------------------------------------------------------

    async def _answer(self, request: _Request, send: Send) -> None:
        grant = self._authorize(request.path, request.query)
        comp = request.query.get("comp", "")
        blob = self._blob(grant)
        if "snapshot" in request.query:
            raise BlobError(404, "BlobNotFound", "The specified blob does not exist.")
        if request.method in ("GET", "HEAD") and comp == "":
            await self._read(request, send, blob)
        elif request.method == "GET" and comp == "pagelist":
            await self._page_list(request, send, grant, blob)
        elif request.method == "PUT" and comp == "page":
            if grant.access != "Write":
                raise _mismatch()
            await self._put_page(request, send, blob)
        else:
            raise _mismatch()

    def _authorize(self, path: str, query: Mapping[str, str]) -> Grant:
        parts = path.strip("/").split("/")
        if len(parts) != 3 or parts[2] != "abcd":
            raise BlobError(404, "ResourceNotFound", "The specified resource does not exist.")
        return self._grants.authorize(parts[0], parts[1], query.get("si", ""), query.get("sig", ""))

    def _blob(self, grant: Grant) -> PageBlob:
        return PageBlob(self._store.get(grant.volume), self._footers if grant.access == "Write" else None)

    @staticmethod
    def _about(blob: PageBlob, modified_s: float) -> dict[str, str]:
        return {
            "ETag": blob.etag,
            "Last-Modified": formatdate(modified_s, usegmt=True),
            "x-ms-blob-sequence-number": "0",
        }

    # -- Get Blob, Get Blob Properties ---------------------------------------------------------------------------------

    async def _read(self, request: _Request, send: Send, blob: PageBlob) -> None:
        modified_s = self._store.changed_at(blob.volume.id)
        require(request.headers, blob.etag, modified_s, reading=True)
        headers = {
            **self._about(blob, modified_s),
            "Content-Type": "application/octet-stream",
            "Accept-Ranges": "bytes",
            "x-ms-blob-type": "PageBlob",
            "x-ms-creation-time": formatdate(modified_s, usegmt=True),
            "x-ms-lease-status": "unlocked",
            "x-ms-lease-state": "available",
            "x-ms-server-encrypted": "true",
        }
        if request.method == "HEAD":
            await self._send(request, send, 200, headers, b"", length=blob.size_bytes)
            return
        start, end, partial = read_range(request.headers, blob.size_bytes)
        wanted = checksum_wanted(request.headers)
        data: bytearray | None = None
        if wanted is not None:
            if not partial or end - start > MOST_PUT_BYTES:
                raise BlobError(400, "OutOfRangeInput", "One of the request inputs is out of range.")
            name, make = wanted

            def read_and_sum() -> tuple[bytearray, str]:
                """What is summed up is what is sent, whatever is written meanwhile."""
                found = blob.read(start, end)
                return found, make(found)

            data, headers[name] = await asyncio.to_thread(read_and_sum)
        if partial:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{blob.size_bytes}"
        await send(
            {
                "type": "http.response.start",
                "status": 206 if partial else 200,
                "headers": self._encode(request, headers, end - start),
            }
        )
        position = start
        while position < end:
            piece_end = min(position + _PIECE, end)
            piece = data if data is not None else await asyncio.to_thread(blob.read, position, piece_end)
            position, data = piece_end, None
            await send({"type": "http.response.body", "body": memoryview(piece), "more_body": position < end})

    # -- Get Page Ranges -----------------------------------------------------------------------------------------------

    async def _page_list(self, request: _Request, send: Send, grant: Grant, blob: PageBlob) -> None:
        modified_s = self._store.changed_at(blob.volume.id)
        require(request.headers, blob.etag, modified_s, reading=True)
        start, end = 0, blob.size_bytes
        wanted = requested_range(request.headers)
        if wanted is not None:
            if wanted[0] >= blob.size_bytes:
                raise BlobError(
                    416, "InvalidRange", "The range specified is invalid for the current size of the resource."
                )
            start, end = wanted[0], min(wanted[1] or blob.size_bytes, blob.size_bytes)
        limit = page_limit(
            request.query.get("maxresults"), request.query.get("marker"), request.headers.get("x-ms-version")
        )
        start = max(start, marker_offset(request.query.get("marker")))
        old = self._previous(request, grant, blob)
        extents = blob.extents(start, end) if old is None else blob.changes(old, start, end)
        body = await asyncio.to_thread(page_list, extents, limit)
        headers = {
            **self._about(blob, modified_s),
            "Content-Type": "application/xml",
            "x-ms-blob-content-length": str(blob.size_bytes),
        }
        await self._send(request, send, 200, headers, body)

    def _previous(self, request: _Request, grant: Grant, blob: PageBlob) -> PageBlob | None:
        """The older snapshot to compare with, by its SAS URL or by the time at which it was taken."""
        url = request.headers.get("x-ms-previous-snapshot-url")
        moment = request.query.get("prevsnapshot")
        if url is None and moment is None:
            return None
        if grant.family is None:
            raise BlobError(
                409,
                "PreviousSnapshotOperationNotSupported",
                "Differential Get Page Ranges is not supported on the previous snapshot: only incremental snapshots "
                "can be compared.",
            )
        old_grant = self._by_url(url) if url is not None else self._by_moment(moment or "", grant.family)
        if old_grant.family != grant.family:
            raise BlobError(
                409, "BlobOverwritten", "The blob has been recreated since the previous snapshot was taken."
            )
        if old_grant.taken_at > grant.taken_at:
            raise BlobError(
                400,
                "PreviousSnapshotCannotBeNewer",
                "The prevsnapshot query parameter value cannot be newer than snapshot.",
            )
        old = PageBlob(self._store.get(old_grant.volume), None)
        if (old.disk_bytes > _DIFF_BOUNDARY_BYTES) != (blob.disk_bytes > _DIFF_BOUNDARY_BYTES):
            raise BlobError(
                409,
                "PreviousSnapshotOperationNotSupported",
                "Differential Get Page Ranges is not supported where the disk was resized across 4 TiB.",
            )
        return old

    def _by_url(self, url: str) -> Grant:
        parts = urlsplit(url)
        try:
            return self._authorize(unquote(parts.path), _query(parts.query))
        except BlobError as exc:
            raise BlobError(409, "PreviousSnapshotNotFound", "The previous snapshot is not found.") from exc

    def _by_moment(self, moment: str, family: str) -> Grant:
        for grant in self._grants.active_in_family(family):
            if _snapshot_time(grant.taken_at) == moment:
                return grant
        raise BlobError(409, "PreviousSnapshotNotFound", "The previous snapshot is not found.")

    # -- Put Page ------------------------------------------------------------------------------------------------------

    async def _put_page(self, request: _Request, send: Send, blob: PageBlob) -> None:
        require(request.headers, blob.etag, self._store.changed_at(blob.volume.id), reading=False)
        action = request.headers.get("x-ms-page-write", "").lower()
        start, end = page_range(request.headers, blob.size_bytes)
        headers: dict[str, str] = {}

        def again() -> Grant:
            """Asked under the volume's lock: a write that was on its way when access ended never lands."""
            return self._authorize(request.path, request.query)

        if action == "clear":
            if any(await request.parts(0)):
                raise _bad_header("Content-Length")
            await asyncio.to_thread(blob.clear, start, end, again)
        elif action == "update":
            if end - start > MOST_PUT_BYTES:
                raise BlobError(
                    413,
                    "RequestBodyTooLarge",
                    "The request body is too large and exceeds the maximum permissible limit.",
                )
            if "x-ms-copy-source" in request.headers:
                parts: list[bytes] = [await self._copy_source(request, end - start)]
            else:
                parts = await request.parts(MOST_PUT_BYTES)
            if sum(map(len, parts)) != end - start:
                raise _bad_header("x-ms-range")

            def checked_write() -> dict[str, str]:
                data = parts[0] if len(parts) == 1 else b"".join(parts)
                checked = verify(request.headers, data)
                blob.write(start, data, again)
                return checked

            headers = await asyncio.to_thread(checked_write)
        elif not action:
            raise BlobError(
                400,
                "MissingRequiredHeader",
                "An HTTP header that's mandatory for this request is not specified: x-ms-page-write.",
            )
        else:
            raise _bad_header("x-ms-page-write")
        headers |= self._about(blob, self._store.changed_at(blob.volume.id))
        headers["x-ms-request-server-encrypted"] = "true"
        await self._send(request, send, 201, headers, b"")

    async def _copy_source(self, request: _Request, size_bytes: int) -> bytes:
        """Put Page From URL, where the URL is a SAS of this lab; it never fetches from anywhere else."""
        wanted = requested_range({"range": request.headers.get("x-ms-source-range", "")})
        if wanted is None or wanted[1] is None or wanted[1] - wanted[0] != size_bytes:
            raise _bad_header("x-ms-source-range")
        parts = urlsplit(request.headers["x-ms-copy-source"])
        try:
            source = self._blob(self._authorize(unquote(parts.path), _query(parts.query)))
        except BlobError as exc:
            raise BlobError(403, "CannotVerifyCopySource", exc.message) from exc
        if wanted[1] > source.size_bytes:
            raise BlobError(416, "InvalidRange", "The range specified is invalid for the current size of the resource.")
        return bytes(await asyncio.to_thread(source.read, wanted[0], wanted[1]))


def _query(text: str) -> dict[str, str]:
    return {name.lower(): value for name, value in parse_qsl(text, keep_blank_values=True)}


def _snapshot_time(moment_s: float) -> str:
    """As blob snapshots are named: 2026-11-21T14:03:05.1234567Z."""
    from datetime import UTC, datetime

    whole = int(moment_s)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{int((moment_s - whole) * 10_000_000):07d}Z"


def _mismatch() -> BlobError:
    return BlobError(
        403,
        "AuthorizationPermissionMismatch",
        "This request is not authorized to perform this operation using this permission.",
    )


def _bad_header(name: str) -> BlobError:
    return BlobError(
        400, "InvalidHeaderValue", f"The value for one of the HTTP headers is not in the correct format: {name}."
    )

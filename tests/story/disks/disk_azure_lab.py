"""A running data plane of azurelab whose requests can be watched and broken."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from azurelab.disks.blob.grants import Grants
from azurelab.disks.blob.page_blob import UploadFooters
from azurelab.disks.blob.routes import DataPlane
from azurelab.disks.store import DiskStore
from holdfast.disks.model.locator import Locator

__all__ = ["MIB", "SIZE", "Lab", "Troubled", "running_lab"]

MIB = 1 << 20
SIZE = 24 * MIB
CRC64_HEADERS = (b"x-ms-content-crc64", b"x-ms-range-get-content-crc64")
GUARDS = (*CRC64_HEADERS, b"content-md5", b"x-ms-range-get-content-md5")


class Troubled:
    """The data plane behind a hand that breaks every n-th exchange of data: `every` 0 leaves it alone.

    `deaf` makes it a service that does not know a guard: "crc64", "writes" (any guard of a write) and "all" overlook
    headers, as proxies and emulators do; "refuses crc64" answers them as Azurite does. `seen` collects the data
    requests: method, range, guards.
    """

    def __init__(self, app: DataPlane) -> None:
        self.app, self.every, self.kind, self.count, self.deaf = app, 0, "", 0, ""
        self.seen: list[tuple[str, str, tuple[str, ...]]] = []

    def break_every(self, every: int, kind: str) -> None:
        self.every, self.kind, self.count = every, kind, 0

    def calm(self) -> None:
        self.every, self.deaf = 0, ""
        self.seen.clear()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        query = scope.get("query_string", b"")
        data = (scope.get("method") == "GET" and b"comp=" not in query) or b"comp=page" in query
        if data and b"pagelist" not in query:
            method, headers = scope["method"], dict(scope["headers"])
            carried = [name for name in headers if name in GUARDS]
            self.seen.append((method, headers[b"x-ms-range"].decode(), tuple(name.decode() for name in carried)))
            if self.deaf == "refuses crc64" and set(carried) & set(CRC64_HEADERS):
                while method == "PUT" and (await receive()).get("more_body"):
                    pass
                await _answer(send, 500, [(b"x-ms-error-code", b"FeatureNotSupported")])
                return
            if self.deaf and (self.deaf != "writes" or method == "PUT"):
                overlooked = CRC64_HEADERS if "crc64" in self.deaf else GUARDS
                scope = {**scope, "headers": [pair for pair in scope["headers"] if pair[0] not in overlooked]}
            self.count += 1
            if self.every and self.count % self.every == 0:
                await self._break(scope, receive, send)
                return
        await self.app(scope, receive, send)

    async def _break(self, scope: Any, receive: Any, send: Any) -> None:
        if self.kind == "throttle":
            await _answer(send, 503, [(b"retry-after", b"0")])
        elif self.kind == "close":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"1000000")]})
            await send({"type": "http.response.body", "body": b"x" * 100, "more_body": False})
        elif self.kind == "damage":

            async def damaged(message: Any) -> None:
                if message["type"] == "http.response.body" and message.get("body"):
                    body = bytearray(message["body"])
                    body[0] ^= 1
                    message = {**message, "body": bytes(body)}
                await send(message)

            await self.app(scope, receive, damaged)
        elif self.kind == "damage on the way up":

            async def spoiled() -> Any:
                message = await receive()
                if message.get("body"):
                    body = bytearray(message["body"])
                    body[len(body) // 2] ^= 1
                    message = {**message, "body": bytes(body)}
                return message

            await self.app(scope, spoiled, send)
        elif self.kind == "wrong answer":

            async def altered(message: Any) -> None:
                if message["type"] == "http.response.start":
                    headers = [(k, v[::-1] if k.lower() in GUARDS else v) for k, v in message["headers"]]
                    message = {**message, "headers": headers}
                await send(message)

            await self.app(scope, receive, altered)
        elif self.kind == "answer lost":

            async def swallow(message: Any) -> None:
                if message["type"] == "http.response.start":
                    raise ConnectionResetError

            await self.app(scope, receive, swallow)


async def _answer(send: Any, status: int, headers: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


class Lab:
    def __init__(self, folder: Path) -> None:
        self.time_s, self.port = 1_000_000.0, 0
        self.store = DiskStore(folder, now=lambda: self.time_s)
        self.grants = Grants(self.store.catalogue, lambda: self.time_s)
        self.footers = UploadFooters(self.store.catalogue)
        self.app = Troubled(DataPlane(self.store, self.grants, self.footers))

    def locator(self, volume: str, access: str = "Read", *, family: str | None = None) -> Locator:
        self.time_s += 1
        grant = self.grants.open(volume, access, 3600, family=family, taken_at=self.time_s)
        return Locator(f"http://127.0.0.1:{self.port}/{grant.path_and_query}")

    def bytes_of(self, volume: str) -> bytes:
        disk = self.store.get(volume)
        return bytes(disk.read(0, disk.size_bytes))


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    lab = Lab(folder)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)
    lab.port = sock.getsockname()[1]
    config = uvicorn.Config(lab.app, log_config=None, lifespan="off", http="h11", ws="none", date_header=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[sock])))
    thread.start()
    yield lab
    server.should_exit = True
    thread.join(20)
    sock.close()
    lab.store.close()

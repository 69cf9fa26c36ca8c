"""The ASGI application behind both listeners: raw mounts first (data plane), then faults, then the protocol."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
import uuid
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["Asgi", "Mount", "read_body", "send_response"]

HOLD_S = 20.0
"""Longest time that a poll waits; below the read timeouts of az (no less than 60 s) and the SDKs (300 s)."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

Mount = tuple[str, AsgiApp]
"""(path prefix in lower case, the ASGI app that serves everything below it): the page-blob data plane, the metadata."""


async def read_body(receive: Receive) -> bytes:
    parts: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            break
    return parts[0] if len(parts) == 1 else b"".join(parts)


async def send_response(send: Send, response: Response) -> None:
    payload, headers = response.encode()
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": payload})


class Asgi:
    def __init__(self, lab: Lab, mounts: Sequence[Mount] = ()) -> None:
        self._lab = lab
        self._mounts = [(prefix.lower(), app) for prefix, app in mounts]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = scope["path"].lower()
        for prefix, app in self._mounts:
            if path.startswith(prefix):
                await app(scope, receive, send)
                return
        raw = await read_body(receive)
        call = Call.from_scope(scope, raw)
        if path.startswith("/azurelab/"):
            response = await self._control(scope, call)
        else:
            found = await self._arm(call)
            if found is None:
                await drop(receive)
                return
            response = found
        self._sign(call, response)
        if call.method == "HEAD":
            response.body = None
        await send_response(send, response)

    async def _arm(self, call: Call) -> Response | None:
        """The answer, or None where the connection is to be dropped."""
        lab = self._lab
        try:
            fault = None
            hit = lab.arm.routes.find(call.method, call.path)
            if hit is None or hit[0].auth:
                call.caller = lab.tokens.principal(call.headers, call.base_url)
                fault = lab.faults.take(call.method, call.path)
            if fault is None:
                if hit is not None and hit[0].polls:
                    await self._hold(hit[1]["id"])
                return lab.arm.handle(call)
            return await self._faulty(call, fault)
        except ArmError as exc:
            return Response(exc.status, exc.body(), dict(exc.headers))
        except Exception as exc:  # noqa: BLE001  the client gets Azure's 500; the bug is recorded, tests look for it
            error = lab.bug(exc, traceback.format_exc())
            return Response(error.status, error.body())

    async def _hold(self, operation_id: str) -> None:
        """A poll of an operation whose time does not pass by the clock waits for its end: done by the first poll."""
        loop = asyncio.get_running_loop()
        done = asyncio.Event()

        def tell() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(done.set)

        if self._lab.operations.when_done(operation_id, tell):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(done.wait(), HOLD_S)

    async def _faulty(self, call: Call, fault: dict[str, Any]) -> Response | None:
        lab, kind = self._lab, fault["kind"]
        lab.store.log("fault", call.path, method=call.method, fault=fault["id"], fault_kind=kind)
        if kind in ("error", "throttle"):
            headers = dict(fault.get("headers") or {})
            if kind == "throttle" or "retry_after" in fault:
                headers["Retry-After"] = str(fault.get("retry_after", 1))
            return Response(fault["status"], {"error": fault["error"]}, headers)
        if kind == "hang":
            await asyncio.sleep(float(fault.get("seconds", 5)))
            return None
        response = lab.arm.handle(call, fault)
        if kind == "lost_response":
            return None
        return response

    async def _control(self, scope: Scope, call: Call) -> Response:
        client = (scope.get("client") or ("", 0))[0]
        if not (client.startswith("127.") or client == "::1"):
            return Response(403, {"error": {"code": "Forbidden", "message": "The control API is for loopback only."}})
        try:
            # Control calls may wait (a guest that stops): never in the event loop's thread.
            return await asyncio.to_thread(self._lab.control.handle, call)
        except ArmError as exc:
            return Response(exc.status, exc.body())
        except Exception as exc:  # noqa: BLE001  as above
            error = self._lab.bug(exc, traceback.format_exc())
            return Response(error.status, error.body())

    @staticmethod
    def _sign(call: Call, response: Response) -> None:
        """The headers that every ARM answer carries."""
        headers = response.headers
        headers["x-ms-request-id"] = call.request_id
        headers["x-ms-correlation-request-id"] = call.headers.get("x-ms-correlation-request-id", call.request_id)
        headers["x-ms-routing-request-id"] = f"AZURELAB:{uuid.uuid4()}"
        if call.client_request_id:
            headers["x-ms-client-request-id"] = call.client_request_id
        headers.setdefault("Cache-Control", "no-cache")
        error = response.body.get("error") if isinstance(response.body, Mapping) else None
        if response.status >= 400 and isinstance(error, dict) and "code" in error:
            headers["x-ms-failure-cause"] = "gateway"


async def drop(receive: Receive) -> None:
    """Cut the connection without a byte of an answer: the client must not learn whether its call was carried out."""
    transport = getattr(getattr(receive, "__self__", None), "transport", None)
    if transport is None:
        raise RuntimeError("this server does not let a response be lost")
    transport.abort()
    while (await receive())["type"] != "http.disconnect":
        pass

"""Events of an operation, as they come: a long poll for scripts and the CLI, server-sent events for browsers."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from holdfast.api import shown
from holdfast.core.ids import OperationId
from holdfast.engine import Engine, State

__all__ = ["events_answer"]

LOOK_EVERY_S = 0.25  # one indexed read; slower would make a live view stutter
MOST_WAIT_S = 30.0  # below what proxies commonly allow a silent request
STREAM_FOR_S = 3600.0  # a browser reconnects by itself with Last-Event-ID


async def events_answer(
    request: Request, engine: Engine, operation: OperationId, after: int, wait_s: float
) -> Response:
    """Lines with an id above `after`. Answers at once if there are some or the operation rests, else after `wait_s`."""
    if "text/event-stream" in request.headers.get("accept", ""):
        last = request.headers.get("last-event-id", "")
        begin = int(last) if last.isdigit() else after
        return StreamingResponse(_stream(request, engine, operation, begin), media_type="text/event-stream")
    deadline = time.monotonic() + min(max(wait_s, 0.0), MOST_WAIT_S)
    while True:
        answer = await run_in_threadpool(_look, engine, operation, after)
        if answer["events"] or answer["rests"] or time.monotonic() >= deadline:
            return JSONResponse(answer)
        if await request.is_disconnected():
            return JSONResponse(answer)
        await asyncio.sleep(LOOK_EVERY_S)


async def _stream(request: Request, engine: Engine, operation: OperationId, after: int) -> AsyncIterator[str]:
    deadline = time.monotonic() + STREAM_FOR_S
    while time.monotonic() < deadline and not await request.is_disconnected():
        answer = await run_in_threadpool(_look, engine, operation, after)
        for event in answer["events"]:
            after = event["id"]
            yield f"id: {after}\nevent: {event['kind']}\ndata: {json.dumps(event)}\n\n"
        if answer["rests"] and not answer["events"]:
            yield f"event: rests\ndata: {json.dumps(answer['operation'])}\n\n"
            return
        await asyncio.sleep(LOOK_EVERY_S)


def _look(engine: Engine, operation: OperationId, after: int) -> dict[str, Any]:
    """rests: nothing more comes by itself: it is closed, or stuck until somebody acts."""
    view = engine.get(operation)  # before the events: what closes an operation is among them
    events = engine.events(operation, after)
    return {
        "operation": shown.operation(view),
        "rests": view.is_closed or view.state is State.STUCK,
        "events": [shown.event(one) for one in events],
        "after": events[-1].id if events else after,
    }

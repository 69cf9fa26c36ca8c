"""Spot's envelope around every answer, success or not (spot-stateful-node-api.md 1.1, 1.2)."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse

from holdfast.core.clock import format_utc
from holdfast.core.errors import HoldfastError

__all__ = ["NODE", "PREFIX", "ROOT", "STATUS", "answer", "is_spot", "refused"]

ROOT = "/azure"  # of everything that Spot's clients call for Azure
PREFIX = f"{ROOT}/compute/statefulNode"
NODE = "spotinst:azure:statefulNode"
STATUS = "spotinst:azure:statefulNode:status"


def is_spot(path: str) -> bool:
    return path.startswith(ROOT + "/")


def answer(request: Request, kind: str, items: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Exactly 200, for every verb. count must equal the number of items: the Java client returns nothing otherwise."""
    return {
        "request": _request(request),
        "response": {
            "status": {"code": 200, "message": "OK"},
            "kind": kind,
            "items": list(items),
            "count": len(items),
        },
    }


def refused(request: Request, error: HoldfastError) -> JSONResponse:
    """400 for whatever is wrong, but 401 for a token that opens nothing (docs/decisions/0036)."""
    status, words = (401, "Unauthorized") if error.code == "token.rejected" else (400, "Bad Request")
    body = {
        "request": _request(request),
        "response": {"status": {"code": status, "message": words}, "errors": list(_errors(error))},
    }
    return JSONResponse(body, status)


def _errors(error: HoldfastError) -> Iterator[dict[str, Any]]:
    """One for each refusal. Text and remedy in one message: these clients show nothing else."""
    for listed in error.details.get("refusals") or ():
        yield _error(listed["code"], _sentences(listed["text"], listed["remedy"]), listed.get("about"))
    for listed in error.details.get("problems") or ():
        code = listed.get("code", error.code)
        yield _error(code, f"{listed['field']}: {listed['problem']}", listed["field"])
    if not error.details.get("refusals") and not error.details.get("problems"):
        yield _error(error.code, _sentences(error.message, error.advice), error.about)


def _sentences(text: str, remedy: str) -> str:
    stop = "" if text.endswith((".", "!", "?")) else "."
    return f"{text}{stop} {remedy}"


def _error(code: str, message: str, field: str | None) -> dict[str, Any]:
    return {"code": code, "message": message, **({"field": field} if field else {})}


def _request(request: Request) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "url": request.url.path,
        "method": request.method,
        "timestamp": format_utc(datetime.now(UTC)),
    }

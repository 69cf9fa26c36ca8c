"""Errors as `application/problem+json` (RFC 9457): code, field, remedy, details, and the CLI's exit code."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import OperationalError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from holdfast.api.spot.envelope import is_spot, refused
from holdfast.core.errors import HoldfastError, InternalError, InvalidInput, NotFound
from holdfast.wiring import DatabaseAway

__all__ = ["add_handlers", "problem", "status_of"]

log = logging.getLogger("holdfast.api")


def status_of(error: HoldfastError) -> int:
    """A cloud that rejects our credential is no fault of the caller's token: never 401 or 403 for it."""
    if error.code.startswith("cloud.") and error.http_status in (401, 403):
        return 502
    return error.http_status


def problem(error: HoldfastError) -> dict[str, Any]:
    """The body. Details are JSON values without secrets, by the rule of `HoldfastError`."""
    return {
        "type": f"urn:holdfast:error:{error.code}",
        "title": (type(error).__doc__ or error.code).strip().splitlines()[0],
        "status": status_of(error),
        "code": error.code,
        "detail": error.message,
        "field": error.about,
        "remedy": error.advice,
        "retry": error.retry.value,
        "exit_code": error.exit_code,
        "details": error.details,
    }


def add_handlers(app: FastAPI) -> None:
    @app.exception_handler(HoldfastError)
    def known(request: Request, error: HoldfastError) -> Response:
        return _answer(request, error)

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        return _answer(request, _of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    def routing(request: Request, error: HTTPException) -> Response:
        if error.status_code == 404:
            return _answer(request, NotFound(kind="route", name=f"{request.method} {request.url.path}"))
        return _answer(request, InvalidInput(field="request", problem=str(error.detail)), error.status_code)

    @app.exception_handler(OperationalError)
    def database(request: Request, error: OperationalError) -> Response:
        log.error("database: %s", error.orig)
        return _answer(request, DatabaseAway())

    @app.exception_handler(Exception)
    def defect(request: Request, error: Exception) -> Response:
        log.exception("%s %s", request.method, request.url.path, exc_info=error)
        return _answer(request, InternalError(problem=type(error).__name__))  # its words may hold what is not ours


def _answer(request: Request, error: HoldfastError, status: int | None = None) -> Response:
    if is_spot(request.url.path):
        return refused(request, error)
    body = problem(error)
    body["status"] = status or body["status"]
    headers = {"WWW-Authenticate": "Bearer"} if body["status"] == 401 else None
    return JSONResponse(body, body["status"], headers, "application/problem+json")


def _of_validation(errors: Sequence[Any]) -> InvalidInput:
    """The first wrong field, and all of them in the details. What was sent is not repeated: it may be a secret."""
    if any(one.get("type") == "json_invalid" for one in errors):
        return InvalidInput(field="body", problem="is not JSON")
    listed = [{"field": ".".join(str(part) for part in one["loc"]), "problem": one["msg"]} for one in errors]
    first = listed[0] if listed else {"field": "body", "problem": "cannot be read"}
    return InvalidInput(field=first["field"], problem=first["problem"], problems=listed)

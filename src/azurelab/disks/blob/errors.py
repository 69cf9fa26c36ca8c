"""Errors as the storage service words them: a status, a code in `x-ms-error-code`, and an XML body."""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

__all__ = ["BlobError", "error_body"]


class BlobError(Exception):
    """Answered as it is. Codes: "Blob Storage error codes" and "Common REST API error codes" of the vendor.

    `details` become elements of the body beside Code and Message.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        headers: dict[str, str] | None = None,
        details: dict[str, str] | None = None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}
        self.details = details or {}


def error_body(code: str, message: str, request_id: str, time_text: str, details: Mapping[str, str]) -> bytes:
    text = escape(f"{message}\nRequestId:{request_id}\nTime:{time_text}")
    more = "".join(f"<{name}>{escape(value)}</{name}>" for name, value in details.items())
    return (
        f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message>{more}</Error>'
    ).encode()

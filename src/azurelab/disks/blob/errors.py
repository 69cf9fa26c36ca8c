"""Errors as the storage service words them: a status, a code in `x-ms-error-code`, and an XML body."""

from __future__ import annotations

from xml.sax.saxutils import escape

__all__ = ["BlobError", "error_body"]


class BlobError(Exception):
    """Answered as it is. Codes: "Blob Storage error codes" and "Common REST API error codes" of the vendor."""

    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.headers = headers or {}


def error_body(code: str, message: str, request_id: str, time_text: str) -> bytes:
    text = escape(f"{message}\nRequestId:{request_id}\nTime:{time_text}")
    return f'<?xml version="1.0" encoding="utf-8"?><Error><Code>{code}</Code><Message>{text}</Message></Error>'.encode()

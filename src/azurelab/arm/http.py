"""Requests and answers as values, and the little that ASGI needs to carry them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl, unquote

from azurelab.arm.errors import ArmError

__all__ = ["Call", "Principal", "Response", "json_bytes"]


def json_bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: `appid` and `oid` of the token; an opaque token is the lab's owner."""

    appid: str
    oid: str


@dataclass(slots=True)
class Call:
    """One request. `query` keys are lower case (`$expand`, `api-version`), header names too."""

    method: str
    path: str
    query: dict[str, str]
    headers: Mapping[str, str]
    raw: bytes
    base_url: str
    """Scheme and authority that the client used: polling URLs repeat it."""
    caller: Principal
    request_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    parsed: Any = None
    inner: bool = False
    """Made by azurelab itself (deployments, cascades): no roles, faults or throttling; seen through to its end."""

    @property
    def api_version(self) -> str:
        return self.query.get("api-version", "")

    @property
    def client_request_id(self) -> str:
        return self.headers.get("x-ms-client-request-id", "")

    @property
    def body(self) -> Any:
        """The JSON body; None when there is none. ArmError InvalidRequestContent when it is not JSON."""
        if self.parsed is None and self.raw.strip():
            try:
                # strict=False: az puts raw newlines of cloud-init files into template strings, and Azure takes them.
                self.parsed = json.loads(self.raw, strict=False)
            except ValueError as exc:
                raise ArmError(
                    400,
                    "InvalidRequestContent",
                    f"The request content was invalid and could not be deserialized: '{exc}'.",
                ) from exc
        return self.parsed

    @property
    def object(self) -> dict[str, Any]:
        """The body where an object is needed."""
        body = self.body
        if not isinstance(body, dict):
            raise ArmError(
                400,
                "InvalidRequestContent",
                "The request content was invalid and could not be deserialized: 'a JSON object was expected'.",
            )
        return body

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any], raw: bytes) -> Call:
        headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        query_text = scope["query_string"].decode("latin-1")
        # Keys compare without case ($skiptoken, $skipToken); values stay as sent.
        query = {k.lower(): v for k, v in parse_qsl(query_text, keep_blank_values=True)}
        host = headers.get("host", "127.0.0.1")
        return cls(
            method=scope["method"],
            path=unquote(scope["raw_path"].decode("latin-1").split("?")[0]) if "raw_path" in scope else scope["path"],
            query=query,
            headers=headers,
            raw=raw,
            base_url=f"{scope['scheme']}://{host}",
            caller=Principal("", ""),
        )


@dataclass(slots=True)
class Response:
    """An answer. `body` None = empty; bytes go out as they are (with their own content-type); else JSON."""

    status: int
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)

    def encode(self) -> tuple[bytes, list[tuple[bytes, bytes]]]:
        headers = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in self.headers.items()]
        if self.body is None:
            payload = b""
        elif isinstance(self.body, bytes):
            payload = self.body
        else:
            payload = json_bytes(self.body)
            headers.append((b"content-type", b"application/json; charset=utf-8"))
        if self.status != 204:
            headers.append((b"content-length", str(len(payload)).encode()))
        headers.append((b"date", formatdate(usegmt=True).encode()))
        return payload, headers

"""Requests to one address: a connection per thread, retries with back-off, renewal of an expired address.

Every retry of disk traffic lives here. A request is repeated after a lost or torn answer, after 408, 429 and 5xx, and
after 401/403 once the address has been renewed, and where either side finds the bytes damaged; ranged reads and page
writes may be repeated safely.
"""

from __future__ import annotations

import http.client
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from holdfast.disks.errors import AddressExpired, DiskNotFound, ServerRefused, TransferDamaged, WireBroken
from holdfast.disks.http.gate import gate_for
from holdfast.disks.model.locator import Locator

__all__ = ["Answer", "HttpClient", "Renew"]

Renew = Callable[[], Locator]
_TRIES = 8  # with the waits below about a minute of trouble is ridden out
_FIRST_WAIT_S, _MOST_WAIT_S = 0.2, 15.0
_TIMEOUT_S = 60.0
_AGAIN = (408, 429, 500, 502, 503, 504)
_THROTTLED = (429, 503)
# Codes of the storage service ("Common REST API error codes"): the body did not arrive as it was sent.
_DAMAGED = ("Crc64Mismatch", "Md5Mismatch")
# Azurite's 500 for a header that it does not know; the others of its 500s are worth another try.
_FINAL = ("FeatureNotSupported",)


@dataclass(frozen=True)
class Answer:
    """`body` is empty where it went into the caller's buffer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpClient:
    """All requests to the disk behind one locator. Safe to share between threads."""

    def __init__(
        self,
        locator: Locator,
        renew: Renew | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        tries: int = _TRIES,
    ) -> None:
        self._locator, self._renew, self._sleep, self._tries = locator, renew, sleep, tries
        self.name = locator.name
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()
        self._tls: ssl.SSLContext | None = None

    @property
    def endpoint(self) -> str:
        """Host and port of the present address."""
        return urlsplit(self._locator.address).netloc

    def request(
        self,
        method: str,
        *,
        query: str = "",
        headers: Mapping[str, str] | None = None,
        body: bytes | memoryview | None = None,
        into: memoryview | None = None,
        expected: tuple[int, ...] = (200,),
        check: Callable[[Mapping[str, str], memoryview | bytes], bool] | None = None,
        gated: bool = True,
        offset: int = 0,
    ) -> Answer:
        """One request, repeated as needed. `into` takes exactly its length of body. `check` is given headers and body
        of the answer and says whether they agree; `offset` is where the data stand, for the error's words.
        Raises DiskNotFound, ServerRefused, AddressExpired, WireBroken, TransferDamaged."""
        trouble: Exception | None = None
        renewed = False
        for attempt in range(self._tries):
            locator = self._locator
            try:
                answer = self._once(locator, method, query, dict(headers or {}), body, into, expected, gated)
            except (OSError, http.client.HTTPException, _Torn) as exc:
                self._drop()
                trouble = WireBroken(name=self.name, problem=f"{type(exc).__name__}: {exc}")
                self._wait(attempt, None)
                continue
            if answer.status in expected:
                if check is None or check(answer.headers, into if into is not None else answer.body):
                    return answer
                size_bytes = len(body or (into if into is not None else answer.body))
                trouble = TransferDamaged(name=self.name, offset=offset, size_bytes=size_bytes)
                self._wait(attempt, None)
                continue
            if answer.status in (401, 403):
                if renewed or not self._renewed(locator):
                    raise self._refusal(answer)
                renewed = True
                continue
            code = answer.headers.get("x-ms-error-code", "")
            if code in _DAMAGED:
                trouble = TransferDamaged(name=self.name, offset=offset, size_bytes=len(body or b""))
                self._wait(attempt, None)
                continue
            if answer.status not in _AGAIN or code in _FINAL:
                raise self._refusal(answer)
            wait_s = _retry_after(answer.headers)
            if answer.status in _THROTTLED:
                gate_for(urlsplit(locator.address).netloc).throttled(wait_s or 0.0)
            trouble = self._refusal(answer)
            self._wait(attempt, wait_s)
        assert trouble is not None
        raise trouble

    def _wait(self, attempt: int, told_s: float | None) -> None:
        """Exponential with full jitter; never less than the server told."""
        limit_s = min(_MOST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
        self._sleep(max(told_s or 0.0, random.uniform(limit_s / 4, limit_s)))

    def _renewed(self, used: Locator) -> bool:
        """Have the address renewed, once for all threads that found it expired. False if nobody can."""
        with self._lock:
            if self._locator is not used:
                return True
            if self._renew is None:
                return False
            self._locator = self._renew()
            return True

    def _refusal(self, answer: Answer) -> Exception:
        words = answer.body[:2000].decode(errors="replace")
        code = answer.headers.get("x-ms-error-code", "")
        if answer.status == 404:
            return DiskNotFound(kind="disk", name=self.name)
        if answer.status in (401, 403) and (code in ("", "AuthenticationFailed") or "time frame" in words):
            return AddressExpired(name=self.name)
        return ServerRefused(name=self.name, status=answer.status, problem=code or words[:300] or "no words")

    # -- one try -----------------------------------------------------------------------------------------------------

    def _once(
        self,
        locator: Locator,
        method: str,
        query: str,
        headers: dict[str, str],
        body: bytes | memoryview | None,
        into: memoryview | None,
        expected: tuple[int, ...],
        gated: bool,
    ) -> Answer:
        parts = urlsplit(locator.address)
        target = parts.path or "/"
        joined = "&".join(part for part in (parts.query, query) if part)
        if joined:
            target += "?" + joined
        if not gated:
            return self._exchange(parts.scheme, parts.netloc, method, target, headers, body, into, expected)
        gate = gate_for(parts.netloc)
        with gate.pass_through():
            answer = self._exchange(parts.scheme, parts.netloc, method, target, headers, body, into, expected)
        if answer.status in expected:
            gate.moved(len(body or b"") + len(into if into is not None else answer.body))
        return answer

    def _exchange(
        self,
        scheme: str,
        host: str,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes | memoryview | None,
        into: memoryview | None,
        expected: tuple[int, ...],
    ) -> Answer:
        connection = self._connection(scheme, host)
        connection.request(method, target, body, headers)
        response = connection.getresponse()
        told = {key.lower(): value for key, value in response.getheaders()}
        if into is None or response.status not in expected:
            data = response.read()
        else:
            data = b""
            _read_all(response, into)
        if told.get("connection", "").lower() == "close":
            self._drop()
        return Answer(response.status, told, data)

    def _connection(self, scheme: str, host: str) -> http.client.HTTPConnection:
        held: tuple[str, http.client.HTTPConnection] | None = getattr(self._local, "held", None)
        if held is not None and held[0] == f"{scheme}://{host}":
            return held[1]
        self._drop()
        if scheme == "https":
            with self._lock:
                self._tls = self._tls or ssl.create_default_context()
            made: http.client.HTTPConnection = http.client.HTTPSConnection(
                host, timeout=_TIMEOUT_S, context=self._tls, blocksize=1 << 20
            )
        else:
            made = http.client.HTTPConnection(host, timeout=_TIMEOUT_S, blocksize=1 << 20)
        made.connect()
        made.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._local.held = (f"{scheme}://{host}", made)
        with self._lock:
            self._open.add(made)
        return made

    def _drop(self) -> None:
        held = getattr(self._local, "held", None)
        if held is not None:
            held[1].close()
            self._local.held = None
            with self._lock:
                self._open.discard(held[1])

    def close(self) -> None:
        with self._lock:
            for connection in self._open:
                connection.close()
            self._open.clear()


class _Torn(Exception):
    """The answer's body was not as long as asked for."""


def _read_all(response: http.client.HTTPResponse, into: memoryview) -> None:
    at = 0
    while at < len(into):
        count = response.readinto(into[at:])
        if not count:
            raise _Torn(f"{at} of {len(into)} bytes came")
        at += count
    if response.read(1):
        raise _Torn("more bytes came than were asked for")


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds from Retry-After or x-ms-retry-after-ms; dates are not used by the servers that we ask."""
    for name, scale in (("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name, "")
        if value.replace(".", "", 1).isdigit():
            return float(value) * scale
    return None

"""Requests to one address: a connection per thread, retries with back-off, renewal of an expired address.

Every retry of disk traffic lives here. A request is repeated after a lost or torn answer, after 408, 429 and 5xx, and
after 401/403 once the address has been renewed, and where either side finds the bytes damaged; ranged reads and page
writes may be repeated safely. A server that restarts is waited for; one that was never there is not, for long.
"""

from __future__ import annotations

import http.client
import math
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from holdfast.disks.errors import AddressExpired, DiskNotFound, ServerRefused, TransferDamaged, WireBroken
from holdfast.disks.http.address import HttpAddress, http_address, words_of
from holdfast.disks.http.gate import gate_for
from holdfast.disks.http.told import require_range
from holdfast.disks.model.locator import Locator, shown

__all__ = ["Answer", "HttpClient", "Renew"]

Renew = Callable[[], Locator]
_TRIES = 8  # with the waits below about a minute of trouble is ridden out
_FIRST_WAIT_S, _MOST_WAIT_S = 0.2, 15.0
_TIMEOUT_S = 60.0
_STRANGER_S = 3.0  # patience with an endpoint that nobody has answered at yet: its address may well be wrong
_NOBODY_THERE = (ConnectionRefusedError, socket.gaierror, ssl.SSLCertVerificationError)
_REFUSAL_BYTES = 64 * 1024  # of a refusal's body, which may be the whole disk
_AGAIN = (408, 429, 500, 502, 503, 504)
_THROTTLED = (429, 503)
# Codes of the storage service ("Common REST API error codes"): the body did not arrive as it was sent.
_DAMAGED = ("Crc64Mismatch", "Md5Mismatch")
# Azurite's 500 for a header that it does not know; the others of its 500s are worth another try.
_FINAL = ("FeatureNotSupported",)

_answered: set[str] = set()  # endpoints (host and port) that have answered this process


@dataclass(frozen=True)
class Answer:
    """`body` is empty where it went into the caller's buffer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class _Asked:
    """One request. `offset`: where its data stand on the disk."""

    method: str
    query: str
    headers: dict[str, str]
    body: bytes | memoryview | None
    into: memoryview | None
    expected: tuple[int, ...]
    offset: int


class HttpClient:
    """All requests to the disk behind one locator. Safe to share between threads.

    Raises DiskUsage at once, here and for a renewed address, where the address is none that can be asked for.
    """

    def __init__(
        self,
        locator: Locator,
        renew: Renew | None = None,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        tries: int = _TRIES,
    ) -> None:
        self.name = locator.name
        self._address, self._renew, self._tries = http_address(locator), renew, tries
        self._sleep, self._monotonic = sleep, monotonic
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[http.client.HTTPConnection] = set()
        self._tls: ssl.SSLContext | None = None

    @property
    def endpoint(self) -> str:
        """Host and port of the present address."""
        return self._address.host

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
        """One request, repeated as needed. `into` takes exactly its length of body, and a 206 must say that this is of
        `offset`. `check` is given headers and body of the answer and says whether they agree.
        Raises DiskNotFound, ServerRefused, AddressExpired, WireBroken, TransferDamaged."""
        asked = _Asked(method, query, dict(headers or {}), body, into, expected, offset)
        trouble: Exception | None = None
        renewed = False
        began = self._monotonic()
        for attempt in range(self._tries):
            address = self._address
            try:
                answer = self._once(address, asked, gated)
            except (OSError, http.client.HTTPException, _Torn) as exc:
                self._drop()
                kind = "" if isinstance(exc, _Torn) else f"{type(exc).__name__}: "
                problem = words_of(f"{kind}{exc}", (address.address, *asked.headers.values()))
                trouble = WireBroken(name=self.name, problem=problem)
                left_s = _patience_s(exc, address.host, self._monotonic() - began)
                if left_s <= 0:
                    break
                self._wait(attempt, None, left_s)
                continue
            if answer.status in expected:
                if check is None or check(answer.headers, into if into is not None else answer.body):
                    return answer
                size_bytes = len(body or (into if into is not None else answer.body))
                trouble = TransferDamaged(name=self.name, offset=offset, size_bytes=size_bytes)
                self._wait(attempt, None)
                continue
            if answer.status in (401, 403):
                if renewed or not self._renewed(address):
                    raise self._refusal(answer, address, asked)
                renewed = True
                continue
            code = answer.headers.get("x-ms-error-code", "")
            if code in _DAMAGED:
                trouble = TransferDamaged(name=self.name, offset=offset, size_bytes=len(body or b""))
                self._wait(attempt, None)
                continue
            if answer.status not in _AGAIN or code in _FINAL:
                raise self._refusal(answer, address, asked)
            wait_s = _retry_after(answer.headers)
            if answer.status in _THROTTLED:
                gate_for(address.host).throttled(wait_s or 0.0)
            trouble = self._refusal(answer, address, asked)
            self._wait(attempt, wait_s)
        assert trouble is not None
        raise trouble

    def _wait(self, attempt: int, told_s: float | None, most_s: float = math.inf) -> None:
        """Exponential with full jitter; never less than the server told."""
        limit_s = min(_MOST_WAIT_S, _FIRST_WAIT_S * 2**attempt)
        self._sleep(min(most_s, max(told_s or 0.0, random.uniform(limit_s / 4, limit_s))))

    def _renewed(self, used: HttpAddress) -> bool:
        """Have the address renewed, once for all threads that found it expired. False if nobody can."""
        with self._lock:
            if self._address is not used:
                return True
            if self._renew is None:
                return False
            self._address = http_address(self._renew())
            return True

    def _refusal(self, answer: Answer, address: HttpAddress, asked: _Asked) -> Exception:
        """The error that an answer is. The server's words are in it, but no secret that it repeats."""
        secrets = (address.address, *asked.headers.values())
        words = words_of(answer.body.decode(errors="replace"), secrets)
        code = words_of(answer.headers.get("x-ms-error-code", ""), secrets)
        problem = code or words or "no words"
        if answer.status == 404:
            return DiskNotFound(kind="disk", name=self.name)
        if answer.status in (401, 403):
            if not address.is_signed:
                problem = f"it wants an authorization, and the address carries none ({problem})"
            elif code in ("", "AuthenticationFailed") or b"time frame" in answer.body:
                return AddressExpired(name=self.name)
        elif answer.status == 200 and asked.into is not None:
            problem = "all of the file, where a range of it was asked for"
        elif 300 <= answer.status < 400 and "location" in answer.headers:
            problem = "redirects are not followed; use the address that they end at" + _pointed_to(answer, address)
        return ServerRefused(name=self.name, status=answer.status, problem=problem)

    # -- one try -----------------------------------------------------------------------------------------------------

    def _once(self, address: HttpAddress, asked: _Asked, gated: bool) -> Answer:
        if not gated:
            return self._exchange(address, asked)
        gate = gate_for(address.host)
        with gate.pass_through():
            answer = self._exchange(address, asked)
        if answer.status in asked.expected:
            gate.moved(len(asked.body or b"") + len(asked.into if asked.into is not None else answer.body))
        return answer

    def _exchange(self, address: HttpAddress, asked: _Asked) -> Answer:
        connection = self._connection(address.scheme, address.host)
        target = address.target
        if asked.query:
            target += ("&" if "?" in target else "?") + asked.query
        connection.request(asked.method, target, asked.body, asked.headers)
        response = connection.getresponse()
        _answered.add(address.host)
        told = {key.lower(): value for key, value in response.getheaders()}
        data = b""
        if response.status not in asked.expected:
            data = _read_some(response, _REFUSAL_BYTES)
        elif asked.into is None:
            data = response.read()
        else:
            self._require_place(response.status, told, asked.offset, len(asked.into))
            _read_all(response, asked.into)
        if told.get("connection", "").lower() == "close" or not response.isclosed():
            self._drop()
        return Answer(response.status, told, data)

    def _require_place(self, status: int, told: Mapping[str, str], offset: int, size_bytes: int) -> None:
        """The body that is to come must be of the range that was asked for. A body that is not read is not awaited."""
        if status == 206:
            try:
                require_range(self.name, told, offset, offset + size_bytes)
            except ServerRefused:
                self._drop()
                raise
        elif offset:
            raise _Torn("all of it came where a range was asked for")

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


def _patience_s(trouble: Exception, host: str, spent_s: float) -> float:
    """Seconds that may still be spent on a server that is not reached: few before it has answered for the first time,
    and else as many as the tries take."""
    if host in _answered or not isinstance(trouble, _NOBODY_THERE):
        return math.inf
    return _STRANGER_S - spent_s


def _pointed_to(answer: Answer, address: HttpAddress) -> str:
    """Where a redirect leads, without what may be secret in it."""
    try:
        there = urljoin(address.address, answer.headers["location"])
    except ValueError:
        return ""
    return f" ({words_of(shown(there), (address.address,))})" if there.startswith(("http://", "https://")) else ""


def _read_some(response: http.client.HTTPResponse, most: int) -> bytes:
    """The beginning of a body. A torn one is noticed, for the next try may bring another answer."""
    left = response.length
    data = response.read(most)
    if left is not None and len(data) < min(left, most):
        raise _Torn(f"{len(data)} of {left} bytes came")
    return data


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

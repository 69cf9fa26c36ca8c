"""One request to Azure Resource Manager: budget, check, send, retry, translate, audit. Retries live here only.

What is retried, and why that is safe:

- a request that never left (no connection): always.
- a read: after any transient failure.
- 429, and 503 with Retry-After: Azure did not accept it, whatever the method.
- 401: once, with a new token. A token may be older than the provider's keys, or than the credential's rights.
- a resource that is busy with another change (409 and Network's 429): until `BUSY_LIMIT_S`.
- a change whose answer was lost, or ended in a 5xx: only where the caller says that sending it twice is as good as
  once (`resend=True`: PATCH, tags). Otherwise `LostAnswer` is raised and the caller reads what became of it.

Directly before each sending of a change, also on a retry, `call.check()` is asked: a worker that lost its lease, or an
operation that was cancelled, sends nothing more.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from holdfast import __version__
from holdfast.clouds.azure.budget import Budget, buckets_of
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.azure.errors import AzureError, LostAnswer, azure_error, translated
from holdfast.clouds.azure.identity import credential_for
from holdfast.clouds.errors import (
    CloudBusy,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    CloudUnreachable,
    CredentialRejected,
    EndpointUntrusted,
    ResourceMissing,
    Throttled,
)
from holdfast.clouds.protocols import Call, priority_of
from holdfast.core.clock import Clock
from holdfast.core.errors import InvalidInput

# Of OpenSSL: a certificate that does not verify, and a CA file without one.
_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "NO_CERTIFICATE_OR_CRL_FOUND")

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

__all__ = ["Answer", "Arm", "Audit", "CloudWrite", "client_request_id"]

CONNECT_TIMEOUT_S = 5.0
ATTEMPTS = 6  # of one request; with the waits below an outage of half a minute is bridged
MOST_WAIT_S = 10.0  # between two attempts; Retry-After may ask for more
BUSY_LIMIT_S = 180.0  # Azure keeps a freed NIC reserved for 180 s: the longest "busy" that ends by itself
THROTTLED_LIMIT_S = 900.0  # longest time that one request is kept back by 429 answers

_SAFE = ("GET", "HEAD")
_ID_SPACE = uuid.UUID("6b2a4c1e-52a7-4d55-9a41-1a5f3b1d5a20")  # ours; any constant will do


@dataclass(frozen=True)
class Answer:
    """status: 2xx. headers: names in lower case. body: parsed JSON, None for an empty one."""

    status: int
    headers: Mapping[str, str]
    body: Any

    @property
    def retry_after_s(self) -> float | None:
        return _retry_after_s(self.headers)


@dataclass(frozen=True)
class CloudWrite:
    """One sending of a change, for the audit log. Bodies are not in it: they may hold secrets.

    status None: no answer came. error: Azure's code where it refused.
    """

    at: datetime
    cloud: str
    operation: str
    key: str
    method: str
    path: str
    status: int | None
    error: str | None
    client_request_id: str
    service_request_id: str | None


Audit = Callable[[CloudWrite], None]


def client_request_id(call: Call) -> str:
    """The operation's 16 hex digits, in the form of a UUID that Azure demands; its tail tells the step."""
    digits = call.operation.removeprefix("op-")
    step = uuid.uuid5(_ID_SPACE, f"{call.operation}/{call.key}").hex
    if len(digits) != 16 or any(digit not in "0123456789abcdef" for digit in digits):
        digits = uuid.uuid5(_ID_SPACE, call.operation).hex[:16]
    return str(uuid.UUID(digits + step[:16]))


class Arm:
    """A client for one connection. Safe to share between threads; opens nothing before the first request."""

    def __init__(
        self,
        cloud: str,
        connection: AzureConnection,
        clock: Clock,
        audit: Audit,
        credential: TokenCredential | None = None,
    ) -> None:
        self._cloud = cloud
        self._connection = connection
        self._clock = clock
        self._audit = audit
        self._credential = credential
        self._client: Any = None
        self._opened_by_us: list[Any] = []
        self._lock = threading.Lock()
        known = connection.known_limits
        self.budget = Budget(clock, known if known is not None else not connection.is_custom)
        self.first_wait_s = 0.05 if connection.is_loopback else 0.5
        self._clock_offset: timedelta | None = None

    @property
    def subscription_path(self) -> str:
        return f"/subscriptions/{self._connection.subscription}"

    @property
    def clock_offset(self) -> timedelta | None:
        """Azure's time minus ours, from the Date header of the newest answer."""
        return self._clock_offset

    def get(self, path: str, *, call: Call | None = None) -> Answer:
        """Read a path (with its api-version) or one of Azure's own URLs."""
        return self._request("GET", path, None, {}, call, resend=True)

    def find(self, path: str, *, call: Call | None = None) -> Answer | None:
        """Like `get`; None where there is nothing."""
        try:
            return self.get(path, call=call)
        except ResourceMissing:
            return None

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """The items of a list, page by page."""
        following: str | None = path
        while following:
            body = self.get(following).body or {}
            yield from body.get("value") or ()
            following = body.get("nextLink")

    def change(
        self,
        call: Call,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        resend: bool = False,
    ) -> Answer:
        """Send a change. resend: whether sending it twice is the same as once. Raises LostAnswer where it is not."""
        return self._request(method, path, body, headers or {}, call, resend=resend)

    def close(self) -> None:
        with self._lock:
            for opened in self._opened_by_us:
                opened.close()
            self._opened_by_us.clear()
            self._client = None

    def _request(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None,
        headers: Mapping[str, str],
        call: Call | None,
        resend: bool,
    ) -> Answer:
        url = self._absolute(path)
        buckets = buckets_of(method, urlsplit(url)._replace(scheme="", netloc="").geturl())
        began = self._clock.now()
        failures = 0
        while True:
            pause = call.check if call is not None else _nothing
            self.budget.spend(buckets, priority_of(call), pause)
            try:
                return self._send_once(method, url, body, headers, call)
            except _Failed as failed:
                failures += 1
                spent_s = (self._clock.now() - began).total_seconds()
                if failed.kind is _Kind.THROTTLED:
                    self.budget.close(buckets, max(failed.retry_after_s or 0.0, self.first_wait_s))
                if failed.kind is _Kind.TOKEN_REFUSED:
                    self._forget_token()
                if not self._goes_on(failed, failures, spent_s, resend):
                    raise self._given_up(failed, method, path, resend) from failed.cause
                self._wait(failed, failures, call)

    def _goes_on(self, failed: _Failed, failures: int, spent_s: float, resend: bool) -> bool:
        match failed.kind:
            case _Kind.NEVER_SENT:
                return failures < ATTEMPTS
            case _Kind.TOKEN_REFUSED:
                return failures < 2
            case _Kind.UNKNOWN:
                return resend and failures < ATTEMPTS
            case _Kind.BUSY:
                return spent_s < BUSY_LIMIT_S
            case _Kind.THROTTLED:
                return spent_s < THROTTLED_LIMIT_S
            case _:
                return False

    def _given_up(self, failed: _Failed, method: str, path: str, resend: bool) -> CloudError:
        if failed.kind is _Kind.UNKNOWN and not resend:
            error = failed.error
            return LostAnswer(method=method, **{**error.details, "ref": path.partition("?")[0]})
        return failed.error

    def _wait(self, failed: _Failed, failures: int, call: Call | None) -> None:
        wait_s = min(MOST_WAIT_S, self.first_wait_s * 2 ** (failures - 1))
        left_s = max(wait_s, failed.retry_after_s or 0.0)
        while left_s > 0:
            if call is not None:
                call.check()
            self._clock.sleep(min(left_s, 1.0))
            left_s -= 1.0

    def _send_once(
        self, method: str, url: str, body: Mapping[str, Any] | None, headers: Mapping[str, str], call: Call | None
    ) -> Answer:
        from azure.core.exceptions import AzureError as AzureCoreError
        from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
        from azure.core.rest import HttpRequest

        path = urlsplit(url).path
        sent_as = client_request_id(call) if call is not None else str(uuid.uuid4())
        request = HttpRequest(method, url, headers={**headers, "x-ms-client-request-id": sent_as}, json=body)
        options: dict[str, Any] = {"connection_timeout": CONNECT_TIMEOUT_S, "read_timeout": self._connection.timeout_s}
        if url.startswith("http:"):
            options["enforce_https"] = False  # loopback only: the connection refuses any other http endpoint
        is_change = method not in _SAFE
        if self._connection.is_loopback:
            options["proxies"] = {"http": None, "https": None, "all": None}  # none stands before our own loopback
        if is_change:
            if call is None:
                raise ValueError("a change needs a call")
            options["check"] = call.check  # asked by the last policy: after the token, which may take long to get
        client = self._opened()
        try:
            response = client.send_request(request, **options)
        except ClientAuthenticationError as exc:
            raise _no_token(exc, path) from exc
        except ServiceRequestError as exc:
            raise _not_sent("NoConnection", exc, path) from exc
        except AzureCoreError as exc:
            if is_change and call is not None:
                self._record(call, method, path, None, "AnswerLost", sent_as, None)
            lost = CloudUnavailable(cloud_code="AnswerLost", message=_words(exc), ref=path)
            raise _Failed(_Kind.UNKNOWN, lost, cause=exc) from exc
        return self._judged(response, method, path, call, sent_as)

    def _judged(self, response: Any, method: str, path: str, call: Call | None, sent_as: str) -> Answer:
        found = {name.lower(): value for name, value in response.headers.items()}
        self.budget.learn(found)
        self._note_time(found)
        status = int(response.status_code)
        content: bytes = response.content
        refusal = azure_error(content, status) if status >= 400 else None
        if method not in _SAFE and call is not None:
            code = refusal.code if refusal else None
            self._record(call, method, path, status, code, sent_as, found.get("x-ms-request-id"))
        if refusal is None:
            return Answer(status, found, _parsed(content))
        error = translated(refusal, status, path)
        raise _Failed(_kind_of(status, error, refusal, found), error, _retry_after_s(found))

    def _record(
        self,
        call: Call,
        method: str,
        path: str,
        status: int | None,
        error: str | None,
        sent_as: str,
        service_id: str | None,
    ) -> None:
        at = self._clock.now()
        self._audit(
            CloudWrite(at, self._cloud, call.operation, call.key, method, path, status, error, sent_as, service_id)
        )

    def _note_time(self, headers: Mapping[str, str]) -> None:
        told = headers.get("date")
        if told is None:
            return
        try:
            self._clock_offset = parsedate_to_datetime(told).astimezone(UTC) - self._clock.now()
        except ValueError:
            return  # a Date header that is no date tells nothing about the clock

    def _absolute(self, path: str) -> str:
        """The full URL. Azure's own URLs (nextLink, operations) are followed on the endpoint's host only: a token must
        reach nobody else."""
        if path.startswith("/"):
            return self._connection.base_url + path
        base, asked = urlsplit(self._connection.base_url), urlsplit(urljoin(self._connection.base_url, path))
        same_host = asked.hostname == base.hostname or (asked.hostname or "").endswith(f".{base.hostname}")
        if asked.scheme != base.scheme or not same_host:
            raise CloudRefused(
                cloud_code="ForeignUrl", message=f"Azure pointed to {asked.scheme}://{asked.netloc}", ref=asked.path
            )
        return asked.geturl()

    def _forget_token(self) -> None:
        """The next request opens a client of its own; this one is closed at the end, others may be sending with it."""
        with self._lock:
            self._client = None

    def _opened(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = self._open()
            return self._client

    def _open(self) -> Any:
        import logging

        import requests
        from azure.core import PipelineClient
        from azure.core.pipeline import Pipeline
        from azure.core.pipeline.policies import HeadersPolicy, UserAgentPolicy
        from azure.core.pipeline.transport import RequestsTransport
        from azure.mgmt.core.policies import ARMChallengeAuthenticationPolicy
        from urllib3.util.retry import Retry

        logging.getLogger("azure.identity").setLevel(logging.ERROR)  # its warnings repeat what we raise
        session = requests.Session()
        # Hundreds of operations wait at once: with the default of 10 kept connections most would open a new one.
        adapter = requests.adapters.HTTPAdapter(
            pool_connections=4, pool_maxsize=64, max_retries=Retry(total=False, redirect=False, raise_on_status=False)
        )
        if self._connection.is_loopback and self._connection.ca_file:
            session.trust_env = False  # nothing of the environment is needed, and looking costs a fifth of each request
        session.mount("https://", adapter)
        session.mount("http://", adapter)
        credential = self._credential
        if credential is None:
            credential = credential_for(self._connection)
            self._opened_by_us.append(credential)  # it keeps connections of its own
        policies: list[Any] = [
            HeadersPolicy({"Accept": "application/json"}),
            UserAgentPolicy(base_user_agent=f"holdfast/{__version__}"),
            ARMChallengeAuthenticationPolicy(credential, self._connection.scope),
            _last_check(),
        ]
        ca_file = self._connection.ca_file
        if ca_file and not Path(ca_file).is_file():
            raise InvalidInput(field="ca_file", problem=f"there is no file {ca_file}")
        verify: str | bool = ca_file or True
        transport = RequestsTransport(session=session, connection_verify=verify)
        client: Any = PipelineClient(self._connection.base_url, pipeline=Pipeline(transport, policies))
        self._opened_by_us.append(client)
        return client


def _last_check() -> Any:
    """The policy that asks the call's `check` directly before the request leaves, also when a challenge repeats it."""
    from azure.core.pipeline.policies import SansIOHTTPPolicy

    class LastCheck(SansIOHTTPPolicy[Any, Any]):
        def on_request(self, request: Any) -> None:
            check = request.context.options.pop("check", None) or request.context.get("check")
            if check is not None:
                request.context["check"] = check
                check()

    return LastCheck()


class _Kind:
    """What a failure says about the request."""

    NEVER_SENT = "never sent"
    TOKEN_REFUSED = "token refused"
    UNKNOWN = "unknown"
    THROTTLED = "throttled"
    BUSY = "busy"
    REFUSED = "refused"


class _Failed(Exception):
    def __init__(
        self, kind: str, error: CloudError, retry_after_s: float | None = None, cause: Exception | None = None
    ) -> None:
        super().__init__(kind)
        self.kind, self.error, self.retry_after_s, self.cause = kind, error, retry_after_s, cause


def _no_token(exc: Any, path: str) -> _Failed:
    """The identity provider gave no token: it said no, or it could not be asked. The request itself was not sent."""
    from azure.core.exceptions import ServiceRequestError, ServiceResponseError

    cause = exc.__cause__ or exc.__context__
    status = getattr(exc.response, "status_code", 0)
    if status == 429 or status >= 500 or isinstance(cause, (ServiceRequestError, ServiceResponseError)):
        if status:
            unavailable = CloudUnavailable(cloud_code="NoToken", message=_words(exc), ref=path)
            return _Failed(_Kind.NEVER_SENT, unavailable, cause=exc)
        return _not_sent("NoToken", exc, path)
    rejected = CredentialRejected(cloud_code=type(exc).__name__, message=_words(exc), ref=path)
    # A provider that does not describe itself (MSAL's ValueError): a wrong tenant or an outage, worth a few tries.
    kind = _Kind.NEVER_SENT if isinstance(cause, ValueError) else _Kind.REFUSED
    return _Failed(kind, rejected, cause=exc)


def _not_sent(code: str, exc: Exception, path: str) -> _Failed:
    """No connection. A certificate that is not trusted does not become so by trying again."""
    words = _words(exc)
    if any(mark in str(exc) for mark in _UNTRUSTED):
        return _Failed(_Kind.REFUSED, EndpointUntrusted(cloud_code=code, message=words, ref=path), cause=exc)
    return _Failed(_Kind.NEVER_SENT, CloudUnreachable(cloud_code=code, message=words, ref=path), cause=exc)


def _kind_of(status: int, error: CloudError, said: AzureError, headers: Mapping[str, str]) -> str:
    if status == 401:
        return _Kind.TOKEN_REFUSED
    if isinstance(error, CloudBusy):
        return _Kind.BUSY
    if status == 429 or isinstance(error, Throttled):
        return _Kind.THROTTLED
    if status == 503 and "retry-after" in headers:
        return _Kind.THROTTLED
    if status == 408 or status >= 500:
        return _Kind.REFUSED if status == 501 else _Kind.UNKNOWN
    return _Kind.REFUSED


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Seconds, from a number or an HTTP date; None where it is absent or not readable."""
    told = headers.get("retry-after")
    if told is None:
        return None
    try:
        return max(0.0, float(told))
    except ValueError:
        pass  # not a number: the header may also be a date
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - time.time())
    except ValueError:
        return None


def _parsed(content: bytes) -> Any:
    if not content.strip():
        return None
    try:
        return json.loads(content)
    except ValueError as exc:
        error = CloudUnavailable(cloud_code="NotJson", message=f"an answer that is not JSON: {exc}", ref=None)
        raise _Failed(_Kind.UNKNOWN, error, cause=exc) from exc


def _words(exc: Exception) -> str:
    return str(exc).strip()[:500] or type(exc).__name__


def _nothing() -> None:
    """Reads without a call are never cancelled."""

"""Azure Resource Manager over HTTP in front of a `FakeCloud`: long-running operations, faults on the wire, a log.

Plain HTTP on loopback. It knows as much of ARM as the client asks for; azurelab is the judge of fidelity, this is the
place where an answer can be lost at will.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from azure.core.credentials import AccessToken

from fakes.call import FakeCall
from fakes.cloud import MACHINES, SUBSCRIPTION, FakeCloud
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import ChangedMeanwhile, CloudError, NoCapacity, ResourceMissing
from holdfast.clouds.protocols import Claim, ClaimReason, Power, PowerLevel
from holdfast.core.errors import NotFound
from holdfast.core.tags import OPERATION

ACTIONS = {"start": PowerLevel.RUNNING, "poweroff": PowerLevel.STOPPED, "deallocate": PowerLevel.DEALLOCATED}
_STATES = {
    Power.RUNNING: "PowerState/running",
    Power.STOPPED: "PowerState/stopped",
    Power.DEALLOCATED: "PowerState/deallocated",
    Power.CHANGING: "PowerState/deallocating",
}


class StaticCredential:
    """A token that needs nobody to ask for."""

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        return AccessToken("static", 4102444800)


@dataclass
class WireFault:
    """For the next `times` requests of `method` whose path contains `about`.

    kind: `refuse` (answer `status` with `code`, nothing happens), `lose` (it happens, the connection breaks), `drop`
    (nothing happens, the connection breaks), `fail` (it happens, and the operation says that it failed with `code`),
    `half` (like `fail`, and a resource that was PUT says so too).
    """

    method: str
    about: str
    kind: str
    status: int = 500
    code: str = "InternalServerError"
    message: str = "as the test asked"
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1


@dataclass
class Seen:
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class _Operation:
    polls_left: int
    resource: str
    error: tuple[str, str] | None = None


class _Lost(Exception):
    pass


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(code)
        self.status, self.code, self.message, self.headers = status, code, message, headers or {}


class FakeArm:
    """polls: how often an operation says InProgress before it is done. async_capacity: NoCapacity comes from the
    operation and leaves a Failed machine behind, as Azure often does, instead of refusing the request."""

    def __init__(self, cloud: FakeCloud, *, polls: int = 0, async_capacity: bool = False) -> None:
        self.cloud = cloud
        self.polls = polls
        self.async_capacity = async_capacity
        self.faults: list[WireFault] = []
        self.seen: list[Seen] = []
        self.headers: dict[str, str] = {}  # added to every answer
        self.page_size = 1000
        self.permissions: list[dict[str, Any]] = [{"actions": ["*"], "notActions": []}]
        self.registration = {"microsoft.compute": "Registered", "microsoft.network": "Registered"}
        self.price_items: list[dict[str, Any]] = []
        self._operations: dict[str, _Operation] = {}
        self._failing: WireFault | None = None
        self._numbers = itertools.count(1)
        self._lock = threading.RLock()
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[FakeArm]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def _serve(self) -> None:
                fake._serve(self)

            do_GET = do_PUT = do_PATCH = do_POST = do_DELETE = do_HEAD = _serve  # noqa: N815 - http.server's names

            def log_message(self, *_: object) -> None:
                """Silent: the request log is `seen`."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        self.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def changes(self) -> list[tuple[str, str]]:
        """(method, last part of the path) of all changes seen on the wire."""
        return [(one.method, one.path.rsplit("/", 1)[-1]) for one in self.seen if one.method != "GET"]

    # ------------------------------------------------------------------------------------------------------ the wire

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {key: values[-1] for key, values in parse_qs(parts.query, keep_blank_values=True).items()}
        length = int(handler.headers.get("content-length") or 0)
        raw = handler.rfile.read(length) if length else b""
        request = Seen(
            handler.command,
            unquote(parts.path),
            query,
            {key.lower(): value for key, value in handler.headers.items()},
            json.loads(raw) if raw else None,
        )
        try:
            with self._lock:
                self.seen.append(request)
                fault = self._fault(request)
                if fault is not None and fault.kind == "drop":
                    raise _Lost
                if fault is not None and fault.kind == "refuse":
                    raise _Refused(fault.status, fault.code, fault.message, fault.headers)
                self._failing = fault if fault is not None and fault.kind in ("fail", "half") else None
                status, headers, body = self._answer(request)
                if fault is not None and fault.kind == "lose":
                    raise _Lost
        except _Lost:
            handler.close_connection = True
            handler.connection.close()
            return
        except _Refused as exc:
            status, headers = exc.status, exc.headers
            body = {"error": {"code": exc.code, "message": exc.message}}
        except (ResourceMissing, NotFound) as exc:
            status, headers, body = 404, {}, {"error": {"code": "ResourceNotFound", "message": str(exc)}}
        except ChangedMeanwhile as exc:
            status, headers, body = 412, {}, {"error": {"code": "PreconditionFailed", "message": str(exc)}}
        except CloudError as exc:
            error = {"code": exc.details["cloud_code"], "message": exc.details["message"]}
            status, headers, body = 409, {}, {"error": error}
        self._send(handler, status, headers, body)

    def _send(self, handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: Any) -> None:
        content = b"" if body is None else json.dumps(body).encode()
        handler.send_response_only(status)
        now = self.cloud.clock.now()
        for key, value in {"Date": format_datetime(now, usegmt=True), **self.headers, **headers}.items():
            handler.send_header(key, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _fault(self, request: Seen) -> WireFault | None:
        for fault in self.faults:
            if fault.times > 0 and fault.method == request.method and fault.about.lower() in request.path.lower():
                fault.times -= 1
                return fault
        return None

    # ----------------------------------------------------------------------------------------------------- the answers

    def _answer(self, request: Seen) -> tuple[int, dict[str, str], Any]:
        path = request.path.rstrip("/")
        lower = path.lower()
        if lower.startswith("/operations/"):
            return self._operation(lower.rsplit("/", 1)[-1])
        if lower == "/api/retail/prices":
            return 200, {}, self._price_page(int(request.query.get("page", "0")))
        if lower == f"/subscriptions/{SUBSCRIPTION}":
            return 200, {}, {"id": path, "state": "Enabled"}
        if lower.endswith("/providers/microsoft.resources/tags/default"):
            return self._tags(request, path[: -len("/providers/microsoft.resources/tags/default")])
        if lower.endswith("/microsoft.authorization/permissions"):
            return 200, {}, {"value": self.permissions}
        if lower.endswith("/microsoft.authorization/locks"):
            return 200, {}, {"value": [lock.body for lock in self.cloud.locks]}
        if lower.endswith("/microsoft.authorization/roleassignments"):
            return 200, {}, {"value": [role.body for role in self.cloud.role_assignments]}
        if lower.endswith("/microsoft.compute/skus"):
            location = request.query.get("$filter", "").removeprefix("location eq ").strip("'")
            disks = {"resourceType": "disks", "name": "Premium_LRS"}
            return 200, {}, {"value": [*self.cloud.sizes(location), disks]}
        if lower.endswith("/usages"):
            rows = [{"name": {"value": h.name}, "currentValue": h.used, "limit": h.limit} for h in self.cloud.quota]
            return 200, {}, {"value": rows}
        if lower.rsplit("/", 1)[-1] in self.registration:
            return 200, {}, {"registrationState": self.registration[lower.rsplit("/", 1)[-1]]}
        parts = path.split("/")
        if len(parts) == 6 or (len(parts) == 8 and "resourcegroups" in lower) or lower.endswith("/extensions"):
            return self._list(request, path)
        return self._resource(request, path)

    def _list(self, request: Seen, path: str) -> tuple[int, dict[str, str], Any]:
        group = path.split("/")[4] if "/resourcegroups/" in path.lower() and not path.endswith("extensions") else None
        kind = path.rsplit("/providers/", 1)[-1]
        above = path.removesuffix("/extensions").lower() + "/" if path.endswith("/extensions") else ""
        kind = "Microsoft.Compute/virtualMachines/extensions" if above else kind
        refs = [
            ref for ref in self.cloud.refs(kind) if group is None or f"/resourcegroups/{group.lower()}/" in ref.lower()
        ]
        refs = [ref for ref in refs if ref.lower().startswith(above)]
        for ref in refs:
            self._count_down(ref)
        items = [self._body(ref) for ref in refs]
        if request.query.get("statusOnly") == "true":
            items = [{"id": item["id"], "properties": {"instanceView": self._view(item["id"])}} for item in items]
        start = int(request.query.get("$skiptoken", "0"))
        page: dict[str, Any] = {"value": items[start : start + self.page_size]}
        if start + self.page_size < len(items):
            query = "&".join(f"{k}={v}" for k, v in {**request.query, "$skiptoken": start + self.page_size}.items())
            page["nextLink"] = f"{self.url}{path}?{query}"
        return 200, {}, page

    def _resource(self, request: Seen, path: str) -> tuple[int, dict[str, str], Any]:
        last = path.rsplit("/", 1)[-1].lower()
        if last == "instanceview":
            self._count_down(path.rsplit("/", 1)[0])
            return 200, {}, self._view(path.rsplit("/", 1)[0])
        if request.method == "POST":
            machine = path.rsplit("/", 1)[0]
            self.cloud.power(self._call(request), machine, ACTIONS[last])
            return 202, self._began(machine), None
        if request.method == "GET":
            self._count_down(path)
            body = self._body(path)
            return 200, {"ETag": body["etag"]}, body
        if request.method == "PUT":
            return self._put(request, path)
        if request.method == "PATCH":
            self.cloud.patch(self._call(request), path, request.body)
            return 200, self._began(path), self._body(path)
        found = self.cloud.read(path)
        if found is None:
            return 204, {}, None
        self.cloud.delete(self._call(request), _claim(found))
        return 202, self._began(path), None

    def _put(self, request: Seen, path: str) -> tuple[int, dict[str, str], Any]:
        there = self.cloud.read(path)
        if there is not None and request.headers.get("if-none-match") == "*":
            raise _Refused(412, "PreconditionFailed", "it exists")
        if there is not None:
            if_match = request.headers.get("if-match")
            self.cloud.write(self._call(request), Document(there.ref, there.type, "", request.body, etag=if_match))
            return 200, self._began(path), self._body(path)
        kind = path.split("/providers/", 1)[1].rsplit("/", 1)[0]
        try:
            self.cloud.ensure(self._call(request), Document(path, kind, "", request.body))
        except NoCapacity as exc:
            if not self.async_capacity:
                raise
            self._leave_failed(request, path, kind)
            error = (exc.details["cloud_code"], exc.details["message"])
            return 201, self._began(path, error), self._body(path)
        return 201, self._began(path), self._body(path)

    def _leave_failed(self, request: Seen, path: str, kind: str) -> None:
        out, self.cloud.capacity_out = self.cloud.capacity_out, set()
        self.cloud.ensure(self._call(request), Document(path, kind, "", request.body))
        self.cloud.capacity_out = out
        self.cloud.events.pop()
        self.cloud.set_power(path, Power.UNKNOWN)
        self.cloud.change(path, "properties.provisioningState", "Failed")

    def _began(self, resource: str, error: tuple[str, str] | None = None) -> dict[str, str]:
        name = str(next(self._numbers))
        if self._failing is not None:
            error = (self._failing.code, self._failing.message)
            if self._failing.kind == "half" and self._failing.method == "PUT" and self.cloud.exists(resource):
                self.cloud.change(resource, "properties.provisioningState", "Failed")
        self._operations[name] = _Operation(self.polls, resource.lower(), error)
        if self.polls and self.cloud.exists(resource) and error is None:
            self.cloud.change(resource, "properties.provisioningState", "Updating")
        return {"Azure-AsyncOperation": f"{self.url}/operations/{name}?api-version=1", "Retry-After": "0"}

    def _operation(self, name: str) -> tuple[int, dict[str, str], Any]:
        operation = self._operations[name]
        if operation.polls_left > 0:
            self._count_down(operation.resource)
            return 200, {}, {"name": name, "status": "InProgress"}
        if operation.error is not None:
            code, message = operation.error
            return 200, {}, {"name": name, "status": "Failed", "error": {"code": code, "message": message}}
        return 200, {}, {"name": name, "status": "Succeeded"}

    def _count_down(self, resource: str) -> None:
        mine = [op for op in self._operations.values() if op.resource == resource.lower() and op.polls_left > 0]
        for operation in mine:
            operation.polls_left -= 1
            if operation.polls_left == 0 and self.cloud.exists(resource) and operation.error is None:
                self.cloud.change(resource, "properties.provisioningState", "Succeeded")

    def _tags(self, request: Seen, resource: str) -> tuple[int, dict[str, str], Any]:
        if request.method == "PATCH":
            tags = request.body["properties"]["tags"]
            if request.body["operation"] == "Merge":
                self.cloud.mark(self._call(request), resource, tags)
            else:
                self.cloud.unmark(self._call(request), resource, list(tags))
        found = self.cloud.read(resource)
        if found is None:
            raise _Refused(404, "ResourceNotFound", "no such resource")
        return 200, {}, {"properties": {"tags": found.tags}}

    def _price_page(self, number: int) -> dict[str, Any]:
        pages = [self.price_items[i : i + 2] for i in range(0, len(self.price_items), 2)] or [[]]
        following = f"{self.url}/api/retail/prices?page={number + 1}" if number + 1 < len(pages) else None
        return {"Items": pages[number], "NextPageLink": following, "Count": len(pages[number])}

    def _body(self, ref: str) -> dict[str, Any]:
        found = self.cloud.read(ref)
        if found is None:
            raise _Refused(404, "ResourceNotFound", f"The Resource '{ref}' was not found.")
        return {**found.body, "etag": found.etag}

    def _view(self, ref: str) -> dict[str, Any]:
        power, agent = self.cloud.power_of(ref)
        statuses = [{"code": "ProvisioningState/succeeded"}]
        if power in _STATES:
            statuses.append({"code": _STATES[power]})
        if ref.lower() in self.cloud.generalized:
            statuses.append({"code": "OSState/generalized"})
        view: dict[str, Any] = {"statuses": statuses}
        if agent != "absent":
            shown = "Ready" if agent == "ready" else "Not Ready"
            view["vmAgent"] = {"statuses": [{"code": "ProvisioningState/succeeded", "displayStatus": shown}]}
        return view

    def _call(self, request: Seen) -> FakeCall:
        return FakeCall(clock=self.cloud.clock)


def _claim(found: Document) -> Claim:
    """What HTTP's DELETE means: whatever has that name now."""
    operation = found.tags.get(OPERATION, "")
    return Claim(found.ref, found.identity, ClaimReason.OURS, operation)


__all__ = ["MACHINES", "FakeArm", "Seen", "StaticCredential", "WireFault"]

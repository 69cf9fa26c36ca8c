"""The soak's cloud: lives outside the workers, so that it survives them, and misbehaves as clouds do.

A request takes 20 to 200 ms on both sides of its effect, so kills fall on either side. Some are throttled, some fail
after their effect, some answers are lost. What must never happen is checked at every event, not only at the end.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from holdfast.core.errors import HoldfastError, Retry
from holdfast.engine import Call, NextChoice

__all__ = ["CloudClient", "CloudServer", "NoCapacity"]


class Throttled(HoldfastError):
    """Too many requests."""

    code, retry = "soak.throttled", Retry.LATER


class AnswerLost(HoldfastError):
    """The effect may have landed."""

    code, retry = "soak.answer_lost", Retry.NOW


class NoCapacity(NextChoice, HoldfastError):
    """This market is sold out."""

    code, retry = "soak.no_capacity", Retry.LATER


class CloudRefused(HoldfastError):
    """For good."""

    code = "soak.refused"
    text = "{what}"


@dataclass(frozen=True)
class Faults:
    throttled: float = 0.12
    lost: float = 0.03
    failed_after: float = 0.02
    slowest_s: float = 0.2
    fastest_s: float = 0.02


@dataclass
class CloudState:
    """Names are `<import>/<part>`; a machine part is `original` or `node`, and has power."""

    parts: dict[str, bool] = field(default_factory=dict)  # name → running (False for what has no power)
    tags: dict[str, str] = field(default_factory=dict)
    effects: Counter[str] = field(default_factory=Counter)
    requests: int = 0
    violations: list[str] = field(default_factory=list)

    def apply(self, verb: str, name: str, value: str) -> None:
        if verb == "put":
            if name not in self.parts:
                self.effects[name] += 1
            self.parts[name] = self.parts.get(name, False) or value == "on"
        elif verb == "power":
            if name in self.parts:
                self.parts[name] = value == "on"
        elif verb == "delete":
            self.parts.pop(name, None)
            self.tags.pop(name, None)
        elif verb == "tag" and name in self.parts:
            if value:
                self.tags[name] = value
            else:
                self.tags.pop(name, None)
        owner = name.split("/")[0]
        if self.parts.get(f"{owner}/original") and any(
            running for part, running in self.parts.items() if part.startswith(f"{owner}/node")
        ):
            self.violations.append(f"{owner}: original and node run at the same time after {verb} {name}")
        if f"{owner}/original" not in self.parts and not any(part.startswith(f"{owner}/node") for part in self.parts):
            self.violations.append(f"{owner}: no machine is left after {verb} {name}")


class CloudServer:
    """HTTP on loopback, in threads of the test's own process."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.state = CloudState()
        self.lock = threading.Lock()
        self.faults = faults or Faults()
        self.refuse_deletes = False
        self._random = random.Random(seed)
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status, answer = server.serve(body)
                if status == 0:
                    self.close_connection = True
                    return
                content = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

            def handle_error(self, request: Any, client_address: Any) -> None:
                """A worker was killed while it waited for its answer: that is what the soak is for."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self.port = int(self._http.server_address[1])
        self._thread = threading.Thread(target=self._http.serve_forever, daemon=True)

    def __enter__(self) -> CloudServer:
        self._thread.start()
        return self

    def __exit__(self, *args: object) -> None:
        self._http.shutdown()
        self._http.server_close()

    def serve(self, body: dict[str, str]) -> tuple[int, Any]:
        verb, name = body["verb"], body["name"]
        with self.lock:
            if verb == "get":
                return 200, {"exists": name in self.state.parts, "running": self.state.parts.get(name, False)}
            if verb == "list":
                found = {part: on for part, on in self.state.parts.items() if part.startswith(name)}
                return 200, found
            fate = self._random.random()
            before = self._random.uniform(self.faults.fastest_s, self.faults.slowest_s)
            after = self._random.uniform(self.faults.fastest_s, self.faults.slowest_s)
            self.state.requests += 1
        time.sleep(before)
        if fate < self.faults.throttled:
            return 429, {}
        if verb == "delete" and self.refuse_deletes:
            return 409, {"what": f"{name} is locked"}
        with self.lock:
            self.state.apply(verb, name, body.get("value", ""))
        time.sleep(after)
        fate -= self.faults.throttled
        if fate < self.faults.lost:
            return 0, {}
        if fate < self.faults.lost + self.faults.failed_after:
            return 500, {}
        return 200, {}


class CloudClient:
    """What a worker calls. `check` comes directly before each mutating request leaves."""

    def __init__(self, port: int) -> None:
        self._port = port

    def put(self, call: Call[Any], name: str, value: str = "") -> None:
        self._send(call, "put", name, value)

    def power(self, call: Call[Any], name: str, on: bool) -> None:
        self._send(call, "power", name, "on" if on else "off")

    def delete(self, call: Call[Any], name: str) -> None:
        self._send(call, "delete", name)

    def tag(self, call: Call[Any], name: str, value: str) -> None:
        self._send(call, "tag", name, value)

    def running(self, name: str) -> bool:
        return bool(self._request("get", name)["running"])

    def parts(self, prefix: str) -> dict[str, bool]:
        found: dict[str, bool] = self._request("list", prefix)
        return found

    def _send(self, call: Call[Any], verb: str, name: str, value: str = "") -> None:
        call.check()
        self._request(verb, name, value)

    def _request(self, verb: str, name: str, value: str = "") -> Any:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=10)
        try:
            connection.request("POST", "/", json.dumps({"verb": verb, "name": name, "value": value}))
            answer = connection.getresponse()
            body = json.loads(answer.read() or b"{}")
        except (OSError, HTTPException) as exc:
            raise AnswerLost from exc
        finally:
            connection.close()
        if answer.status == 429:
            raise Throttled
        if answer.status == 500:
            raise AnswerLost
        if answer.status == 409:
            raise CloudRefused(**body)
        return body

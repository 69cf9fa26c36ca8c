"""Replays recorded traffic of real clients and real Azure against a lab, and says what differs.

Compared pair by pair: the status code, whether Azure-AsyncOperation and Location are there, and the JSON key paths of
the answer (the recorded ones must be among ours). Poll addresses are the server's own: each recorded one is mapped to
ours, which is polled to its end instead of repeating the recorded number of polls.
"""

from __future__ import annotations

import ast
import gzip
import json
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import yaml

SHARED = Path(os.environ.get("HOLDFAST_SHARED", Path(__file__).parents[4] / "shared"))
FOLDER = SHARED / "contracts" / "recordings"
RECORDED_HOST = "https://management.azure.com"
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Pair:
    """One recorded request and its answer; header names in lower case."""

    at: int
    method: str
    url: str
    body: Any
    status: int
    headers: dict[str, str]
    answer: Any
    request_headers: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return self.url.split("?")[0]


@dataclass
class Difference:
    file: str
    pair: Pair
    kind: str
    """status, headers or keys."""
    text: str

    def __str__(self) -> str:
        path = re.sub("/subscriptions/[^/]*", "S", self.pair.path)
        return f"{self.file} #{self.pair.at} {self.pair.method} {path}: {self.kind}: {self.text}"


def files() -> list[Path]:
    return sorted(FOLDER.rglob("*.yaml.gz"))


def _unwrapped(text: Any) -> str:
    """Some bodies are the printed form of bytes, in one or more layers."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    while isinstance(text, str) and text.startswith(("b'", 'b"')):
        text = ast.literal_eval(text).decode("utf-8", "replace")
    return text or ""


def _json(text: Any) -> Any:
    raw = _unwrapped(text)
    if not raw.strip():
        return None
    try:
        return json.loads(raw, strict=False)
    except ValueError:
        return raw


def _flat(headers: dict[str, Any]) -> dict[str, str]:
    return {k.lower(): (v[0] if isinstance(v, list) else v) for k, v in (headers or {}).items()}


def pairs(path: Path) -> Iterator[Pair]:
    with gzip.open(path) as file:
        recorded = yaml.load(file, Loader=_LOADER)
    for at, interaction in enumerate(recorded["interactions"]):
        request, response = interaction["request"], interaction["response"]
        if not request["uri"].startswith(RECORDED_HOST):
            continue
        body = request.get("body")
        yield Pair(
            at,
            request["method"],
            request["uri"].removeprefix(RECORDED_HOST),
            _json(body) if body else None,
            int(response["status"]["code"]),
            _flat(response["headers"]),
            _json(response["body"]["string"]),
            _flat(request.get("headers") or {}),
        )


def key_paths(value: Any, prefix: str = "") -> set[str]:
    """Paths of all members; `[]` for any element. Null members do not count: to Azure's clients they are absent."""
    found: set[str] = set()
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner is None:
                continue
            here = f"{prefix}.{key}" if prefix else key
            found.add(here)
            found |= key_paths(inner, here)
    elif isinstance(value, list):
        for inner in value:
            found |= key_paths(inner, f"{prefix}[]")
    return found


class Replay:
    """One file against one lab, over plain HTTP."""

    def __init__(self, client: httpx.Client, base: str, file: Path) -> None:
        self._client = client
        self._base = base
        self.file = file
        self.name = str(file.relative_to(FOLDER)).removesuffix(".yaml.gz")
        self.differences: list[Difference] = []
        self.compared = 0
        self._polls: dict[str, str] = {}
        self._finished: dict[str, httpx.Response] = {}
        self._names: dict[str, str] = {}
        """Names that the servers made up (implicit disks): the recorded one → ours, for the requests that follow."""

    def run(self, serves: Any) -> None:
        """`serves(pair)`: whether the lab claims this type; others are skipped."""
        skipped: set[str] = set()
        for pair in pairs(self.file):
            if not serves(pair) or _address(pair.url) in skipped:
                for header in ("azure-asyncoperation", "location"):
                    if header in pair.headers:
                        skipped.add(_address(pair.headers[header]))
                continue
            self._replay(pair)

    def _replay(self, pair: Pair) -> None:
        known = self._polls.get(_address(pair.url))
        if pair.method == "GET" and known is not None:
            response = self._poll(known)
        else:
            headers = {"Authorization": "Bearer recording"}
            for name in ("if-match", "if-none-match"):
                if name in pair.request_headers:
                    headers[name] = pair.request_headers[name]
            content = None
            if pair.body is not None:
                headers["Content-Type"] = "application/json"
                content = self._renamed(json.dumps(pair.body))
            response = self._client.request(
                pair.method, self._base + self._renamed(pair.url), content=content, headers=headers
            )
        self.compared += 1
        self._compare(pair, response, polled=known is not None)
        for header in ("azure-asyncoperation", "location"):
            theirs, ours = pair.headers.get(header), response.headers.get(header)
            if theirs and ours:
                self._polls[_address(theirs.removeprefix(RECORDED_HOST))] = ours
            # The next recorded call expects the operation's effect, whether the recorder polled it or not.
        if pair.url.partition("?")[0].endswith("/simulateEviction") and response.status_code == 204:
            self._await_eviction(self._renamed(pair.url))
        if pair.method != "GET":
            address = response.headers.get("azure-asyncoperation") or response.headers.get("location")
            if address and response.status_code in (200, 201, 202):
                self._poll(address)

    def _await_eviction(self, url: str) -> None:
        """An eviction is no operation that could be polled: wait until the machine is gone or deallocated."""
        machine = url.partition("?")[0].removesuffix("/simulateEviction")
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            found = self._client.get(
                f"{self._base}{machine}/instanceView",
                params={"api-version": "2020-06-01"},
                headers={"Authorization": "Bearer recording"},
            )
            if found.status_code == 404 or '"PowerState/deallocated"' in found.text:
                return
            time.sleep(0.02)
        raise AssertionError(f"{machine} was not evicted")

    def _renamed(self, text: str) -> str:
        for theirs, ours in self._names.items():
            text = re.sub(re.escape(theirs), ours, text, flags=re.IGNORECASE)
        return text

    def _learn(self, theirs: Any, ours: Any) -> None:
        """Disks that the servers named, from where both answers tell of them."""
        if not isinstance(theirs, dict) or not isinstance(ours, dict):
            return
        for word, made in theirs.items():
            mine = ours.get(word)
            if word in ("osDisk", "dataDisks"):
                both = zip(made, mine or (), strict=False) if isinstance(made, list) else [(made, mine)]
                for a, b in both:
                    old, new = (a or {}).get("name"), (b or {}).get("name")
                    if old and new and old.lower() != new.lower():
                        self._names[old] = new
            else:
                self._learn(made, mine)

    def _poll(self, url: str) -> httpx.Response:
        if url in self._finished:
            return self._client.get(url, headers={"Authorization": "Bearer recording"})
        for _ in range(200):
            response = self._client.get(url, headers={"Authorization": "Bearer recording"})
            busy = response.status_code == 202
            if response.status_code == 200 and "application/json" in response.headers.get("content-type", ""):
                body = response.json()
                busy = isinstance(body, dict) and body.get("status") in ("InProgress", "Running", "Accepted")
            if not busy:
                self._finished[url] = response
                return response
        raise AssertionError(f"{url} does not end")

    def _compare(self, pair: Pair, response: httpx.Response, *, polled: bool) -> None:
        recorded_running = polled and (
            pair.status == 202
            or (isinstance(pair.answer, dict) and pair.answer.get("status") in ("InProgress", "Running"))
        )
        if recorded_running:
            return  # ours is polled to its end: there is nothing left to compare with a poll that was still running
        if response.status_code != pair.status:
            self._differs(pair, "status", f"{response.status_code} instead of {pair.status}: {response.text[:300]}")
            return
        if not polled:
            for header in ("azure-asyncoperation", "location"):
                if (header in pair.headers) != (header in response.headers):
                    self._differs(pair, "headers", f"{header} {'missing' if header in pair.headers else 'too many'}")
        if isinstance(pair.answer, dict | list):
            try:
                ours = response.json()
            except ValueError:
                ours = None
            self._learn(pair.answer, ours)
            missing = sorted(_top(key_paths(pair.answer) - key_paths(ours)))
            if missing:
                self._differs(pair, "keys", ", ".join(missing))
        if isinstance(pair.answer, dict) and "error" in pair.answer and pair.status >= 400:
            theirs = pair.answer["error"].get("code")
            ours_code = response.json().get("error", {}).get("code")
            if theirs != ours_code:
                self._differs(pair, "code", f"{ours_code} instead of {theirs}")

    def _differs(self, pair: Pair, kind: str, text: str) -> None:
        self.differences.append(Difference(self.name, pair, kind, text))


def _address(url: str) -> str:
    """A poll's identity: the words and the operation's own id (recorders changed names before it).

    `monitor` (the Location of compute's operations) is another address than the operation itself.
    """
    *_, word, operation = re.sub(r"^https?://[^/]+", "", url).split("?")[0].lower().split("/")
    return f"{word}/{operation}" + ("?monitor" if "monitor=true" in url else "")


def _top(paths: set[str]) -> set[str]:
    """Without those whose parent is missing, too."""
    return {p for p in paths if not any(p.startswith((q + ".", q + "[]")) for q in paths if q != p)}

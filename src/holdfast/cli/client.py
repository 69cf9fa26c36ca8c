"""The client of `/v1`: finds the server of the home, or starts it, and finds it again when it went away."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx

from holdfast.cli.errors import AnswerLost, NeedsToken, ServerSaid, ServerUnreachable
from holdfast.cli.starting import ensure_server, is_answering
from holdfast.core.errors import InvalidInput
from holdfast.wiring import ServerFile, Surroundings

__all__ = ["Client", "connect"]

TIMEOUT_S = 120.0  # a plan reads some forty documents; a throttled cloud makes the server wait
PATIENCE_S = 30.0  # for a server elsewhere that is restarted: below what a person would wait for
FOLLOW_PATIENCE_S = 600.0  # following outlasts an upgrade


@dataclass
class Client:
    """revive: find or start the server again and return its URL; None where that is somebody else's matter."""

    http: httpx.Client
    revive: Callable[[], str] | None = None
    note: Callable[[str], None] = lambda text: None
    pause: Callable[[float], None] = time.sleep

    def get(self, path: str, *, patient: bool = False, **params: Any) -> Any:
        """patient: outlast a restart of the server for minutes, as somebody who follows wants."""
        told = {key: value for key, value in params.items() if value is not None}
        return self._ask("GET", path, FOLLOW_PATIENCE_S if patient else PATIENCE_S, params=told)

    def post(self, path: str, body: Any = None) -> Any:
        return self._ask("POST", path, PATIENCE_S, json={} if body is None else body)

    def delete(self, path: str) -> Any:
        return self._ask("DELETE", path, PATIENCE_S)

    def _ask(self, method: str, path: str, patience_s: float, **more: Any) -> Any:
        deadline, told = time.monotonic() + patience_s, False
        problem: httpx.TransportError
        while True:
            try:
                response = self.http.request(method, path, **more)
            except httpx.ConnectError as exc:  # nothing was sent: safe to repeat, whatever it is
                problem = exc
            except httpx.TransportError as exc:
                if method != "GET":
                    raise AnswerLost(method=method, path=path) from exc
                problem = exc
            else:
                return _read(response)
            if time.monotonic() > deadline:
                raise ServerUnreachable(url=str(self.http.base_url), problem=_words(problem)) from problem
            if self.revive is not None:
                self.http.base_url = httpx.URL(self.revive())
            elif not told:
                self.note(f"No server answers at {self.http.base_url}; trying for {patience_s:.0f} s more.")
                told = True
            self.pause(0.5)


def connect(around: Surroundings, note: Callable[[str], None]) -> Client:
    """The server that HOLDFAST_URL names, else the home's, started in the background where none answers."""
    if around.url is not None:
        if httpx.URL(around.url).scheme not in ("http", "https") or not httpx.URL(around.url).host:
            raise InvalidInput(field="HOLDFAST_URL", problem=f"'{around.url}' is not an http(s) URL")
        return Client(_http(around.url, _token_for(around)), None, note)

    def find() -> str:
        return ensure_server(around, note)

    return Client(_http(find(), around.token or around.local_token()), find, note)


def _token_for(around: Surroundings) -> str:
    """A server of this very home needs no token of its own, also where its URL was given."""
    if around.token is not None:
        return around.token
    running = ServerFile.read(around.home)
    if running is not None and running.url == around.url and is_answering(running):
        return around.local_token()
    raise NeedsToken


def _http(url: str, token: str) -> httpx.Client:
    # trust_env off: a proxy of the environment must not see requests to a server on this machine
    return httpx.Client(
        base_url=url,
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx.Timeout(TIMEOUT_S, connect=5.0),
        trust_env=not url.startswith("http://127."),
    )


def _read(response: httpx.Response) -> Any:
    try:
        body = response.json()
    except ValueError:
        body = {"detail": f"The server answered {response.status_code} with something that is not JSON."}
        raise ServerSaid(response.status_code, body) from None
    if response.is_success:
        return body
    raise ServerSaid(response.status_code, body if isinstance(body, dict) else {})


def _words(problem: Exception) -> str:
    return str(problem) or type(problem).__name__

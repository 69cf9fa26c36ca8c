"""The client finds its server again; what may have taken effect is never sent twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from holdfast.cli.client import Client, connect
from holdfast.cli.errors import AnswerLost, NeedsToken, ServerSaid, ServerUnreachable
from holdfast.core.errors import InvalidInput
from holdfast.wiring import Surroundings


class Server:
    """Answers, or fails as told, in order; then answers."""

    def __init__(self, *failures: Exception) -> None:
        self.failures = list(failures)
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.method} {request.url}")
        if self.failures:
            raise self.failures.pop(0)
        return httpx.Response(200, json={"ok": True})


def client_of(server: Callable[[httpx.Request], httpx.Response], revive: Callable[[], str] | None = None) -> Client:
    http = httpx.Client(transport=httpx.MockTransport(server), base_url="http://127.0.0.1:1")
    return Client(http, revive, pause=lambda seconds: None)


def test_request_that_was_never_sent_is_sent_to_the_revived_server() -> None:
    server = Server(httpx.ConnectError("refused"))

    told = client_of(server, lambda: "http://127.0.0.1:2").post("/v1/imports", {})

    assert told == {"ok": True}
    assert server.asked == ["POST http://127.0.0.1:1/v1/imports", "POST http://127.0.0.1:2/v1/imports"]


def test_change_whose_answer_was_lost_is_not_sent_twice() -> None:
    server = Server(httpx.ReadError("gone"))

    with pytest.raises(AnswerLost):
        client_of(server, lambda: "http://127.0.0.1:2").post("/v1/imports", {})

    assert len(server.asked) == 1


def test_look_whose_answer_was_lost_is_repeated() -> None:
    server = Server(httpx.ReadError("gone"), httpx.RemoteProtocolError("cut"), httpx.ConnectError("refused"))

    assert client_of(server, lambda: "http://127.0.0.1:2").get("/v1/imports") == {"ok": True}


def test_server_elsewhere_that_is_away_is_waited_for_and_said_once() -> None:
    notes: list[str] = []
    client = client_of(Server(*[httpx.ConnectError("refused")] * 3))
    client.note = notes.append

    assert client.get("/v1/imports", patient=True) == {"ok": True}
    assert len(notes) == 1


def test_server_elsewhere_that_stays_away_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("holdfast.cli.client.PATIENCE_S", -1.0)

    with pytest.raises(ServerUnreachable):
        client_of(Server(httpx.ConnectError("refused"))).get("/v1/imports")


@pytest.mark.parametrize(
    ("body", "code", "exit_code"),
    [
        ({"json": {"code": "plan.stale", "detail": "x", "exit_code": 4}}, "plan.stale", 4),
        ({"text": "<html>"}, "http.error", 1),
    ],
)
def test_refusal_keeps_its_code_and_exit_code_whatever_its_form(
    body: dict[str, Any], code: str, exit_code: int
) -> None:
    with pytest.raises(ServerSaid) as raised:
        client_of(lambda request: httpx.Response(409, **body)).get("/v1/imports")

    assert (raised.value.problem["code"], raised.value.exit_code) == (code, exit_code)


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1", "http://"])
def test_url_that_is_none_is_refused_at_once(tmp_path: Any, url: str) -> None:
    told = {"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_URL": url, "HOLDFAST_TOKEN": "t"}

    with pytest.raises(InvalidInput) as refused:
        connect(Surroundings.from_environment(told), lambda text: None)

    assert refused.value.about == "HOLDFAST_URL"


def test_url_without_a_token_needs_one(tmp_path: Any) -> None:
    around = Surroundings.from_environment({"HOLDFAST_HOME": str(tmp_path), "HOLDFAST_URL": "http://127.0.0.1:9"})

    with pytest.raises(NeedsToken):
        connect(around, lambda text: None)

"""The QMP and agent clients against small fakes that speak the same lines."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from azurelab.guests import agent
from azurelab.guests.qmp import Qmp, QmpClosed, QmpError

Answer = Callable[[dict[str, Any]], list[bytes] | None]


class FakeSocketServer:
    """Serves one unix socket: a greeting, then `answer(request)` lines per line read; None closes the connection."""

    def __init__(self, path: Path, answer: Answer, greeting: bytes = b"") -> None:
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._answer, self._greeting = answer, greeting
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            # a client may leave without reading everything
            with contextlib.suppress(ConnectionError), connection, connection.makefile("rb") as lines:
                connection.sendall(self._greeting)
                for line in lines:
                    answers = self._answer(json.loads(line.lstrip(b"\xff")))
                    if answers is None:
                        break
                    for piece in answers:
                        connection.sendall(piece)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


GREETING = b'{"QMP": {"version": {}, "capabilities": []}}\n'


def line(value: dict[str, Any]) -> bytes:
    return json.dumps(value).encode() + b"\n"


def client(
    stack: ExitStack, path: Path, answer: Answer, on_close: Callable[[], None] = lambda: None
) -> tuple[Qmp, list[str]]:
    server = FakeSocketServer(path, answer, GREETING)
    stack.callback(server.close)
    events: list[str] = []
    qmp = Qmp(path, lambda name, _: events.append(name), on_close)
    stack.callback(qmp.close)
    return qmp, events


def test_answers_find_their_command_between_events(stack: ExitStack, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[bytes]:
        value = {"echo": request.get("arguments", {})}
        return [line({"event": "RESET", "data": {}}), line({"return": value, "id": request["id"]})]

    qmp, events = client(stack, tmp_path / "q", answer)

    assert qmp.execute("anything", node_name="x") == {"echo": {"node-name": "x"}}
    assert events == ["RESET", "RESET"]


def test_a_refusal_carries_command_class_and_words(stack: ExitStack, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[bytes]:
        if request["execute"] == "qmp_capabilities":
            return [line({"return": {}, "id": request["id"]})]
        return [line({"error": {"class": "DeviceNotFound", "desc": "no disk"}, "id": request["id"]})]

    qmp, _ = client(stack, tmp_path / "q", answer)

    with pytest.raises(QmpError, match="device_del: no disk") as raised:
        qmp.execute("device_del", id="x")
    assert raised.value.kind == "DeviceNotFound"


def test_qemu_that_ends_in_the_middle_is_closed_for_every_caller(stack: ExitStack, tmp_path: Path) -> None:
    ended = threading.Event()

    def answer(request: dict[str, Any]) -> list[bytes] | None:
        return [line({"return": {}, "id": request["id"]})] if request["execute"] == "qmp_capabilities" else None

    qmp, _ = client(stack, tmp_path / "q", answer, ended.set)

    with pytest.raises(QmpClosed):
        qmp.execute("quit")
    assert ended.wait(5)
    with pytest.raises(QmpClosed):
        qmp.execute("query-status")


def test_a_silent_qemu_is_given_up_after_the_timeout(stack: ExitStack, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[bytes]:
        return [line({"return": {}, "id": request["id"]})] if request["execute"] == "qmp_capabilities" else []

    qmp, _ = client(stack, tmp_path / "q", answer)

    with pytest.raises(QmpClosed, match="no answer"):
        qmp.execute("query-status", timeout_s=0.05)


def test_a_socket_that_never_comes_is_given_up_when_the_process_has_ended(tmp_path: Path) -> None:
    with pytest.raises(QmpClosed):
        Qmp.wait_for(tmp_path / "none", 30, lambda: False, lambda *_: None, lambda: None)


def test_the_agent_dialogue_skips_rests_of_an_earlier_one(stack: ExitStack, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[bytes]:
        if request["execute"] == "guest-sync-delimited":
            rest = line({"error": {"desc": "parse error"}}) + line({"return": "old"}) + b"half a li\n"
            return [rest, b"\xff" + line({"return": request["arguments"]["id"]})]
        return [line({"return": {"asked": request["execute"], **request["arguments"]}})]

    server = FakeSocketServer(tmp_path / "a", answer)
    stack.callback(server.close)

    assert agent.ask(tmp_path / "a", "guest-info", some_name=1) == {"asked": "guest-info", "some-name": 1}
    agent.tell(tmp_path / "a", "guest-shutdown", mode="powerdown")


def test_an_agent_that_refuses_or_is_silent_or_absent_is_silent(stack: ExitStack, tmp_path: Path) -> None:
    def answer(request: dict[str, Any]) -> list[bytes]:
        if request["execute"] == "guest-sync-delimited":
            return [line({"return": request["arguments"]["id"]})]
        return [line({"error": {"desc": "not here"}})] if request["execute"] == "refused" else []

    server = FakeSocketServer(tmp_path / "a", answer)
    stack.callback(server.close)

    with pytest.raises(agent.AgentSilent, match="not here"):
        agent.ask(tmp_path / "a", "refused")
    with pytest.raises(agent.AgentSilent):
        agent.ask(tmp_path / "a", "nothing", timeout_s=0.05)
    with pytest.raises(agent.AgentSilent):
        agent.ask(tmp_path / "nowhere", "guest-ping")

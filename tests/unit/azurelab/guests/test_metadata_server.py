"""The metadata server behind its unix socket, reached through the relay as QEMU does."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azurelab.guests import relay
from azurelab.guests.metadata import Request, Response
from azurelab.guests.metadata_server import MetadataServer


@pytest.fixture
def server() -> Iterator[MetadataServer]:
    server = MetadataServer()
    yield server
    server.close()


def through_relay(path: Path, request: bytes) -> bytes:
    words = [sys.executable, "-I", "-S", relay.__file__, str(path)]
    return subprocess.run(words, input=request, capture_output=True, timeout=30, check=False).stdout


def echo(request: Request) -> Response:
    return Response(200, f"{request.method} {request.target} {request.headers['a']} {request.body.decode()}".encode())


def test_a_request_through_the_relay_is_answered_whole(server: MetadataServer, tmp_path: Path) -> None:
    server.serve(tmp_path / "s", echo)

    said = through_relay(tmp_path / "s", b"POST /p HTTP/1.1\r\nA: b\r\nContent-Length: 4\r\n\r\nbody")

    head, _, body = said.partition(b"\r\n\r\n")
    assert body == b"POST /p b body"
    assert head.startswith(b"HTTP/1.0 200 OK\r\n")
    assert f"Content-Length: {len(body)}".encode() in head


@pytest.mark.parametrize("request_bytes", [b"", b"nonsense\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"])
def test_what_is_not_http_gets_no_answer_and_harms_nobody(
    server: MetadataServer, tmp_path: Path, request_bytes: bytes
) -> None:
    server.serve(tmp_path / "s", echo)

    assert through_relay(tmp_path / "s", request_bytes) == b""
    assert through_relay(tmp_path / "s", b"GET / HTTP/1.1\r\na: x\r\n\r\n").endswith(b"GET / x ")


def test_each_guest_has_its_own_socket_and_a_withdrawn_one_is_gone(server: MetadataServer, tmp_path: Path) -> None:
    one, two = tmp_path / "1", tmp_path / "2"
    server.serve(one, lambda _: Response(200, b"one"))
    server.serve(two, lambda _: Response(200, b"two"))
    server.withdraw(one)
    server.withdraw(one)

    assert not one.exists()
    assert through_relay(two, b"GET / HTTP/1.1\r\n\r\n").endswith(b"two")
    with pytest.raises(FileNotFoundError), socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(one))

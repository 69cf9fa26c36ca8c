"""Serves the metadata documents over HTTP/1.0: one unix socket per guest, behind which QEMU's relay stands."""

from __future__ import annotations

import http
import logging
import os
import selectors
import socket
import threading
from collections.abc import Callable
from pathlib import Path

from azurelab.guests.metadata import Request, Response

__all__ = ["MetadataServer"]

_log = logging.getLogger(__name__)

REQUEST_TIMEOUT_S = 10.0
MOST_HEAD_BYTES = 16 << 10
MOST_BODY_BYTES = 64 << 10


class MetadataServer:
    """`serve` and `withdraw` may be called from any thread, while it runs."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._listeners: dict[Path, socket.socket] = {}
        self._wake_out, self._wake_in = os.pipe()
        self._selector.register(self._wake_out, selectors.EVENT_READ)
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name="metadata", daemon=True)
        self._thread.start()

    def serve(self, path: Path, answer: Callable[[Request], Response]) -> None:
        """Listen on `path` (whatever stood there is replaced) and answer with `answer`."""
        self.withdraw(path)
        path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(path))
        listener.listen(16)
        listener.setblocking(False)
        with self._lock:
            self._listeners[path] = listener
            self._selector.register(listener, selectors.EVENT_READ, answer)
        os.write(self._wake_in, b".")

    def withdraw(self, path: Path) -> None:
        """Stop listening on `path`; not listening already is success."""
        with self._lock:
            listener = self._listeners.pop(path, None)
            if listener is not None:
                self._selector.unregister(listener)
                listener.close()
                path.unlink(missing_ok=True)

    def close(self) -> None:
        self._closing = True
        os.write(self._wake_in, b".")
        self._thread.join()
        for path in list(self._listeners):
            self.withdraw(path)
        self._selector.close()
        os.close(self._wake_in)
        os.close(self._wake_out)

    def _accept(self) -> None:
        while not self._closing:
            for key, _ in self._selector.select():
                if key.fd == self._wake_out:
                    os.read(self._wake_out, 4096)
                    continue
                try:
                    connection, _ = key.fileobj.accept()  # type: ignore[union-attr]
                except OSError:
                    continue  # withdrawn meanwhile, or the relay has gone
                threading.Thread(
                    target=_talk, args=(connection, key.data), name="metadata-request", daemon=True
                ).start()


def _talk(connection: socket.socket, answer: Callable[[Request], Response]) -> None:
    with connection:
        connection.settimeout(REQUEST_TIMEOUT_S)
        try:
            request = _read(connection)
            if request is None:
                return
            response = answer(request)
            reason = http.HTTPStatus(response.status).phrase
            head = (
                f"HTTP/1.0 {response.status} {reason}\r\nServer: IMDS/azurelab\r\n"
                f"Content-Type: {response.content_type}\r\nContent-Length: {len(response.body)}\r\n"
                "Connection: close\r\n\r\n"
            )
            connection.sendall(head.encode() + response.body)
        except OSError as error:
            _log.debug("a guest's metadata request broke off: %s", error)


def _read(connection: socket.socket) -> Request | None:
    """One request; None when the peer leaves or sends something that is not HTTP."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = connection.recv(8192)
        received += block
        if not block or len(received) > MOST_HEAD_BYTES:
            return None
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3:
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MOST_BODY_BYTES:
        return None
    while len(body) < int(length):
        block = connection.recv(8192)
        if not block:
            return None
        body += block
    return Request(words[0], words[1], headers, body)

"""Both listeners, HTTPS and HTTP, in one event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
from pathlib import Path
from typing import Any

import uvicorn

__all__ = ["Server", "free_socket"]

logging.getLogger("uvicorn").addHandler(logging.NullHandler())  # its words are for programs that configure logging


def free_socket(port: int) -> socket.socket:
    """A listening socket on 127.0.0.1. Port 0 = any free one. OSError when the port is taken."""
    # The protocol is named so that asyncio sets TCP_NODELAY on accepted connections; without it every answer's body
    # waits 40 ms for the acknowledgement of its headers.
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(("127.0.0.1", port))
        sock.listen(2048)
    except OSError:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


class _Quiet(uvicorn.Server):
    """Signals belong to whoever owns the process."""

    def capture_signals(self) -> Any:
        from contextlib import nullcontext

        return nullcontext()


class Server:
    """`start` returns when both ports answer."""

    def __init__(self, app: Any, https: socket.socket, http: socket.socket, certificate: Path, key: Path) -> None:
        common: dict[str, Any] = {
            "log_config": None,
            "access_log": False,
            "lifespan": "off",
            "http": "h11",
            "ws": "none",
            "date_header": False,
            "server_header": False,
            "timeout_keep_alive": 75,
        }
        tls = uvicorn.Config(app, ssl_certfile=str(certificate), ssl_keyfile=str(key), **common)
        plain = uvicorn.Config(app, **common)
        self._servers = [(_Quiet(tls), https), (_Quiet(plain), http)]
        self._thread = threading.Thread(target=self._run, name="azurelab-http", daemon=True)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.failure: BaseException | None = None
        self._ready = threading.Event()

    def start(self) -> None:
        self._thread.start()
        if not self._ready.wait(10) or self.failure is not None:
            raise RuntimeError(f"the listeners did not start: {self.failure}")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as exc:  # noqa: BLE001  told to whoever waits in start()
            self.failure = exc
            self._ready.set()

    async def _serve(self) -> None:
        self.loop = asyncio.get_running_loop()
        tasks = [asyncio.create_task(server.serve(sockets=[sock])) for server, sock in self._servers]
        while not all(server.started for server, _ in self._servers):
            if any(t.done() for t in tasks):
                break
            await asyncio.sleep(0.002)
        self._ready.set()
        await asyncio.gather(*tasks)

    def _cut(self) -> None:
        for server, _ in self._servers:
            for connection in list(server.server_state.connections):
                transport = getattr(connection, "transport", None)
                if transport is not None:
                    transport.abort()

    def stop(self) -> None:
        """Open requests get a moment; then connections are cut, for TLS peers need not say goodbye."""
        for server, _ in self._servers:
            server.should_exit = True
        if self.loop is not None and self._thread.is_alive():
            self._thread.join(0.15)
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self.loop.call_soon_threadsafe(self._cut)
        self._thread.join(10)
        for _, sock in self._servers:
            sock.close()

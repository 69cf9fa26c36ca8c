"""The server's process: one engine for each home, a file that says where it answers, and an orderly end."""

from __future__ import annotations

import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from types import FrameType

import uvicorn

import holdfast
from holdfast.api.app import make_app
from holdfast.core.clock import format_utc
from holdfast.core.errors import InvalidInput
from holdfast.store import HomeLock, HomeLocked
from holdfast.wiring import House, ServerFile, Surroundings, home_lock, open_house

__all__ = ["serve"]

log = logging.getLogger("holdfast.server")

TAKE_OVER_WAIT_S = 40.0  # a server that drains needs up to 20 s for its steps; then its home is free
CLOSE_CONNECTIONS_S = 3  # followers poll again; waiting longer for them would only delay the engine's drain


def serve(around: Surroundings, host: str, port: int) -> int:
    """Run until SIGTERM or SIGINT, then drain. Raises HomeLocked, TestClockRefused, and errors of the database."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("azure").setLevel(logging.WARNING)  # its request lines name every URL
    for chatty in ("httpx", "urllib3.connectionpool", "alembic", "alembic.runtime.plugins", "uvicorn.error", "dbos"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    home = around.ensure_home()
    lock = _lock(home)
    listener = _listen(host, port)
    house = open_house(around)
    house.require_clouds_fit_clock()
    house.engine.start()
    server = _Server(house, home, listener)
    ended = server.run_until_told()
    house.engine.stop()
    house.close()
    lock.release()
    log.info("stopped")
    return ended


class _Server(uvicorn.Server):
    """Says where it answers once it does, and stops saying so before it drains."""

    def __init__(self, house: House, home: Path, listener: socket.socket) -> None:
        config = uvicorn.Config(
            make_app(house),
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=CLOSE_CONNECTIONS_S,
            server_header=False,
        )
        super().__init__(config)
        self._home = home
        self._listener = listener
        address = listener.getsockname()
        host = f"[{address[0]}]" if listener.family is socket.AF_INET6 else address[0]
        reached = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(host, host)
        self._file = ServerFile(
            url=f"http://{reached}:{address[1]}",
            pid=os.getpid(),
            started_at=format_utc(house.clock.now()),
            version=holdfast.__version__,
        )

    def run_until_told(self) -> int:
        # uvicorn raises the signal again after it has ended; this handler keeps that from killing the drain.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, _noted)
        self.run(sockets=[self._listener])
        self._file.remove(self._home)
        return 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._file.write(self._home)
            log.info("holdfast %s answers at %s", holdfast.__version__, self._file.url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("draining")
        self._file.remove(self._home)
        await super().shutdown(sockets)


def _noted(number: int, frame: FrameType | None) -> None:
    log.info("signal %d", number)


def _lock(home: Path) -> HomeLock:
    """The home for us alone. One that drains has taken its server file away and is waited for."""
    deadline = time.monotonic() + TAKE_OVER_WAIT_S
    while True:
        lock = home_lock(home)
        try:
            lock.acquire()
        except HomeLocked:
            if ServerFile.read(home) is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return lock


def _listen(host: str, port: int) -> socket.socket:
    """Bound before anything else starts, so that a taken port is a plain error. Raises InvalidInput."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=256)
    except OSError as exc:
        raise InvalidInput(field="port", problem=f"cannot listen on {host}:{port}: {exc.strerror}") from exc
    listener.set_inheritable(True)
    return listener

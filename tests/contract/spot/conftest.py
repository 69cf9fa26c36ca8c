"""The real application on a real port, over the in-memory cloud: what a Spot client would talk to."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn

from unit.api.api_rig import ApiRig, api_rigs


@dataclass
class Served:
    """token: of an operator who is limited to nothing."""

    rig: ApiRig
    url: str
    token: str


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    for rig in api_rigs(tmp_path):
        made = rig.client.post("/v1/tokens", json={"name": "spot-client", "role": "operator"}).json()
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(rig.app, log_config=None, lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        deadline = time.monotonic() + 20
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        assert server.started
        yield Served(rig, f"http://127.0.0.1:{listener.getsockname()[1]}", made["token"])
        server.should_exit = True
        thread.join(timeout=20)
        listener.close()

"""Dialogues with the QEMU guest agent: one connection each, because its socket serves one client at a time."""

from __future__ import annotations

import json
import random
import socket
from pathlib import Path
from typing import Any

__all__ = ["AgentSilent", "ask", "tell"]


class AgentSilent(Exception):
    """No agent answered in time: the guest has none, is still booting, or hangs."""


def ask(path: Path, command: str, timeout_s: float = 3.0, **arguments: Any) -> Any:
    """The agent's `return`; AgentSilent. A refusal by the agent is AgentSilent too, with its words."""
    with _dialogue(path, timeout_s) as agent:
        agent.send(command, arguments)
        answer = agent.receive()
    if "error" in answer:
        raise AgentSilent(f"{command}: {answer['error'].get('desc')}")
    return answer.get("return")


def tell(path: Path, command: str, timeout_s: float = 3.0, **arguments: Any) -> None:
    """Send a command that has no answer on success (guest-shutdown), after the agent has shown that it listens."""
    with _dialogue(path, timeout_s) as agent:
        agent.send(command, arguments)


class _dialogue:  # noqa: N801 - reads as a verb: `with _dialogue(path, …)`
    """Connected and in step with the agent: bytes of an earlier, broken dialogue are behind us."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        self._path = path
        self._buffer = b""

    def __enter__(self) -> _dialogue:
        try:
            self._socket.connect(str(self._path))
            token = random.randrange(1 << 31)
            # 0xFF makes the agent drop what it has half read; its first answer after that may be a parse error
            self._socket.sendall(b"\xff")
            self.send("guest-sync-delimited", {"id": token})
            while self.receive().get("return") != token:
                pass
        except OSError as error:
            self._socket.close()
            raise AgentSilent(str(error)) from error
        except AgentSilent:
            self._socket.close()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self._socket.close()

    def send(self, command: str, arguments: dict[str, Any]) -> None:
        names = {name.replace("_", "-"): value for name, value in arguments.items()}
        try:
            self._socket.sendall(json.dumps({"execute": command, "arguments": names}).encode() + b"\n")
        except OSError as error:
            raise AgentSilent(str(error)) from error

    def receive(self) -> dict[str, Any]:
        """The next line that is JSON; others are rests of an earlier dialogue."""
        while True:
            while b"\n" not in self._buffer:
                try:
                    block = self._socket.recv(65536)
                except OSError as error:
                    raise AgentSilent(str(error)) from error
                if not block:
                    raise AgentSilent("QEMU closed the agent's socket")
                self._buffer += block
            line, _, self._buffer = self._buffer.partition(b"\n")
            try:
                answer = json.loads(line.rpartition(b"\xff")[2])
            except ValueError:
                continue
            if isinstance(answer, dict):
                return answer

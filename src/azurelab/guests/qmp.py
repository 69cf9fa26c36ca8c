"""A small client of QEMU's machine protocol: one socket, commands that wait for their answer, events to a listener.

QEMU serves one client at a time per socket. Source: docs/interop/qmp-spec.txt of QEMU.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Qmp", "QmpClosed", "QmpError"]

ANSWER_TIMEOUT_S = 30.0  # a loaded host with emulated guests answers late; a stuck QEMU never


class QmpError(Exception):
    """QEMU refused a command; `kind` is its error class."""

    def __init__(self, command: str, error: dict[str, Any]) -> None:
        super().__init__(f"{command}: {error.get('desc', error)}")
        self.kind = str(error.get("class", ""))


class QmpClosed(Exception):
    """QEMU is gone, or did not answer in time."""


class Qmp:
    """Connected and negotiated. `on_event(name, data)` and `on_close()` run in the reader's thread: they must not
    call `execute`. Threads may call `execute` at the same time."""

    def __init__(
        self, path: Path, on_event: Callable[[str, dict[str, Any]], None], on_close: Callable[[], None]
    ) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(ANSWER_TIMEOUT_S)
        try:
            self._socket.connect(str(path))
            self._lines = self._socket.makefile("rb")
            if b'"QMP"' not in self._lines.readline():
                raise QmpClosed(f"{path} does not speak QMP")
        except OSError as error:
            self._socket.close()
            raise QmpClosed(str(error)) from error
        self._socket.settimeout(None)
        self._on_event, self._on_close = on_event, on_close
        self._ids = itertools.count(1)
        self._answers: dict[int, dict[str, Any]] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._reader = threading.Thread(target=self._read, name="qmp", daemon=True)
        self._reader.start()
        self.execute("qmp_capabilities")

    @classmethod
    def wait_for(
        cls,
        path: Path,
        timeout_s: float,
        alive: Callable[[], bool],
        on_event: Callable[[str, dict[str, Any]], None],
        on_close: Callable[[], None],
    ) -> Qmp:
        """Connect as soon as QEMU listens; QmpClosed when it does not within `timeout_s` or `alive()` ends before."""
        deadline = time.monotonic() + timeout_s
        while True:
            try:
                return cls(path, on_event, on_close)
            except QmpClosed:
                if not alive() or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def execute(self, command: str, timeout_s: float = ANSWER_TIMEOUT_S, **arguments: Any) -> Any:
        """The command's `return`. QmpError when QEMU refuses, QmpClosed when it is gone or silent.

        Underscores in argument names stand for QMP's dashes.
        """
        number = next(self._ids)
        request: dict[str, Any] = {"execute": command, "id": number}
        if arguments:
            request["arguments"] = {name.replace("_", "-"): value for name, value in arguments.items()}
        with self._changed:
            if self._closed:
                raise QmpClosed(command)
            try:
                self._socket.sendall(json.dumps(request).encode() + b"\n")
            except OSError as error:
                raise QmpClosed(command) from error
            if not self._changed.wait_for(lambda: number in self._answers or self._closed, timeout_s):
                raise QmpClosed(f"{command}: no answer within {timeout_s:.0f} s")
            answer = self._answers.pop(number, None)
        if answer is None:
            raise QmpClosed(command)
        if "error" in answer:
            raise QmpError(command, answer["error"])
        return answer["return"]

    def monitor(self, line: str) -> str:
        """A command of the human monitor, for what QMP has no command for (slirp's forwards)."""
        return str(self.execute("human-monitor-command", command_line=line))

    def close(self) -> None:
        """Leave QEMU running. `on_close` is not called."""
        self._on_close = lambda: None
        with contextlib.suppress(OSError):  # QEMU closed first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._reader.join(5)

    def _read(self) -> None:
        try:
            while line := self._lines.readline():
                message = json.loads(line)
                if "event" in message:
                    self._on_event(message["event"], message.get("data", {}))
                elif "id" in message:
                    with self._changed:
                        self._answers[message["id"]] = message
                        self._changed.notify_all()
        except (OSError, ValueError):
            pass  # cut off in the middle of a line: the same as the end
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._lines.close()
        self._socket.close()
        self._on_close()

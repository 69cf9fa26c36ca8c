"""Start `holdfast server` in the background on the home, once, however many CLIs want it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from holdfast.cli.errors import ServerDidNotStart
from holdfast.wiring import LOG_FILE, ServerFile, Surroundings

__all__ = ["ensure_server", "is_answering"]

READY_WITHIN_S = 90.0  # imports, migration and a server that drains before us, on a busy machine


def ensure_server(around: Surroundings, note: Callable[[str], None]) -> str:
    """The URL of the home's server. Raises ServerDidNotStart."""
    home = around.ensure_home()
    if (running := ServerFile.read(home)) is not None and is_answering(running):
        return running.url
    with _one_at_a_time(home):
        running = ServerFile.read(home)
        if running is not None and is_answering(running):
            return running.url  # another CLI was faster
        if running is not None and not _is_alive(running.pid):
            running.remove(home)  # killed: its file is a lie, and a starting server would believe it
        return _start(around, home, note)


def is_answering(server: ServerFile) -> bool:
    """Whether that process lives and answers. Which HTTP status it gives does not matter here."""
    if not _is_alive(server.pid):
        return False
    try:
        httpx.get(f"{server.url}/health", timeout=5.0, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def _start(around: Surroundings, home: Path, note: Callable[[str], None]) -> str:
    log = home / LOG_FILE
    command = [sys.executable, "-m", "holdfast.api", "--host", "127.0.0.1", "--port", "0"]
    if around.test_clock is not None:
        command += ["--test-clock", str(around.test_clock)]
    with open(log, "ab") as out:
        began = out.tell()
        # A session of its own: Ctrl-C and the end of this terminal are not for the server.
        started = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, cwd=home
        )
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        running = ServerFile.read(home)
        if running is not None and running.pid == started.pid and is_answering(running):
            note(f"No server was running: started one in the background (process {started.pid}, log {log}).")
            return running.url
        if started.poll() is not None:
            raise ServerDidNotStart(problem=_last_words(log, began), log=str(log))
        time.sleep(0.05)
    started.terminate()
    raise ServerDidNotStart(problem=f"it was not ready within {READY_WITHIN_S:.0f} s.", log=str(log))


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    descriptor = os.open(home / "start.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """A child of ours that ended and was not waited for still has a pid."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (OSError, IndexError):
        return False


def _last_words(log: Path, began: int) -> str:
    with open(log, "rb") as file:
        file.seek(began)
        lines = file.read().decode(errors="replace").strip().splitlines()
    return " ".join(lines[-2:]) or "it said nothing."

"""The processes of one lab home: who runs it, is that still the same process, and what else belongs to it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["HOME_MARK", "Record", "claim", "end", "of_home", "read", "start_time", "write"]

HOME_MARK = "AZURELAB_SERVER_HOME"
"""In the environment of the server and, inherited, of everything that it starts: how stray guests are found."""


@dataclass(frozen=True)
class Record:
    """Written by a running lab. A process is the same one only if its start time (clock ticks since boot) is equal."""

    pid: int
    start_ticks: int
    https_url: str
    http_url: str
    guests: str


def start_time(pid: int) -> int | None:
    """Field 22 of /proc/<pid>/stat; None when there is no such process, or it is a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


def write(home: Path, record: Record) -> None:
    temporary = home / "server.json.new"
    temporary.write_text(json.dumps(asdict(record)) + "\n")
    temporary.replace(home / "server.json")


def read(home: Path) -> Record | None:
    """The lab that runs on this home; None when none does, whatever the file says."""
    try:
        record = Record(**json.loads((home / "server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return record if start_time(record.pid) == record.start_ticks else None


def claim(home: Path) -> int | None:
    """Take the home for this process: a descriptor to keep open, or None when another process has it."""
    descriptor = os.open(home / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def of_home(home: Path) -> list[int]:
    """Processes that carry the home's mark in their environment, or are QEMUs that name a file of the home."""
    mark = f"{HOME_MARK}={home}".encode()
    inside = f"{home}/".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if mark in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
                continue
            command = (entry / "cmdline").read_bytes()
            if b"qemu-system" in command.split(b"\0")[0] and inside in command:
                found.append(int(entry.name))
    return [pid for pid in found if start_time(pid) is not None]


def end(pid: int, *, timeout_s: float) -> None:
    """SIGTERM, and SIGKILL after `timeout_s`. The pid is held by a descriptor, so it cannot come to mean another."""
    ticks = start_time(pid)
    if ticks is None:
        return
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        if start_time(pid) != ticks:
            return
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        if not select.select([handle], [], [], timeout_s)[0]:
            signal.pidfd_send_signal(handle, signal.SIGKILL)
            select.select([handle], [], [], 10)
    except ProcessLookupError:
        pass  # ended by itself meanwhile, which is what was wanted
    finally:
        os.close(handle)


def wait_until(home: Path, *, timeout_s: float) -> Record | None:
    """The record, once a lab runs on this home; None after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        record = read(home)
        if record is not None:
            return record
        time.sleep(0.02)
    return None

"""Processes that outlive the one that started them: spawn, find again, wait for, end. Linux only."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Sequence
from pathlib import Path

__all__ = ["Process", "find_by_word", "spawn"]


class Process:
    """A process held by a pidfd: its number cannot come to mean another process while this object lives."""

    def __init__(self, pid: int) -> None:
        self._pidfd = -1
        self.pid = pid
        self._pidfd = os.pidfd_open(pid)

    def alive(self) -> bool:
        return not self.wait(0)

    def wait(self, timeout_s: float) -> bool:
        """True once it has ended (and, if it was our child, is reaped); False when it still runs after `timeout_s`."""
        if not select.select([self._pidfd], [], [], max(timeout_s, 0))[0]:
            return False
        with contextlib.suppress(ChildProcessError):  # not our child: started by an earlier azurelab
            os.waitpid(self.pid, os.WNOHANG)
        return True

    def kill(self) -> None:
        """SIGKILL; ended already is success."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def __del__(self) -> None:
        # Not a `close`: a thread that waits on a closed descriptor could meet another file under its number.
        if self._pidfd >= 0:
            os.close(self._pidfd)


def spawn(words: Sequence[str], log: Path) -> Process:
    """Start a program in a session of its own, without our terminal, pipes or descriptors; its words go to `log`."""
    with open(os.devnull, "rb") as nothing, log.open("ab") as out:
        pid = os.posix_spawnp(
            words[0],
            list(words),
            os.environ,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, nothing.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, out.fileno(), 1),
                (os.POSIX_SPAWN_DUP2, out.fileno(), 2),
            ],
            setsid=True,
            setsigdef=[signal.SIGPIPE, signal.SIGINT, signal.SIGTERM],
            setsigmask=[],
        )
    return Process(pid)


def find_by_word(prefix: str) -> dict[str, Process]:
    """Processes with an argument that starts with `prefix`, by that argument; zombies have none."""
    found: dict[str, Process] = {}
    wanted = os.fsencode(prefix)
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        word = _word(entry, wanted)
        if word is None:
            continue
        try:
            process = Process(int(entry.name))
        except ProcessLookupError:
            continue
        if _word(entry, wanted) == word:  # read again now that the number is held
            found[word] = process
    return found


def _word(entry: Path, prefix: bytes) -> str | None:
    try:
        words = (entry / "cmdline").read_bytes().split(b"\0")
    except OSError:
        return None
    return next((os.fsdecode(word) for word in words if word.startswith(prefix)), None)

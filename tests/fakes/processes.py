"""Ending what a test started, and seeing what it left."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress
from pathlib import Path

__all__ = ["children", "end"]


def children() -> set[int]:
    """The processes that this one has started and not waited for."""
    found = set()
    for status in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended meanwhile
            text = status.read_text(errors="replace")
            if int(text.rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(status.parent.name))
    return found


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask it to end; after ten seconds make it. qemu-nbd loses a SIGTERM that comes while its last client leaves."""
    child.terminate()
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()

"""Ending what a test started."""

from __future__ import annotations

import subprocess

__all__ = ["end"]


def end(child: subprocess.Popen[bytes]) -> None:
    """Ask it to end; after ten seconds make it. qemu-nbd loses a SIGTERM that comes while its last client leaves."""
    child.terminate()
    try:
        child.wait(timeout=10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()

"""Every home has a loopback network of its own, 127.N.0.0/16, so that two labs run side by side.

Reservations are files in one folder of the machine, made and taken over under a lock; the home remembers its network,
so that its public addresses are the same after a restart. 127.0.x.x is never given away.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["release", "reserve"]


def _folder() -> Path:
    folder = Path(tempfile.gettempdir()) / "azurelab-networks"
    folder.mkdir(mode=0o1777, exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o1777)
    return folder


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def reserve(home: Path, wanted: int | None = None) -> int:
    """N of 127.N.0.0/16 for this home, 1..254: `wanted` (what the home had before) if nobody else took it.

    A reservation whose home is gone may be taken over. RuntimeError when all 254 are taken.
    """
    folder = _folder()
    mine = str(home.resolve())
    start = int.from_bytes(hashlib.sha256(mine.encode()).digest()[:2], "big") % 254
    order = [1 + (start + i) % 254 for i in range(254)]
    if wanted is not None:
        order.insert(0, wanted)
    with _locked(folder):
        for number in order:
            claim = folder / str(number)
            owner = claim.read_text().strip() if claim.exists() else ""
            if owner and owner != mine and Path(owner, "lab.json").exists():
                continue
            claim.unlink(missing_ok=True)
            claim.write_text(mine + "\n")
            return number
    raise RuntimeError("all 254 loopback networks are reserved; delete lab homes that are no longer used")


def release(home: Path, number: int) -> None:
    """Give the network back, if it is this home's."""
    folder = _folder()
    with _locked(folder):
        claim = folder / str(number)
        if claim.exists() and claim.read_text().strip() == str(home.resolve()):
            claim.unlink()

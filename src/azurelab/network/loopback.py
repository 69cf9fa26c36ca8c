"""Every home has a loopback network of its own, a /20 of 127.0.0.0/8, so that two labs run side by side.

Reservations are files in one folder of the machine, made and taken over under a lock; the home remembers its network,
so that its public addresses are the same after a restart. 127.0.x.x is never given away.
"""

from __future__ import annotations

import fcntl
import hashlib
import ipaddress
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["COUNT", "network_of", "release", "reserve"]

COUNT = 254 * 16


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


def network_of(number: int) -> ipaddress.IPv4Network:
    """Number 0 … 4063 → 127.1.0.0/20 … 127.254.240.0/20."""
    return ipaddress.IPv4Network((0x7F010000 + number * 4096, 20))


def reserve(home: Path, wanted: int | None = None) -> int:
    """The number of this home's network: `wanted` (what the home had before) if nobody else took it.

    A reservation whose home is gone may be taken over. RuntimeError when all are taken.
    """
    folder = _folder()
    mine = str(home.resolve())
    start = int.from_bytes(hashlib.sha256(mine.encode()).digest()[:4], "big") % COUNT
    order = [(start + i) % COUNT for i in range(COUNT)]
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
    raise RuntimeError(f"all {COUNT} loopback networks are reserved; delete lab homes that are no longer used")


def release(home: Path, number: int) -> None:
    """Give the network back, if it is this home's."""
    folder = _folder()
    with _locked(folder):
        claim = folder / str(number)
        if claim.exists() and claim.read_text().strip() == str(home.resolve()):
            claim.unlink()

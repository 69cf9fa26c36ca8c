"""Names of disk states that files themselves can give. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from blake3 import blake3

__all__ = ["chain_of"]


def chain_of(layers: Sequence[tuple[str, dict[str, Any]]]) -> str | None:
    """The name of a disk state by the files that it is read from, as (format, identity), top first.

    The time of the last change of the inode is left out: renaming or locking a file does not change the disk.
    None where one of them is no regular file, for then nothing tells its states apart.
    """
    told = []
    for format_, identity in layers:
        if identity.get("kind") != "file":
            return None
        told.append(f"{format_} {identity['inode']} {identity['size_bytes']} {identity['mtime_ns']}")
    return "files:" + blake3("\n".join(told).encode()).hexdigest()[:32]

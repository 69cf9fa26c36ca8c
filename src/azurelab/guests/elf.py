"""What a program or library needs: the shared libraries that an ELF file names (DT_NEEDED), read without readelf."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

__all__ = ["libraries_for", "needed"]

PT_LOAD, PT_DYNAMIC = 1, 2
DT_NULL, DT_NEEDED, DT_STRTAB = 0, 1, 5


def needed(elf: bytes) -> list[str]:
    """DT_NEEDED of a 64-bit little-endian ELF file, in order; empty for a static one or another format."""
    if elf[:6] != b"\x7fELF\x02\x01":
        return []
    offset, size, count = struct.unpack_from("<Q", elf, 32)[0], *struct.unpack_from("<HH", elf, 54)
    segments = [struct.unpack_from("<IIQQQQ", elf, offset + i * size) for i in range(count)]
    dynamic = next((s for s in segments if s[0] == PT_DYNAMIC), None)
    if dynamic is None:
        return []
    entries = []
    for at in range(dynamic[2], dynamic[2] + dynamic[5], 16):
        tag, value = struct.unpack_from("<QQ", elf, at)
        if tag == DT_NULL:
            break
        entries.append((tag, value))
    address = dict(entries)[DT_STRTAB]
    strings = next(address - s[3] + s[2] for s in segments if s[0] == PT_LOAD and s[3] <= address < s[3] + s[5])
    return [
        elf[strings + value : elf.index(b"\0", strings + value)].decode() for tag, value in entries if tag == DT_NEEDED
    ]


def libraries_for(programs: Iterable[Path], folder: Path) -> list[Path]:
    """Every library under `folder` that the programs need, directly or not, sorted. FileNotFoundError names a gap."""
    found: dict[str, Path] = {}
    todo = [(program, name) for program in programs for name in needed(program.read_bytes())]
    while todo:
        user, name = todo.pop()
        if name in found or name.startswith("ld-linux"):
            continue
        path = folder / name
        if not path.exists():
            raise FileNotFoundError(f"{user.name} needs {name}, which no downloaded package has")
        found[name] = path
        todo += [(path, more) for more in needed(path.read_bytes())]
    return sorted(found.values())

"""Kernel modules for the guest: which files, and in which order they can be loaded."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path

__all__ = ["load_order", "modinfo", "module_bytes"]


def module_bytes(path: Path) -> bytes:
    """The plain ELF module of `.ko`, `.ko.xz` (Debian 13) or `.ko.zst` (Ubuntu)."""
    raw = path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(raw)
    if path.suffix == ".zst":
        import zstandard

        return zstandard.ZstdDecompressor().decompress(raw, max_output_size=64 << 20)
    return raw


def modinfo(module: bytes, field: str) -> str | None:
    """One `field=value` of the module's .modinfo section; fields are separated by NUL."""
    start = module.find(b"\0" + field.encode() + b"=")
    if start < 0:
        return None
    start += len(field) + 2
    return module[start : module.index(b"\0", start)].decode()


def _name(path: str) -> str:
    return path.rsplit("/", 1)[-1].split(".ko")[0].replace("-", "_")


def load_order(tree: Path, wanted: Sequence[str]) -> list[tuple[str, bytes]]:
    """(name, plain module) so that each comes after all it depends on; what is built into the kernel is left out.

    `tree` is lib/modules/VERSION. KeyError names a module that is neither a file nor built in.
    """
    files = {_name(path.name): path for path in tree.rglob("*.ko*") if ".ko" in path.name}
    built_in = {_name(line) for line in (tree / "modules.builtin").read_text().split()}
    ordered: dict[str, bytes] = {}

    def add(name: str) -> None:
        if name in ordered or name in built_in:
            return
        if name not in files:
            raise KeyError(f"the guest's kernel has no module {name}")
        module = module_bytes(files[name])
        for other in filter(None, (modinfo(module, "depends") or "").split(",")):
            add(other.replace("-", "_"))
        ordered[name] = module

    for name in wanted:
        add(name)
    return list(ordered.items())

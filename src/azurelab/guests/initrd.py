"""The guest's initrd: static busybox, the drivers in load order, and `land/init`."""

from __future__ import annotations

from pathlib import Path

from azurelab.guests.cpio import Entry, compressed
from azurelab.guests.modules import load_order

__all__ = ["MODULES", "initrd"]

MODULES = (
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_console",
    "virtio_rng",
    "ext4",
    "qemu_fw_cfg",
    "evdev",  # evdev and button: the power button
    "button",
)
APPLETS = ["sh", "mount", "insmod", "usleep", "findfs", "switch_root", "poweroff", "sleep"]


def initrd(busybox: bytes, module_tree: Path, land: Path) -> bytes:
    """The compressed archive; equal inputs give equal bytes. `module_tree` is lib/modules/VERSION."""
    modules = load_order(module_tree, MODULES)
    entries = [Entry.folder(name) for name in ("bin", "dev", "modules", "proc", "root", "sys")]
    entries.append(Entry.character_device("dev/console", 5, 1))  # the kernel opens it before devtmpfs is there
    entries.append(Entry.file("bin/busybox", busybox, 0o755))
    entries += [Entry.link(f"bin/{name}", "busybox") for name in APPLETS]
    entries.append(Entry.file("init", (land / "init").read_bytes(), 0o755))
    entries.append(Entry.file("modules/order", "".join(f"{name}\n" for name, _ in modules).encode()))
    entries += [Entry.file(f"modules/{name}.ko", module) for name, module in modules]
    return compressed(entries)

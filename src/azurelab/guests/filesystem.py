"""The guest's root: a folder laid out from the unpacked packages, and an ext4 image of it made without root.

Reproducible: fixed times, UUID and hash seed; owners set by debugfs, so that no fakeroot or user namespace is needed.
Measured on e2fsprogs 1.47 (Debian 12 and 13).
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from azurelab.guests.elf import libraries_for
from azurelab.guests.packages import ImageError
from azurelab.guests.stage import LIBRARIES, Stage

__all__ = ["PROGRAMS", "ext4", "lay_out"]

PROGRAMS = ("qemu-ga", "dropbear", "mke2fs", "resize2fs", "e2fsck")
SCRIPTS = ["start", "configure", "first-boot", "tick", "agent", "events", "serve"]  # /etc/lab, executable
SOURCED = ["common", "disks", "flatten.awk"]  # /etc/lab, read by the scripts
REPLACED = ("init", "poweroff", "reboot", "halt", "shutdown", "mke2fs", "wget")  # not links to busybox, or not here

TIME = 1700000000
UUID = "5eed0000-0000-4000-8000-000000000001"
BLOCK_BYTES = 4096
BLOCKS = 30 * 256  # 30 MiB, a third of it free for what people put on the OS disk


def lay_out(stage: Stage, root: Path, land: Path) -> None:
    """Everything that stands on the OS disk, under `root`."""
    for folder in [
        "dev",
        "proc",
        "sys",
        "run",
        "tmp",
        "root",
        "data",
        "home",
        "var/lib/lab",
        "var/log",
        "var/lib/waagent",
        "etc/lab",
        "etc/acpi/PWRF",
        "etc/dropbear",
        "usr/bin",
        "usr/sbin",
        "usr/lib64",
    ]:
        (root / folder).mkdir(parents=True)
    (root / LIBRARIES).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "var/run").symlink_to("../run")

    programs = [stage.program(name) for name in PROGRAMS]
    for source in [*programs, stage.program("busybox"), *libraries_for(programs, stage.libraries)]:
        _install(source, root / source.relative_to(stage.root))
    loader = stage.libraries / "ld-linux-x86-64.so.2"
    _install(loader, root / LIBRARIES / loader.name)
    (root / "usr/lib64" / loader.name).symlink_to(f"../lib/x86_64-linux-gnu/{loader.name}")
    for applet in stage.run("busybox", "--list").split():
        link = root / "usr/bin" / applet
        if applet not in REPLACED and applet != "busybox" and not link.exists():
            link.symlink_to("busybox")
    (root / "usr/bin/wget").symlink_to("busybox")
    (root / "usr/sbin/init").symlink_to("../bin/busybox")
    (root / "usr/sbin/mkfs.ext4").symlink_to("mke2fs")

    for name in SCRIPTS:
        _install(land / name, root / "etc/lab" / name, executable=True)
    for name in SOURCED:
        _install(land / name, root / "etc/lab" / name)
    for name in ("inittab", "passwd", "profile"):
        _install(land / name, root / "etc" / name)
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    (root / "etc/shells").write_text("/bin/sh\n")
    _install(land / "shutdown", root / "usr/sbin/shutdown", executable=True)
    for name in ("poweroff", "reboot", "halt"):
        (root / "usr/sbin" / name).symlink_to("shutdown")
    (root / "etc/acpi/PWRF/00000080").write_text("#!/bin/sh\nexec /sbin/shutdown -h now\n")
    (root / "etc/acpi/PWRF/00000080").chmod(0o755)
    _install(land / "waagent", root / "usr/sbin/waagent", executable=True)


def _install(source: Path, target: Path, *, executable: bool | None = None) -> None:
    shutil.copyfile(source, target)
    target.chmod(0o755 if (os.access(source, os.X_OK) if executable is None else executable) else 0o644)


def ext4(stage: Stage, root: Path, image: Path, work: Path) -> None:
    """An ext4 file system `osroot` with the content of `root`, byte-identical for identical content."""
    config = work / "mke2fs.conf"
    config.write_text(
        "[defaults]\nbase_features = sparse_super,large_file,filetype,dir_index,ext_attr\n"
        "[fs_types]\next4 = {\nfeatures = has_journal,extent,huge_file,flex_bg,metadata_csum,64bit,dir_nlink,"
        "extra_isize\n}\n"
    )
    fake = {"E2FSPROGS_FAKE_TIME": str(TIME), "MKE2FS_CONFIG": str(config)}
    paths = sorted(path for path in root.rglob("*"))
    for path in [root, *paths]:
        os.utime(path, (TIME, TIME), follow_symlinks=False)
    stage.run(
        "mke2fs", "-q", "-F", "-t", "ext4", "-b", str(BLOCK_BYTES), "-I", "256", "-N", "1024", "-J", "size=4",
        "-m", "0", "-L", "osroot", "-U", UUID, "-E", f"hash_seed={UUID},lazy_itable_init=0,nodiscard",
        "-O", "^orphan_file,^metadata_csum_seed,^resize_inode", "-d", str(root), str(image), str(BLOCKS),
        extra_environment=fake,
    )  # fmt: skip
    commands = []
    for path in [root, *paths]:
        inside = "/" + str(path.relative_to(root)).removeprefix(".")
        commands += [f'sif "{inside}" uid 0', f'sif "{inside}" gid 0']
        commands += [f'sif "{inside}" {field} @{TIME}' for field in ("ctime", "atime", "mtime", "crtime")]
    script = work / "owners"
    script.write_text("\n".join(commands) + "\n")
    complaints = stage.run("debugfs", "-w", "-f", str(script), str(image), extra_environment=fake)
    bad = [line for line in complaints.splitlines() if line and not line.startswith(("debugfs:", "debugfs "))]
    if bad:
        raise ImageError(f"debugfs: {bad[0]}")

"""The first MiB of the OS disk: GRUB for BIOS, put together by hand (nothing to patch, no loop device, no root)."""

from __future__ import annotations

import struct
from pathlib import Path

from azurelab.guests.packages import ImageError
from azurelab.guests.stage import Stage

__all__ = ["CMDLINE", "assemble", "grub_config"]

# linux16, not linux: decompressing the kernel takes 0.3 instead of 2.2 s under TCG. What is switched off costs boot time
# on an emulated processor and protects nothing in a guest that nobody shares.
CMDLINE = (
    "root=LABEL=osroot console=ttyS0 quiet loglevel=3 panic=-1 random.trust_cpu=on nokaslr edd=off no_timer_check "
    "cryptomgr.notests mitigations=off noresume rcupdate.rcu_expedited=1 8250.nr_uarts=1"
)
SECTOR_BYTES = 512
PARTITION_LBA = 2048
DISK_ID = 0x5EED0001


def grub_config(land: Path) -> str:
    return (land / "grub.cfg").read_text().replace("@CMDLINE@", CMDLINE)


def assemble(stage: Stage, config: str, partition: Path, disk: Path, work: Path) -> None:
    """`disk`: MBR with GRUB's boot code, its core image from sector 1, `partition` at 1 MiB, active, type Linux."""
    early = work / "early.cfg"
    early.write_text(config)
    core = work / "core.img"
    modules = stage.root / "usr/lib/grub/i386-pc"
    stage.run(
        "grub-mkimage", "-d", str(modules), "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-c", str(early),
        "-o", str(core), "biosdisk", "part_msdos", "ext2", "linux16", "normal", "configfile",
    )  # fmt: skip
    if core.stat().st_size > (PARTITION_LBA - 1) * SECTOR_BYTES:
        raise ImageError("GRUB's core image does not fit before the first partition.")
    sectors = partition.stat().st_size // SECTOR_BYTES
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", PARTITION_LBA, sectors)
    boot = (modules / "boot.img").read_bytes()[:440]
    with disk.open("wb") as out:
        out.write(boot + struct.pack("<IH", DISK_ID, 0) + entry + bytes(48) + b"\x55\xaa")
        out.write(core.read_bytes())
        out.seek(PARTITION_LBA * SECTOR_BYTES)
        with partition.open("rb") as source:
            while block := source.read(1 << 20):
                if block.count(0) == len(block):  # stays a hole
                    out.seek(len(block), 1)
                else:
                    out.write(block)
        out.truncate(PARTITION_LBA * SECTOR_BYTES + partition.stat().st_size)

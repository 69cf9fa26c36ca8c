"""The OS disk around its file system: a boot sector of our own, kernel and initrd in the space before the partition.

Why not GRUB: it reads 15 MB in a thousand pieces of 20 KiB. Under emulation, and with every read going to azurelab's
disk server, that took 3.5 of 7 seconds of a boot; this takes 250 reads. Sources: see `land/boot.s`.
"""

from __future__ import annotations

import struct
from pathlib import Path

from azurelab.guests.packages import ImageError

__all__ = ["CMDLINE", "assemble", "boot_sector", "patched_setup"]

# What is switched off costs boot time on an emulated processor and protects nothing in a guest that nobody shares.
CMDLINE = (
    "root=LABEL=osroot console=ttyS0 quiet loglevel=3 panic=-1 random.trust_cpu=on nokaslr edd=off no_timer_check "
    "cryptomgr.notests mitigations=off noresume rcupdate.rcu_expedited=1 8250.nr_uarts=1"
)
SECTOR_BYTES = 512
CHUNK_SECTORS = 127  # the most that one extended read may ask for
DISK_ID = 0x5EED0001
PARTITION_LBA = 36864  # 18 MiB: boot sector, kernel (14 MB on Debian 12) and initrd stand before it

SETUP_ADDRESS = 0x90000
CMDLINE_OFFSET = 0x9000  # from SETUP_ADDRESS; below it setup code, heap and stack
KERNEL_ADDRESS = 0x100000
INITRD_ADDRESS = 0x5C00000  # 92 MiB: above what the kernel unpacks itself to, below the end of 96 MiB
DAP_COUNT, TABLE = 0xD9, 0xE8  # offsets in the assembled boot sector


def boot_sector(land: Path, setup_sectors: int, segments: list[tuple[int, int, int]], partition_sectors: int) -> bytes:
    """The MBR. `segments` = (first LBA, sectors, address in memory); read in whole chunks, the last one overshoots."""
    code = bytearray(bytes.fromhex((land / "boot.hex").read_text()))
    if len(code) != TABLE:
        raise ImageError("land/boot.hex does not belong to this recipe.")
    struct.pack_into("<H", code, DAP_COUNT, setup_sectors)
    for lba, sectors, address in segments:
        code += struct.pack("<HII", -(-sectors // CHUNK_SECTORS), lba, address)
    code += struct.pack("<H", 0)
    entry = struct.pack("<B3sB3sII", 0x80, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", PARTITION_LBA, partition_sectors)
    return bytes(code.ljust(440, b"\0")) + struct.pack("<IH", DISK_ID, 0) + entry + bytes(48) + b"\x55\xaa"


def patched_setup(kernel: bytes, initrd_size_bytes: int, cmdline: str) -> tuple[bytes, int]:
    """The kernel's real-mode part with the boot protocol's fields filled in and the command line behind it; and the
    offset at which the protected-mode part starts in the file."""
    if kernel[0x202:0x206] != b"HdrS":
        raise ImageError("the kernel is not a bzImage.")
    size_bytes = ((kernel[0x1F1] or 4) + 1) * SECTOR_BYTES
    preferred, needs = struct.unpack_from("<QI", kernel, 0x258)
    if size_bytes > CMDLINE_OFFSET or preferred + needs > INITRD_ADDRESS:
        raise ImageError("the kernel is too large for this recipe's memory layout.")
    setup = bytearray(kernel[:size_bytes].ljust(CMDLINE_OFFSET, b"\0"))
    setup[0x210] = 0xFF  # a loader without a number of its own
    setup[0x211] |= 0x80  # the heap may be used
    struct.pack_into("<II", setup, 0x218, INITRD_ADDRESS, initrd_size_bytes)
    struct.pack_into("<H", setup, 0x224, CMDLINE_OFFSET - 0x200)
    struct.pack_into("<I", setup, 0x228, SETUP_ADDRESS + CMDLINE_OFFSET)
    return bytes(setup) + cmdline.encode().ljust(SECTOR_BYTES, b"\0"), size_bytes


def assemble(land: Path, kernel: bytes, initrd: bytes, partition: Path, disk: Path) -> None:
    """`disk`, sparse: boot sector, setup code, kernel, initrd; `partition` (active, type Linux) at PARTITION_LBA."""
    setup, rest_at = patched_setup(kernel, len(initrd), CMDLINE)
    setup_sectors = len(setup) // SECTOR_BYTES
    kernel_lba = 1 + setup_sectors
    kernel_sectors = -(-(len(kernel) - rest_at) // SECTOR_BYTES)
    initrd_lba = kernel_lba + kernel_sectors
    initrd_sectors = -(-len(initrd) // SECTOR_BYTES)
    if initrd_lba + initrd_sectors > PARTITION_LBA or setup_sectors > CHUNK_SECTORS:
        raise ImageError("kernel and initrd do not fit before the first partition.")
    segments = [(kernel_lba, kernel_sectors, KERNEL_ADDRESS), (initrd_lba, initrd_sectors, INITRD_ADDRESS)]
    size_bytes = partition.stat().st_size
    with disk.open("wb") as out:
        out.write(boot_sector(land, setup_sectors, segments, size_bytes // SECTOR_BYTES))
        out.write(setup)
        out.write(kernel[rest_at:])
        out.seek(initrd_lba * SECTOR_BYTES)
        out.write(initrd)
        out.seek(PARTITION_LBA * SECTOR_BYTES)
        with partition.open("rb") as source:
            while block := source.read(1 << 16):
                if block.count(0) == len(block):  # stays a hole
                    out.seek(len(block), 1)
                else:
                    out.write(block)
        out.truncate(PARTITION_LBA * SECTOR_BYTES + size_bytes)

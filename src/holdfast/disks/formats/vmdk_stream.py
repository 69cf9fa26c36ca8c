"""Stream-optimized VMDK as we write it: header, descriptor, grains, tables behind them, footer. Pure.

Grains of 64 KiB, each deflated alone; a table follows the 512 grains that it names; the directory is at the end and
the footer says where. Version 3 is what ESXi wants. Layout: Virtual Disk Format 5.0 (VMware), section "Stream-Optimized
Compressed Sparse Extents".
"""

from __future__ import annotations

import struct
from array import array

from holdfast.disks.formats.vmdk_header import MAGIC

__all__ = ["GRAINS_PER_TABLE", "GRAIN_BYTES", "StreamTables", "grain", "head"]

GRAIN_BYTES = 65536
GRAINS_PER_TABLE = 512
_SECTOR = 512
_OVERHEAD_SECTORS = 128
_AT_END = 0xFFFFFFFFFFFFFFFF
_MARK_END, _MARK_TABLE, _MARK_DIRECTORY, _MARK_FOOTER = 0, 1, 2, 3
_FLAGS = 1 | 1 << 16 | 1 << 17  # newline test, compressed grains, markers


def _sectors(size_bytes: int) -> int:
    return -(-size_bytes // _SECTOR)


def _capacity(size_bytes: int) -> int:
    """Sectors, in whole grains as readers expect."""
    return max(1, -(-size_bytes // GRAIN_BYTES)) * (GRAIN_BYTES // _SECTOR)


def _header(size_bytes: int, directory_sector: int) -> bytes:
    fields = struct.pack(
        "<4sIIQQQQIQQQBcccc H",
        MAGIC,
        3,
        _FLAGS,
        _capacity(size_bytes),
        GRAIN_BYTES // _SECTOR,
        1,
        20,
        GRAINS_PER_TABLE,
        0,
        directory_sector,
        _OVERHEAD_SECTORS,
        0,
        b"\n",
        b" ",
        b"\r",
        b"\n",
        1,
    )
    return fields.ljust(_SECTOR, b"\0")


def _descriptor(size_bytes: int, name: str, content_id: int) -> bytes:
    sectors = _capacity(size_bytes)
    cylinders = min(65535, sectors // (255 * 63) + 1)
    text = (
        "# Disk DescriptorFile\n"
        "version=1\n"
        f"CID={content_id:08x}\n"
        "parentCID=ffffffff\n"
        'createType="streamOptimized"\n'
        "\n# Extent description\n"
        f'RW {sectors} SPARSE "{name}"\n'
        "\n# The Disk Data Base\n#DDB\n\n"
        'ddb.adapterType = "lsilogic"\n'
        f'ddb.geometry.cylinders = "{cylinders}"\n'
        'ddb.geometry.heads = "255"\n'
        'ddb.geometry.sectors = "63"\n'
        'ddb.virtualHWVersion = "7"\n'
    )
    return text.encode().ljust(20 * _SECTOR, b"\0")


def head(size_bytes: int, name: str, content_id: int) -> bytes:
    """Everything before the first grain: 64 KiB."""
    text = _header(size_bytes, _AT_END) + _descriptor(size_bytes, name, content_id)
    return text.ljust(_OVERHEAD_SECTORS * _SECTOR, b"\0")


def grain(number: int, packed: bytes) -> bytes:
    """A deflated grain with its marker, padded to whole sectors."""
    data = struct.pack("<QI", number * (GRAIN_BYTES // _SECTOR), len(packed)) + packed
    return data + bytes(-len(data) % _SECTOR)


def _marker(sectors: int, kind: int) -> bytes:
    return struct.pack("<QII", sectors, 0, kind).ljust(_SECTOR, b"\0")


class StreamTables:
    """Collects where grains went; gives out each table when its 512 grains are behind, and the end of the file."""

    def __init__(self, size_bytes: int) -> None:
        self._size_bytes = size_bytes
        tables = max(1, -(-_capacity(size_bytes) // (GRAINS_PER_TABLE * GRAIN_BYTES // _SECTOR)))
        self._directory = array("I", [0]) * tables
        self._number = 0
        self._table = array("I", [0]) * GRAINS_PER_TABLE
        self._used = False

    def place(self, number: int, sector: int) -> None:
        """Grain `number` lies at `sector`. Call `turn_to` its table first; grains come in order."""
        self._table[number % GRAINS_PER_TABLE] = sector
        self._used = True

    def turn_to(self, number: int, sector: int) -> bytes:
        """What to append at `sector` before grain `number`: the finished table, if the grain is of a later one."""
        if number // GRAINS_PER_TABLE == self._number:
            return b""
        done = self._finished(sector)
        self._number = number // GRAINS_PER_TABLE
        return done

    def _finished(self, sector: int) -> bytes:
        if not self._used:
            return b""
        self._directory[self._number] = sector + 1
        body = _marker(GRAINS_PER_TABLE * 4 // _SECTOR, _MARK_TABLE) + self._table.tobytes()
        self._table = array("I", [0]) * GRAINS_PER_TABLE
        self._used = False
        return body

    def tail(self, sector: int) -> bytes:
        """The last table, the directory, the footer and the end marker, to append at `sector`."""
        last = self._finished(sector)
        at = sector + len(last) // _SECTOR
        directory = self._directory.tobytes()
        directory += bytes(-len(directory) % _SECTOR)
        return (
            last
            + _marker(len(directory) // _SECTOR, _MARK_DIRECTORY)
            + directory
            + _marker(1, _MARK_FOOTER)
            + _header(self._size_bytes, at + 1)
            + _marker(0, _MARK_END)
        )

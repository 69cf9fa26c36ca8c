"""qcow2 as we write it: header, tables, entries. Version 3, clusters of 64 KiB, 16-bit refcounts. Pure."""

from __future__ import annotations

import struct
from array import array

__all__ = [
    "CLUSTER_BYTES",
    "ENTRIES_PER_L2",
    "compressed_entry",
    "data_entry",
    "header",
    "l1_clusters",
    "l1_entries",
    "refcounts_per_block",
    "swapped",
]

CLUSTER_BYTES = 65536
ENTRIES_PER_L2 = CLUSTER_BYTES // 8
refcounts_per_block = CLUSTER_BYTES // 2
_USED_ONCE = 1 << 63
_COMPRESSED = 1 << 62
# bits of the offset field of a compressed entry: 62 - (cluster bits - 8)
_COMPRESSED_OFFSET_BITS = 62 - 8
_ZSTD_FEATURE = 1 << 3


def l1_entries(size_bytes: int) -> int:
    return max(1, -(-size_bytes // (ENTRIES_PER_L2 * CLUSTER_BYTES)))


def l1_clusters(size_bytes: int) -> int:
    return -(-l1_entries(size_bytes) * 8 // CLUSTER_BYTES)


def header(
    size_bytes: int, *, l1_offset: int, refcount_offset: int, refcount_clusters: int, zstd: bool = False
) -> bytes:
    """One cluster: the header and an empty list of extensions. The size is rounded up to whole sectors."""
    features = _ZSTD_FEATURE if zstd else 0
    fields = struct.pack(
        ">4sIQIIQIIQQIIQQQQIIB7x",
        b"QFI\xfb",
        3,
        0,
        0,
        16,
        -(-size_bytes // 512) * 512,
        0,
        l1_entries(size_bytes),
        l1_offset,
        refcount_offset,
        refcount_clusters,
        0,
        0,
        features,
        0,
        0,
        4,
        112,
        1 if zstd else 0,
    )
    return fields.ljust(CLUSTER_BYTES, b"\0")


def data_entry(host_offset: int) -> int:
    """A cluster of plain data that is used once."""
    return _USED_ONCE | host_offset


def compressed_entry(host_offset: int, size_bytes: int) -> int:
    """Compressed data anywhere in the file; the entry counts the sectors past the first that it touches."""
    more_sectors = (host_offset + size_bytes - 1) // 512 - host_offset // 512
    return _COMPRESSED | more_sectors << _COMPRESSED_OFFSET_BITS | host_offset


def swapped(table: array[int]) -> bytes:
    """Big-endian bytes of a table."""
    copy = array(table.typecode, table)
    copy.byteswap()
    return copy.tobytes()

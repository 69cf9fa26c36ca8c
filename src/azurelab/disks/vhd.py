"""The footer of a fixed VHD: 512 bytes after the disk's own, which every download carries and every upload ends with.

Layout: "Virtual Hard Disk Image Format Specification" (Microsoft, 2006). All numbers are big-endian.
"""

from __future__ import annotations

import struct

__all__ = ["FOOTER_BYTES", "FooterInvalid", "check_footer", "make_footer"]

FOOTER_BYTES = 512
_COOKIE = b"conectix"
_FIXED = 2
_LAYOUT = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427s")
_CHECKSUM_AT = 64


class FooterInvalid(Exception):
    """The last 512 bytes of an upload are not the footer of a fixed VHD of the right size; the text says why."""


def _checksum(footer: bytes) -> int:
    """One's complement of the sum of all bytes, the checksum's own four counted as zero."""
    total = sum(footer) - sum(footer[_CHECKSUM_AT : _CHECKSUM_AT + 4])
    return ~total & 0xFFFFFFFF


def _geometry(size_bytes: int) -> tuple[int, int, int]:
    """Cylinders, heads, sectors per track: the specification's appendix "CHS Calculation"."""
    sectors = min(size_bytes // 512, 65535 * 16 * 255)
    if sectors >= 65535 * 16 * 63:
        per_track, heads = 255, 16
        cylinders_times_heads = sectors // per_track
    else:
        per_track = 17
        cylinders_times_heads = sectors // per_track
        heads = max((cylinders_times_heads + 1023) // 1024, 4)
        if cylinders_times_heads >= heads * 1024 or heads > 16:
            per_track, heads = 31, 16
            cylinders_times_heads = sectors // per_track
        if cylinders_times_heads >= heads * 1024:
            per_track, heads = 63, 16
            cylinders_times_heads = sectors // per_track
    return cylinders_times_heads // heads, heads, per_track


def make_footer(size_bytes: int) -> bytes:
    """The footer of a disk of `size_bytes`.

    It depends on the size alone (no time, no id), so that two snapshots of one disk differ only where the disk does.
    """
    cylinders, heads, per_track = _geometry(size_bytes)
    fields = (
        _COOKIE,
        2,  # features: the reserved bit that is always set
        0x00010000,  # file format version
        0xFFFFFFFFFFFFFFFF,  # data offset: none, as the disk is fixed
        0,  # time stamp
        b"alab",  # creator application
        0x00010000,  # creator version
        b"Wi2k",  # creator host: the only other registered value is Macintosh
        size_bytes,  # original size
        size_bytes,  # current size
        cylinders,
        heads,
        per_track,
        _FIXED,
    )
    unsigned = _LAYOUT.pack(*fields, 0, bytes(16), 0, b"")
    return _LAYOUT.pack(*fields, _checksum(unsigned), bytes(16), 0, b"")


def check_footer(footer: bytes, size_bytes: int) -> None:
    """Raise `FooterInvalid` unless these 512 bytes end a fixed VHD whose disk has `size_bytes`."""
    fields = _LAYOUT.unpack(footer)
    cookie, current_size, disk_type, checksum = fields[0], fields[9], fields[13], fields[14]
    if cookie != _COOKIE:
        raise FooterInvalid("the cookie 'conectix' is missing")
    if checksum != _checksum(footer):
        raise FooterInvalid(f"the checksum is {checksum:#010x}, expected {_checksum(footer):#010x}")
    if disk_type != _FIXED:
        raise FooterInvalid(f"the disk type is {disk_type}; only fixed disks (2) can be uploaded")
    if current_size != size_bytes:
        raise FooterInvalid(f"the footer speaks of {current_size} bytes, the disk has {size_bytes}")

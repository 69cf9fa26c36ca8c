"""A qcow2 from outside: every reason not to open it. Each pointer is checked before it is followed."""

from __future__ import annotations

import struct
import sys
from array import array

from holdfast.core.units import MIB
from holdfast.disks.formats import qcow2_header as q
from holdfast.disks.formats.facts import ImageFacts, Source
from holdfast.disks.formats.qcow2_header import Qcow2Header
from holdfast.disks.formats.qcow2_tables import HostClusters, check_data

__all__ = ["inspect"]

_KNOWN_FEATURES = q.DIRTY | q.CORRUPT | q.DATA_FILE | q.COMPRESSION | q.EXTENDED_L2
_MOST_L1_BYTES = 32 * MIB  # QEMU's own limit


def inspect(source: Source) -> ImageFacts | None:
    """Everything that makes a qcow2 unsafe or unreadable. None if it is no qcow2."""
    header = q.parse(source)
    if header is None:
        return None
    facts = ImageFacts("qcow2", header.size_bytes, f"version {header.version}")
    if header.version not in (2, 3):
        facts.suspect("version", f"version {header.version} is not known")
        return facts
    if not 9 <= header.cluster_bits <= 21 or header.refcount_order > 6:
        facts.suspect(
            "sizes", f"clusters of 2^{header.cluster_bits} bytes, refcounts of 2^{header.refcount_order} bits"
        )
        return facts
    if header.backing_offset:
        name = source.at(header.backing_offset, min(header.backing_size, 200)).decode(errors="replace")
        facts.suspect("backing-file", f"it is backed by {name!r}")
    if header.crypt_method:
        facts.suspect("encryption", "it is encrypted")
    if header.features & q.DATA_FILE:
        facts.suspect("data-file", "its data lie in another file")
    if header.features & q.CORRUPT:
        facts.suspect("torn", "it is marked corrupt")
    if header.features & ~_KNOWN_FEATURES:
        facts.suspect("version", f"unknown features {header.features & ~_KNOWN_FEATURES:#x}")
    _check_extensions(source, header, facts)
    _check_tables(source, header, facts)
    return facts


def _check_extensions(source: Source, header: Qcow2Header, facts: ImageFacts) -> None:
    at, end = header.header_bytes, header.cluster_bytes
    if not 72 <= at <= end or at % 8:
        facts.suspect("torn", f"a header of {at} bytes")
        return
    for _ in range(64):
        raw = source.at(at, 8)
        if at + 8 > end or len(raw) < 8:
            return
        kind, size = struct.unpack(">II", raw)
        if kind == q.EXT_END:
            return
        if kind == q.EXT_DATA_FILE:
            facts.suspect(
                "data-file", f"it names the data file {source.at(at + 8, min(size, 200)).decode(errors='replace')!r}"
            )
        if size > end:
            facts.suspect("torn", "a header extension is longer than the header")
            return
        at += 8 + (size + 7) // 8 * 8
    facts.suspect("torn", "too many header extensions")


def _check_tables(source: Source, header: Qcow2Header, facts: ImageFacts) -> None:
    """Tables must lie in the file, each in a place of its own; then so must the data that they name."""
    if not _places_are_possible(source, header, facts):
        return
    first_table = _big_endian(source.at(header.l1_offset, header.l1_entries * 8))
    if len(first_table) < header.l1_entries:
        facts.suspect("torn", "its first table ends past the file")
        return
    used = HostClusters(source.size_bytes, header.cluster_bits)
    used.claim_run(0, header.cluster_bytes)
    used.claim_run(header.l1_offset, header.l1_entries * 8)
    tables = [entry & q.OFFSET_MASK for entry in first_table]
    if not _check_second_tables(source, header, tables, used, facts):
        return
    if not _check_refcounts(source, header, used, facts):
        return
    if header.features & q.DATA_FILE:
        return  # the tables speak of another file, for which the image is refused
    if not check_data(source, header, tables, used, facts):
        return
    twice = used.used_twice()
    if twice is None:
        facts.unchecked.append("it has too many clusters to tell whether one of them is used twice")
    elif twice:
        facts.suspect("cycle", f"{twice} clusters are used twice: for two parts of the disk, or for data and a table")


def _places_are_possible(source: Source, header: Qcow2Header, facts: ImageFacts) -> bool:
    cluster = header.cluster_bytes
    if header.l1_entries < header.l1_entries_needed:
        facts.suspect(
            "torn", f"its first table has {header.l1_entries} entries where {header.l1_entries_needed} are needed"
        )
        return False
    if header.l1_entries * 8 > _MOST_L1_BYTES:
        facts.suspect("sizes", f"a first table of {header.l1_entries} entries")
        return False
    places = [("refcount table", header.refcount_offset)]
    if header.l1_entries:  # QEMU gives a disk of no bytes no table, and no place for one
        places.append(("first table", header.l1_offset))
    for what, offset in places:
        if offset % cluster or not cluster <= offset < max(source.size_bytes, cluster + 1):
            facts.suspect("torn", f"its {what} lies at {offset}, outside the file or inside the header")
            return False
    if header.refcount_clusters * cluster > _MOST_L1_BYTES * 4 or header.snapshots > 65536:
        facts.suspect("sizes", "absurd counts of refcount clusters or snapshots")
        return False
    return True


def _check_second_tables(
    source: Source, header: Qcow2Header, tables: list[int], used: HostClusters, facts: ImageFacts
) -> bool:
    """All of each: QEMU writes a table whole before it names it."""
    cluster = header.cluster_bytes
    seen: set[int] = set()
    for offset in filter(None, tables):
        if offset % cluster or offset + cluster > source.size_bytes:
            facts.suspect("torn", f"a table pointer {offset} leads out of the file")
            return False
        if offset in seen or offset in (header.l1_offset, header.refcount_offset):
            facts.suspect("cycle", f"the table at {offset} is used twice")
            return False
        seen.add(offset)
    used.claim([offset >> header.cluster_bits for offset in seen])
    return True


def _check_refcounts(source: Source, header: Qcow2Header, used: HostClusters, facts: ImageFacts) -> bool:
    """Nobody counts references to read, but a table that lies in the data, or a file that lacks one, is no good one."""
    cluster, size = header.cluster_bytes, header.refcount_clusters * header.cluster_bytes
    blocks = list(filter(None, _big_endian(source.at(header.refcount_offset, size))))
    if header.refcount_offset + size > source.size_bytes:
        facts.suspect("torn", "its refcount table ends past the file")
        return False
    offsets = [entry & q.OFFSET_MASK for entry in blocks]
    for offset in offsets:
        if offset % cluster or not cluster <= offset <= source.size_bytes - cluster:
            facts.suspect("torn", f"a block of refcounts lies at {offset}, outside the file or inside the header")
            return False
    used.claim_run(header.refcount_offset, size)
    used.claim([offset >> header.cluster_bits for offset in offsets])
    return True


def _big_endian(raw: bytes) -> array[int]:
    """Whole entries of a table."""
    table = array("Q", raw[: len(raw) // 8 * 8])
    if sys.byteorder == "little":
        table.byteswap()
    return table

"""The tables of a qcow2 as we walk them, against the plainest walk that can be written; and names of file states."""

from __future__ import annotations

import struct
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from holdfast.disks.formats.qcow2_header import Qcow2Header, Qcow2Map, allocated
from holdfast.disks.model.chain import chain_of
from holdfast.disks.model.extents import Kind

CLUSTER = 512
PER_TABLE = CLUSTER // 8
TABLES = 3
FILE_CLUSTERS = 200
DATA_FROM = 8  # header, first table, tables of the second level lie before


class Bytes:
    """An image of one first table and `TABLES` second ones; data clusters are named but not there."""

    def __init__(self, entries: list[int]) -> None:
        tables = b"".join(struct.pack(">Q", entry) for entry in entries)
        first = struct.pack(f">{TABLES}Q", *((1 << 63) | (2 + n) * CLUSTER for n in range(TABLES)))
        self._bytes = bytes(CLUSTER) + first.ljust(CLUSTER, b"\0") + tables
        self.size_bytes = FILE_CLUSTERS * CLUSTER

    def at(self, offset: int, size: int) -> bytes:
        return self._bytes[offset : offset + size].ljust(size, b"\0")


HEADER = Qcow2Header(
    version=3,
    backing_offset=0,
    backing_size=0,
    cluster_bits=9,
    size_bytes=TABLES * PER_TABLE * CLUSTER,
    crypt_method=0,
    l1_entries=TABLES,
    l1_offset=CLUSTER,
    refcount_offset=0,
    refcount_clusters=0,
    snapshots=0,
    features=0,
    refcount_order=4,
    header_bytes=104,
)
places = st.integers(DATA_FROM, FILE_CLUSTERS - 1).map(lambda n: n * CLUSTER)
plain_entry = st.one_of(
    st.just(0), st.just(1), places.map(lambda at: at | 1 << 63), places.map(lambda at: at | 1 << 63 | 1)
)
odd_entry = st.one_of(
    places,  # not marked as used once
    places.map(lambda at: at | 1 << 62),  # compressed
    places.map(lambda at: at | 1 << 63 | 1 << 57),  # a bit that nobody knows
    st.just((1 << 63) | FILE_CLUSTERS * CLUSTER),  # past the file
)


def tables(entry: st.SearchStrategy[int]) -> st.SearchStrategy[list[int]]:
    count = TABLES * PER_TABLE
    sparse = st.dictionaries(st.integers(0, count - 1), entry, max_size=40)
    return sparse.map(lambda found: [found.get(n, 0) for n in range(count)])


@given(tables(plain_entry), st.integers(0, TABLES * PER_TABLE), st.integers(0, TABLES * PER_TABLE))
def test_runs_name_each_data_cluster_and_its_place(entries: list[int], one: int, other: int) -> None:
    first, last = sorted((one, other))
    mapping = Qcow2Map(Bytes(entries), HEADER)
    told = {}
    for extent, host in mapping.runs(first * CLUSTER, last * CLUSTER):
        for at in range(extent.start, extent.end, CLUSTER):
            told[at // CLUSTER] = host + at - extent.start

    assert mapping.plain()
    assert told == {
        n: entry & 0x00FFFFFFFFFFFE00
        for n, entry in enumerate(entries)
        if entry >> 63 and not entry & 1 and first <= n < last
    }


@given(tables(plain_entry), st.integers(0, TABLES * PER_TABLE - 1), odd_entry)
def test_one_entry_that_is_not_plain_leaves_the_image_to_qemu(entries: list[int], at: int, odd: int) -> None:
    entries[at] = odd

    assert not Qcow2Map(Bytes(entries), HEADER).plain()


@given(tables(st.one_of(plain_entry, places.map(lambda at: at | 1 << 62))))
def test_a_layer_decides_data_zeros_and_compressed_clusters(entries: list[int]) -> None:
    told = allocated(Bytes(entries), HEADER)
    assert told is not None
    kinds = {at // CLUSTER: e.kind for e in told for at in range(e.start, e.end, CLUSTER)}

    def kind(entry: int) -> Kind:
        return Kind.ZERO if entry & 1 and not entry >> 62 & 1 else Kind.DATA

    assert kinds == {n: kind(entry) for n, entry in enumerate(entries) if entry}


def test_parts_of_clusters_are_not_accounted_for() -> None:
    assert allocated(Bytes([0] * TABLES * PER_TABLE), replace(HEADER, features=16)) is None


def test_state_names_follow_what_changes_the_disk_and_nothing_else() -> None:
    file = {"kind": "file", "inode": 7, "size_bytes": 100, "mtime_ns": 5, "ctime_ns": 6}
    name = chain_of([("raw", file)])

    assert name == chain_of([("raw", {**file, "ctime_ns": 99})])
    others = [
        [("qcow2", file)],
        [("raw", {**file, "inode": 8})],
        [("raw", {**file, "size_bytes": 101})],
        [("raw", {**file, "mtime_ns": 6})],
        [("qcow2", file), ("raw", file)],
    ]
    assert len({name, *map(chain_of, others)}) == 6
    assert chain_of([("raw", {"kind": "device"})]) is None

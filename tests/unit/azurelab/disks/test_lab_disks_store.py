"""The extent store: space, sharing, growth, crash and the ends of things."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from azurelab.disks.changes import changed_extents
from azurelab.disks.errors import OutOfRange, ReadOnly, StoreLocked, VolumeExists, VolumeNotFound
from azurelab.disks.pages import PAGE, Extent, Kind
from azurelab.disks.store import DiskStore

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    opened = DiskStore(tmp_path / "disks")
    yield opened
    opened.close()


def files_of(store: DiskStore) -> list[Path]:
    return sorted(store._layers_folder.iterdir())


def test_two_thousand_disks_and_snapshots_without_bytes_make_no_file(store: DiskStore) -> None:
    for n in range(500):
        store.create(f"d{n}", 30 << 30)
        store.snapshot(f"d{n}", f"s{n}")
        store.clone(f"s{n}", f"c{n}")
        store.snapshot(f"c{n}", f"t{n}")

    assert files_of(store) == []


def test_clone_of_a_full_disk_takes_no_space_and_diverges_on_write(store: DiskStore) -> None:
    disk = store.create("disk", 8 * MIB)
    disk.write(0, b"a" * 8 * MIB)
    before = len(files_of(store))

    clone = store.clone("disk", "clone", 16 * MIB)

    assert len(files_of(store)) == before
    clone.write(PAGE, b"b" * PAGE)
    assert disk.read(PAGE, 1) == b"a"
    assert clone.read(PAGE - 1, 2) == b"ab"
    assert clone.read(8 * MIB, 8 * MIB) == bytes(8 * MIB)


def test_deleting_the_last_owner_of_a_layer_removes_its_files_and_not_before(store: DiskStore) -> None:
    store.create("disk", MIB).write(0, b"x" * PAGE)
    store.snapshot("disk", "snap")

    store.delete("disk")
    assert store.get("snap").read(0, 1) == b"x"
    assert files_of(store) != []

    store.delete("snap")
    store.delete("snap")
    assert files_of(store) == []


def test_trim_of_never_written_pages_is_reported_as_cleared_and_nothing_else(store: DiskStore) -> None:
    disk = store.create("disk", MIB)
    store.snapshot("disk", "s1")
    disk.clear(8 * PAGE, 4 * PAGE)
    disk.write(20 * PAGE + 512, b"y" * 512)
    store.snapshot("disk", "s2")

    changes = list(changed_extents(store.get("s2"), store.get("s1")))

    assert changes == [
        Extent(8 * PAGE, 12 * PAGE, Kind.ZERO),
        Extent(20 * PAGE, 21 * PAGE, Kind.DATA),
    ]


def test_diff_towards_an_older_state_gives_that_state_back(store: DiskStore) -> None:
    disk = store.create("disk", MIB)
    disk.write(0, b"1" * 4 * PAGE)
    store.snapshot("disk", "s1")
    disk.write(PAGE, b"2" * PAGE)
    disk.write(10 * PAGE, b"2" * PAGE)
    disk.clear(3 * PAGE, PAGE)
    store.snapshot("disk", "s2")

    replayed = store.get("s2").read(0, MIB)
    for extent in changed_extents(store.get("s1"), store.get("s2")):
        replayed[extent.start : extent.end] = store.get("s1").read(extent.start, extent.size_bytes)

    assert replayed == store.get("s1").read(0, MIB)


def test_a_discard_gives_space_back_to_the_host(store: DiskStore) -> None:
    disk = store.create("disk", 8 * MIB)
    disk.write(0, os.urandom(8 * MIB))
    full = disk.allocated_bytes()

    disk.clear(0, 8 * MIB)

    assert full >= 8 * MIB
    assert disk.allocated_bytes() < MIB


def test_snapshots_of_several_disks_show_one_moment_while_a_writer_runs(store: DiskStore) -> None:
    a, b = store.create("a", MIB), store.create("b", MIB)
    stop = threading.Event()

    def write_a_then_b() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            stamp = n.to_bytes(8, "big").ljust(512, b"\0")
            a.write(0, stamp)
            b.write(0, stamp)

    writer = threading.Thread(target=write_a_then_b)
    writer.start()
    try:
        for n in range(60):
            taken = store.snapshot_all({"a": f"a{n}", "b": f"b{n}"})
            in_a = int.from_bytes(taken["a"].read(0, 8), "big")
            in_b = int.from_bytes(taken["b"].read(0, 8), "big")
            assert in_a - in_b in (0, 1)  # b never holds what a does not
    finally:
        stop.set()
        writer.join()


def test_a_chain_of_rotating_snapshots_stays_short_and_keeps_its_diffs(tmp_path: Path) -> None:
    store = DiskStore(tmp_path / "disks", deep=4)
    disk = store.create("disk", MIB)
    model = bytearray(MIB)
    previous = None
    for n in range(60):
        page = n * 7 % 256
        disk.write(page * PAGE, bytes([n + 1]) * PAGE)
        model[page * PAGE : (page + 1) * PAGE] = bytes([n + 1]) * PAGE
        store.snapshot("disk", f"s{n}")
        if previous is not None:
            changes = list(changed_extents(store.get(f"s{n}"), store.get(previous)))
            assert changes == [Extent(page * PAGE, (page + 1) * PAGE, Kind.DATA)]
            store.delete(previous)
        previous = f"s{n}"

    store.settle()

    assert len(disk.layers) <= 7
    assert disk.read(0, MIB) == model
    store.close()


def test_reading_the_deepest_of_many_live_snapshots_is_right(store: DiskStore) -> None:
    disk = store.create("disk", 64 * PAGE)
    for n in range(120):
        disk.write(n % 64 * PAGE, bytes([n + 1]) * PAGE)
        store.snapshot("disk", f"s{n}")

    assert len(disk.layers) == 121
    for n in range(64):
        newest = n + 64 if n + 64 < 120 else n
        assert disk.read(n * PAGE, PAGE) == bytes([newest + 1]) * PAGE


def test_raw_image_becomes_a_sparse_read_only_volume(store: DiskStore, tmp_path: Path) -> None:
    image = tmp_path / "image.raw"
    with image.open("wb") as file:
        file.truncate(64 * MIB)
        file.seek(5 * MIB)
        file.write(b"boot" * PAGE)
        file.seek(40 * MIB)
        file.write(bytes(MIB) + b"tail" * 128)

    base = store.import_raw("image", image)
    disk = store.clone("image", "os", 128 * MIB)

    assert base.digest() == __import__("hashlib").sha256(image.read_bytes()).hexdigest()
    assert disk.read(5 * MIB, 4 * PAGE) == b"boot" * PAGE
    assert sum(e.size_bytes for e in base.data_extents()) == 4 * PAGE + PAGE
    with pytest.raises(ReadOnly):
        base.write(0, bytes(512))


@pytest.mark.parametrize(("offset", "size"), [(1, 512), (0, 511), (MIB, 512), (MIB - 512, 1024), (-512, 512)])
def test_unaligned_or_outside_writes_and_clears_are_refused(store: DiskStore, offset: int, size: int) -> None:
    disk = store.create("disk", MIB)

    with pytest.raises(OutOfRange):
        disk.write(offset, bytes(size))
    with pytest.raises(OutOfRange):
        disk.clear(offset, size)


def test_ids_are_unique_and_missing_ones_are_named(store: DiskStore) -> None:
    store.create("disk", MIB)

    with pytest.raises(VolumeExists):
        store.create("disk", MIB)
    with pytest.raises(VolumeNotFound):
        store.get("nothing")
    with pytest.raises(OutOfRange):
        store.resize("disk", MIB // 2)


def test_a_second_process_or_store_cannot_open_the_same_folder(store: DiskStore, tmp_path: Path) -> None:
    with pytest.raises(StoreLocked):
        DiskStore(tmp_path / "disks")


_CHILD = """
import sys
from pathlib import Path
from azurelab.disks.store import DiskStore
store = DiskStore(Path(sys.argv[1]))
disk = store.find("disk") or store.create("disk", 4 << 20)
for n in range(1, 1_000_000):
    page = n * 37 % 1000
    disk.write(page * 4096 + 512, n.to_bytes(8, "big") * 64)
    if n % 5 == 0:
        disk.clear((page + 1) % 1000 * 4096, 4096)
    if n % 9 == 0:
        store.snapshot("disk", f"{sys.argv[2]}-{n}")
    if n % 27 == 0:
        store.delete(f"{sys.argv[2]}-{n - 9}")
    if n % 3 == 0:
        disk.flush()
    print(n, flush=True)
"""


def test_kill_9_at_any_moment_loses_no_acknowledged_write_and_no_snapshot(tmp_path: Path) -> None:
    folder = tmp_path / "disks"
    model = bytearray(4 << 20)
    for generation in range(4):
        with subprocess.Popen(
            [sys.executable, "-c", _CHILD, str(folder), str(generation)], stdout=subprocess.PIPE
        ) as child:
            assert child.stdout is not None
            acknowledged = 0
            for line in child.stdout:
                acknowledged = int(line)
                if acknowledged >= 40 + 31 * generation:
                    break
            child.send_signal(signal.SIGKILL)
            acknowledged = max([acknowledged, *(int(line) for line in child.stdout.read().split(b"\n")[:-1] if line)])
        for n in range(1, acknowledged + 1):
            page = n * 37 % 1000
            model[page * PAGE + 512 : page * PAGE + 1024] = n.to_bytes(8, "big") * 64
            if n % 5 == 0:
                start = (page + 1) % 1000 * PAGE
                model[start : start + PAGE] = bytes(PAGE)

        store = DiskStore(folder)
        disk = store.get("disk")
        unacknowledged = acknowledged + 1
        free = {unacknowledged * 37 % 1000, (unacknowledged * 37 + 1) % 1000}
        for page in range(1024):
            if page in free:  # the write in flight may be there or not
                model[page * PAGE : (page + 1) * PAGE] = disk.read(page * PAGE, PAGE)
            assert disk.read(page * PAGE, PAGE) == model[page * PAGE : (page + 1) * PAGE], page
        for n in range(9, acknowledged + 1, 9):
            gone = (n + 9) % 27 == 0 and n + 9 <= acknowledged
            if not gone and (n + 9) != unacknowledged:
                assert store.find(f"{generation}-{n}") is not None
        named = {layer.id for volume_id in store.ids() for layer in store.get(volume_id).layers}
        assert {path.stem for path in store._layers_folder.iterdir()} <= named
        store.close()

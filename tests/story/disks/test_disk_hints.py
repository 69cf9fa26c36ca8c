"""The second, faster digest spares work and is never believed where it could be wrong."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from disk_fakes import CHUNK, Killed, Trouble
from disk_replica import CHUNKS, Replica, actual_changes

from holdfast.disks import scanning
from holdfast.disks.digests.hints import Hints, hints_path
from holdfast.disks.model.chunks import digest_of
from holdfast.disks.readers.protocol import ChangeList


@pytest.fixture
def digested(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Sizes of the chunks that were digested by BLAKE3."""
    sizes: list[int] = []

    def counting(data: memoryview) -> bytes:
        sizes.append(len(data))
        return digest_of(data)

    monkeypatch.setattr(scanning, "digest_of", counting)
    return sizes


def hints_of(replica: Replica) -> Path:
    return Path(hints_path(replica.list_path))


def test_run_after_one_that_read_everything_digests_only_what_changed(tmp_path: Path, digested: list[int]) -> None:
    replica = Replica(tmp_path, 1)
    replica.run()
    replica.run()
    digested.clear()

    assert replica.run().changed_bytes == 0
    assert digested == []

    replica.source[5 * CHUNK : 6 * CHUNK] = b"n" * CHUNK
    replica.version += 1
    assert replica.run().changed_bytes == CHUNK
    assert digested == [CHUNK]
    assert replica.equal


def test_without_its_hints_a_run_digests_everything_and_finds_the_same(tmp_path: Path, digested: list[int]) -> None:
    replica = Replica(tmp_path, 2)
    replica.run()
    replica.run()
    roots = [replica.run().root]
    digested.clear()
    hints_of(replica).unlink()

    roots.append(replica.run().root)

    assert roots[0] == roots[1]
    assert len(digested) > CHUNKS // 3


@pytest.mark.parametrize("away", ["hole", "tracked"])
def test_chunk_that_was_cleared_and_comes_back_as_it_was_is_written_again(tmp_path: Path, away: str) -> None:
    """The hint of the old content must not vouch for a target that holds zeros by now."""
    replica = Replica(tmp_path, 3)
    replica.source[7 * CHUNK : 9 * CHUNK] = random.Random(1).randbytes(2 * CHUNK)
    replica.run()
    replica.run()
    whole = bytearray(replica.source)
    since = f"state-{replica.version}"
    replica.source, replica.version = bytearray(whole), replica.version + 1
    replica.source[7 * CHUNK : 9 * CHUNK] = bytes(2 * CHUNK)
    if away == "tracked":
        extents = actual_changes(whole, replica.source, replica.rng)
        replica.run(changes=ChangeList(since, f"state-{replica.version}", extents, "test"))
    else:
        replica.run()
    assert replica.equal

    replica.source, replica.version = whole, replica.version + 1
    replica.run()

    assert replica.equal


def _meddle(rng: random.Random, hints: Path, kept: list[bytes]) -> None:
    """What can happen to a file that nobody syncs, orders or guards."""
    whole = hints.read_bytes()
    kept.append(whole)
    what = rng.randrange(7)
    if what == 0:
        hints.unlink()
    elif what == 1:
        hints.write_bytes(rng.choice(kept))  # an older state, with or without its key
    elif what == 2:
        hints.write_bytes(whole[: rng.randrange(len(whole))])
    elif what == 3:
        torn = bytearray(whole)  # sectors of an older state between those of the newer
        older = rng.choice(kept)
        for at in range(4096, min(len(whole), len(older)), 512):
            if rng.random() < 0.5:
                torn[at : at + 512] = older[at : at + 512]
        hints.write_bytes(torn)
    elif what == 4:
        damaged = bytearray(whole)
        for _ in range(20):
            damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        hints.write_bytes(damaged)
    elif what == 5:
        hints.write_bytes(bytes(len(whole)))


@pytest.mark.parametrize("seed", [*range(10), *(pytest.param(n, marks=pytest.mark.slow) for n in range(10, 150))])
def test_replica_is_equal_whatever_happens_to_the_hints_the_run_and_the_source(tmp_path: Path, seed: int) -> None:
    replica = Replica(tmp_path, seed)
    rng, kept = replica.rng, list[bytes]()
    states = [(bytearray(replica.source), replica.version)]
    replica.run()
    replica.run()
    for _ in range(12):
        before, since = replica.source, f"state-{replica.version}"
        if rng.random() < 0.4:  # falls back to what it was once
            replica.source, replica.version = bytearray(rng.choice(states)[0]), replica.version + 1
        else:
            replica.change()
        states.append((bytearray(replica.source), replica.version))
        changes = None
        if rng.random() < 0.4:
            extents = actual_changes(before, replica.source, rng)
            changes = ChangeList(since, f"state-{replica.version}", extents, "test")
        if rng.random() < 0.4:
            with contextlib.suppress(Killed):
                replica.run(Trouble(rng.randrange(1, 8), Killed()), changes)
        if hints_of(replica).exists():
            _meddle(rng, hints_of(replica), kept)

        replica.run(changes=changes)

        assert replica.equal


def test_control_a_hint_that_is_not_bound_to_its_entry_would_leave_stale_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Take the binding away (tags alone are kept) and a chunk that went and came back is missed."""
    monkeypatch.setattr("holdfast.disks.digests.hints._xor", lambda one, _other: bytes(one))
    replica = Replica(tmp_path, 4)
    replica.source[7 * CHUNK : 8 * CHUNK] = b"A" * CHUNK
    replica.run()
    replica.run()
    whole, since = bytearray(replica.source), f"state-{replica.version}"
    replica.source, replica.version = bytearray(whole), replica.version + 1
    replica.source[7 * CHUNK : 8 * CHUNK] = b"B" * CHUNK
    extents = actual_changes(whole, replica.source, replica.rng)
    replica.run(changes=ChangeList(since, f"state-{replica.version}", extents, "test"))
    assert replica.equal

    replica.source, replica.version = whole, replica.version + 1
    replica.run()

    assert not replica.equal


def test_list_copied_with_its_hints_to_another_target_is_as_good_as_without(tmp_path: Path) -> None:
    one, other = Replica(tmp_path / "one", 5), Replica(tmp_path / "other", 6)
    for replica in (one, other):
        Path(replica.list_path).parent.mkdir()
        replica.run()
        replica.run()
    shutil.copyfile(hints_of(one), hints_of(other))
    other.change()

    other.run()

    assert other.equal


def test_hints_that_cannot_be_kept_are_told_and_change_nothing(tmp_path: Path) -> None:
    replica = Replica(tmp_path, 7)
    replica.run()
    hints_of(replica).mkdir()
    replica.change()

    report = replica.run()

    assert replica.equal
    assert any("hints cannot be kept" in note for note in report.notes)


def test_full_disk_under_the_hints_is_told_once_and_the_copy_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replica = Replica(tmp_path, 8)
    replica.run()
    monkeypatch.setattr("holdfast.disks.digests.hints.os.pwrite", _no_space(hints_of(replica)))

    report = replica.run()

    assert replica.equal
    assert len([note for note in report.notes if "No space left" in note]) == 1


def _no_space(hints: Path) -> Any:
    real = os.pwrite

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if offset and Path(f"/proc/self/fd/{fd}").resolve() == hints.resolve():
            raise OSError(28, "No space left on device")
        return real(fd, data, offset)

    return pwrite


def test_only_its_owner_may_read_the_key_and_every_file_has_its_own(tmp_path: Path) -> None:
    chunk = memoryview(b"the same bytes" * 100)
    one, other = Hints(str(tmp_path / "a"), CHUNK), Hints(str(tmp_path / "b"), CHUNK)

    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    assert one.tag(chunk) != other.tag(chunk)
    assert one.tag(chunk) != one.tag(memoryview(bytes(chunk) + b"\0"))
    again = Hints(str(tmp_path / "a"), CHUNK)
    assert again.tag(chunk) == one.tag(chunk)
    larger = Hints(str(tmp_path / "a"), 2 * CHUNK)  # about other chunks: begun anew
    assert larger.tag(chunk) != one.tag(chunk)
    for hints in (one, other, again, larger):
        hints.close()


def test_file_of_somebody_else_under_the_name_of_hints_is_left_alone(tmp_path: Path) -> None:
    disk, other = tmp_path / "day.hints", tmp_path / "precious"
    disk.write_bytes(bytes(4096) + b"a disk whose first page is empty" * 1000)
    other.write_bytes(b"mine")
    (tmp_path / "night.hints").symlink_to(other)
    before = disk.read_bytes()

    for name in ("day.hints", "night.hints"):
        with pytest.raises(OSError):
            Hints(str(tmp_path / name), CHUNK)

    assert (disk.read_bytes(), other.read_bytes()) == (before, b"mine")


def test_hints_that_others_could_have_read_or_planted_are_begun_anew(tmp_path: Path) -> None:
    path, chunk = tmp_path / "L.hints", memoryview(b"x" * 100)
    first = Hints(str(path), CHUNK)
    planted = first.tag(chunk)
    first.close()
    path.chmod(0o644)

    again = Hints(str(path), CHUNK)

    assert again.tag(chunk) != planted
    assert path.stat().st_mode & 0o777 == 0o600
    again.close()


def test_hints_that_cannot_be_read_vouch_for_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(tmp_path, 9)
    replica.run()
    replica.run()
    hints, real = hints_of(replica), os.pread

    def pread(fd: int, size: int, offset: int) -> bytes:
        if offset and Path(f"/proc/self/fd/{fd}").resolve() == hints.resolve():
            raise OSError(5, "Input/output error")
        return real(fd, size, offset)

    monkeypatch.setattr("holdfast.disks.digests.hints.os.pread", pread)
    replica.change()

    report = replica.run()

    assert replica.equal
    assert any("Input/output error" in note for note in report.notes)


def test_hints_make_room_for_the_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replica = Replica(tmp_path, 10)
    replica.run()
    replica.run()
    full = os.statvfs_result((4096, 4096, 100, 2, 2, 10, 10, 10, 0, 255))
    monkeypatch.setattr("holdfast.disks.digests.hints.os.fstatvfs", lambda _fd: full)
    replica.change()

    report = replica.run()

    assert replica.equal
    assert hints_of(replica).stat().st_size == 0
    assert any("too little room" in note for note in report.notes)

"""Copies to and from azurelab's data plane: whole, by page-range difference, and through every kind of trouble."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk_azure_lab import MIB, SIZE, Lab, running_lab

from azurelab.disks.vhd import check_footer
from holdfast.disks.changes import changes_of
from holdfast.disks.errors import AddressExpired, TargetHasContent, TargetTooSmall, TransferDamaged, WireBroken
from holdfast.disks.http.client import HttpClient
from holdfast.disks.jobs import CopyJob, diff, run_copy
from holdfast.disks.model.locator import Locator


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("plane")) as lab:
        yield lab


@pytest.fixture(autouse=True)
def calm(lab: Lab) -> Iterator[None]:
    yield
    lab.app.calm()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries wait a hundredth of their time."""
    import time

    plain = HttpClient.__init__
    monkeypatch.setattr(
        HttpClient,
        "__init__",
        lambda self, *a, **k: plain(self, *a, **{"sleep": lambda s: time.sleep(min(s, 0.01)), **k}),
    )


def filled(lab: Lab, name: str, seed: int = 1) -> None:
    rng = random.Random(seed)
    disk = lab.store.create(name, SIZE)
    for at in (0, 3 * MIB + 4096, 9 * MIB, SIZE - MIB):
        disk.write(at, rng.randbytes(MIB))


def test_snapshot_is_downloaded_without_its_footer(lab: Lab, tmp_path: Path) -> None:
    filled(lab, "down")
    lab.store.snapshot("down", "down-s")

    report = run_copy(CopyJob(lab.locator("down-s"), Locator(str(tmp_path / "d.raw")), digests=str(tmp_path / "L")))

    assert (tmp_path / "d.raw").read_bytes() == lab.bytes_of("down-s")
    assert report.read_bytes < 6 * MIB


def test_disk_is_uploaded_with_a_footer_that_the_lab_accepts(lab: Lab, tmp_path: Path) -> None:
    data = bytearray(random.Random(2).randbytes(SIZE - 1000))
    data[5 * MIB : 9 * MIB] = bytes(4 * MIB)
    (tmp_path / "u.raw").write_bytes(data)
    lab.store.create("up", SIZE)
    target = lab.locator("up", "Write")

    report = run_copy(CopyJob(Locator(str(tmp_path / "u.raw")), target, digests=str(tmp_path / "L"), verify="full"))

    assert lab.bytes_of("up") == bytes(data) + bytes(1000)
    footer = lab.footers.get("up")
    assert footer is not None
    check_footer(footer, SIZE)
    assert report.verified == "full"
    assert report.written_bytes <= SIZE - 4 * MIB + 65536


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
def test_replica_follows_snapshots_by_their_difference(lab: Lab, tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    name = f"follow{seed}"
    filled(lab, name, seed)
    target, listed = tmp_path / "r.raw", str(tmp_path / "L")
    lab.store.snapshot(name, f"{name}-0")
    run_copy(CopyJob(lab.locator(f"{name}-0", family=name), Locator(str(target)), digests=listed))
    for round_ in range(1, 8):
        disk = lab.store.get(name)
        for _ in range(rng.randrange(1, 5)):
            at, size = rng.randrange(SIZE // 512) * 512, rng.randrange(1, 900) * 512
            size = min(size, SIZE - at)
            if rng.random() < 0.5:
                disk.clear(at, size)
            else:
                disk.write(at, rng.randbytes(size))
        lab.store.snapshot(name, f"{name}-{round_}")
        older = lab.locator(f"{name}-{round_ - 1}", family=name)
        newer = lab.locator(f"{name}-{round_}", family=name)
        changes = changes_of(newer, previous=older.address)

        report = run_copy(CopyJob(newer, Locator(str(target)), base=listed, changes=changes))

        assert target.read_bytes() == lab.bytes_of(f"{name}-{round_}")
        assert "own list of changes" in report.why
        lab.grants.close(f"{name}-{round_ - 1}")


def test_difference_against_a_snapshot_that_the_replica_is_not_at_falls_back_loudly(lab: Lab, tmp_path: Path) -> None:
    filled(lab, "skip")
    target, listed = tmp_path / "r.raw", str(tmp_path / "L")
    for n in range(3):
        lab.store.get("skip").write(n * 2 * MIB, bytes([n + 1]) * 4096)
        lab.store.snapshot("skip", f"skip-{n}")
    run_copy(CopyJob(lab.locator("skip-0", family="skip"), Locator(str(target)), digests=listed))
    older, newer = lab.locator("skip-1", family="skip"), lab.locator("skip-2", family="skip")

    changes = changes_of(newer, previous=older.address)
    report = run_copy(CopyJob(newer, Locator(str(target)), base=listed, changes=changes))

    assert target.read_bytes() == lab.bytes_of("skip-2")
    assert any("chain is broken" in note for note in report.notes)


@pytest.mark.parametrize("kind", ["throttle", "close", "damage"])
def test_download_survives_every_third_answer_broken(lab: Lab, tmp_path: Path, kind: str) -> None:
    name = f"rough-{kind}"
    filled(lab, name)
    lab.store.snapshot(name, name + "-s")
    source = lab.locator(name + "-s")
    lab.app.break_every(3, kind)

    run_copy(CopyJob(source, Locator(str(tmp_path / "d.raw"))))

    assert (tmp_path / "d.raw").read_bytes() == lab.bytes_of(name + "-s")
    assert lab.app.count >= 3


@pytest.mark.parametrize("kind", ["throttle", "answer lost"])
def test_upload_survives_every_third_answer_broken(lab: Lab, tmp_path: Path, kind: str) -> None:
    name = f"up-{kind.replace(' ', '-')}"
    data = random.Random(3).randbytes(SIZE)
    (tmp_path / "u.raw").write_bytes(data)
    lab.store.create(name, SIZE)
    target = lab.locator(name, "Write")
    lab.app.break_every(3, kind)

    run_copy(CopyJob(Locator(str(tmp_path / "u.raw")), target))

    lab.app.every = 0
    assert lab.bytes_of(name) == data


def test_answers_that_are_always_damaged_fail_and_leave_no_target(lab: Lab, tmp_path: Path) -> None:
    filled(lab, "bad")
    lab.store.snapshot("bad", "bad-s")
    source = lab.locator("bad-s")
    lab.app.break_every(1, "damage")

    with pytest.raises((TransferDamaged, WireBroken)):
        run_copy(CopyJob(source, Locator(str(tmp_path / "d.raw"))))

    assert not (tmp_path / "d.raw").exists()


def test_address_that_expires_in_the_middle_is_renewed(lab: Lab, tmp_path: Path) -> None:
    filled(lab, "exp")
    lab.store.snapshot("exp", "exp-s")
    stale = lab.locator("exp-s")
    lab.grants.close("exp-s")
    renewals = []

    def renew() -> Locator:
        renewals.append(1)
        return lab.locator("exp-s")

    run_copy(CopyJob(stale, Locator(str(tmp_path / "d.raw")), renew_source=renew))

    assert renewals == [1]
    assert (tmp_path / "d.raw").read_bytes() == lab.bytes_of("exp-s")


def test_expired_address_without_renewal_says_so_and_the_same_command_resumes_with_a_new_one(
    lab: Lab, tmp_path: Path
) -> None:
    data = random.Random(4).randbytes(SIZE)
    (tmp_path / "u.raw").write_bytes(data)
    lab.store.create("exp-up", SIZE)
    first = lab.locator("exp-up", "Write")
    count = [0]

    def expire() -> None:
        count[0] += 1
        if count[0] > 2:
            lab.grants.close("exp-up")

    job = CopyJob(Locator(str(tmp_path / "u.raw")), first, digests=str(tmp_path / "L"))
    with pytest.raises(AddressExpired):
        run_copy(job, check=expire)
    again = lab.locator("exp-up", "Write")

    run_copy(CopyJob(job.source, again, digests=job.digests))

    assert lab.bytes_of("exp-up") == data
    assert first.address != again.address


def test_target_with_content_or_too_small_is_refused(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "u.raw").write_bytes(b"x" * SIZE)
    lab.store.create("full", SIZE).write(0, b"old!" * 128)
    lab.store.create("small", SIZE - MIB)

    with pytest.raises(TargetHasContent):
        run_copy(CopyJob(Locator(str(tmp_path / "u.raw")), lab.locator("full", "Write")))
    with pytest.raises(TargetTooSmall):
        run_copy(CopyJob(Locator(str(tmp_path / "u.raw")), lab.locator("small", "Write")))


def test_overwritten_upload_equals_the_source_where_that_is_zero(lab: Lab, tmp_path: Path) -> None:
    data = bytes(10 * MIB) + random.Random(5).randbytes(SIZE - 10 * MIB)
    (tmp_path / "u.raw").write_bytes(data)
    lab.store.create("over", SIZE).write(0, b"old!" * MIB)
    target = lab.locator("over", "Write")

    run_copy(CopyJob(Locator(str(tmp_path / "u.raw")), target, overwrite=True))

    assert lab.bytes_of("over") == data


def test_two_remote_disks_are_compared_and_one_byte_is_found(lab: Lab) -> None:
    filled(lab, "cmp-a")
    filled(lab, "cmp-b")
    assert diff(lab.locator("cmp-a"), lab.locator("cmp-b")).equal

    lab.store.get("cmp-b").write(9 * MIB + 512, b"\x00" * 512)

    found = diff(lab.locator("cmp-a"), lab.locator("cmp-b")).extents
    assert [(e.start, e.end) for e in found] == [(9 * MIB, 9 * MIB + 65536)]


def test_secret_address_shows_nowhere(lab: Lab, tmp_path: Path) -> None:
    filled(lab, "secret")
    source = lab.locator("secret")
    lab.grants.close("secret")

    with pytest.raises(AddressExpired) as caught:
        run_copy(CopyJob(source, Locator(str(tmp_path / "d.raw"))))

    secret = source.address.split("sig=")[1]
    for text in (str(caught.value), repr(source), str(caught.value.details), source.name):
        assert secret not in text
        assert "sig=" not in text

"""Every page to or from a page blob is guarded, by CRC-64 or else by MD5, and what goes wrong on the way is noticed."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from disk_azure_lab import MIB, SIZE, Lab, running_lab

from holdfast.disks.errors import TransferDamaged, WireBroken
from holdfast.disks.http import guards
from holdfast.disks.http.client import HttpClient
from holdfast.disks.http.pageblob import PageBlob
from holdfast.disks.jobs import CopyJob, run_copy
from holdfast.disks.model.locator import Locator

CRC_UP, CRC_DOWN = ("x-ms-content-crc64",), ("x-ms-range-get-content-crc64",)
MD5_UP, MD5_DOWN = ("content-md5",), ("x-ms-range-get-content-md5",)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running_lab(tmp_path_factory.mktemp("plane")) as lab:
        yield lab


@pytest.fixture(autouse=True)
def fresh(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No endpoint is known yet, and retries wait a hundredth of their time."""
    monkeypatch.setattr(guards, "_only_md5", set())
    plain = HttpClient.__init__
    monkeypatch.setattr(
        HttpClient,
        "__init__",
        lambda self, *a, **k: plain(self, *a, **{"sleep": lambda s: time.sleep(min(s, 0.01)), **k}),
    )
    yield
    lab.app.calm()


def up(lab: Lab, folder: Path, name: str) -> bytes:
    """Upload a disk that is data throughout; what it holds."""
    data = random.Random(name).randbytes(SIZE)
    (folder / f"{name}.raw").write_bytes(data)
    lab.store.create(name, SIZE)
    run_copy(CopyJob(Locator(str(folder / f"{name}.raw")), lab.locator(name, "Write")))
    return data


def down(lab: Lab, folder: Path, name: str) -> bytes:
    target = folder / f"{name}-down.raw"
    run_copy(CopyJob(lab.locator(name), Locator(str(target))))
    return target.read_bytes()


def seen(lab: Lab, method: str) -> list[tuple[str, ...]]:
    return [carried for asked, _, carried in lab.app.seen if asked == method]


def test_all_pages_are_guarded_by_crc64_and_none_by_two_guards(lab: Lab, tmp_path: Path) -> None:
    data = up(lab, tmp_path, "plain")

    assert down(lab, tmp_path, "plain") == data
    assert set(seen(lab, "PUT")) == {CRC_UP}
    assert set(seen(lab, "GET")) == {CRC_DOWN}


@pytest.mark.parametrize("deaf", ["crc64", "refuses crc64"])
def test_service_without_crc64_gets_every_page_again_with_md5_and_is_remembered(
    lab: Lab, tmp_path: Path, deaf: str
) -> None:
    lab.app.deaf = deaf
    name = f"old-{deaf.replace(' ', '-')}"

    data = up(lab, tmp_path, name)

    assert set(seen(lab, "PUT")) == {CRC_UP, MD5_UP}
    unchecked = {span for method, span, carried in lab.app.seen if carried == CRC_UP}
    checked = {span for method, span, carried in lab.app.seen if carried == MD5_UP}
    assert unchecked <= checked
    assert sum(int(s.split("-")[1]) + 1 - int(s.split("-")[0].split("=")[1]) for s in checked) == SIZE + 512
    lab.app.seen.clear()
    assert down(lab, tmp_path, name) == data
    assert set(seen(lab, "GET")) == {MD5_DOWN}, "asked for CRC-64 although the endpoint is known not to have it"


@pytest.mark.parametrize("deaf", ["crc64", "refuses crc64"])
def test_download_from_a_service_without_crc64_asks_again_with_md5(lab: Lab, tmp_path: Path, deaf: str) -> None:
    name = f"from-{deaf.replace(' ', '-')}"
    data = up(lab, tmp_path, name)
    lab.app.seen.clear()
    lab.app.deaf = deaf

    assert down(lab, tmp_path, name) == data
    carried = seen(lab, "GET")
    assert set(carried) == {CRC_DOWN, MD5_DOWN}
    assert carried.count(CRC_DOWN) < carried.count(MD5_DOWN)


@pytest.mark.parametrize("guard", ["crc64", "md5"])
@pytest.mark.parametrize("kind", ["damage on the way up", "wrong answer"])
def test_pages_damaged_on_the_way_up_are_sent_again(lab: Lab, tmp_path: Path, guard: str, kind: str) -> None:
    lab.app.deaf = "crc64" if guard == "md5" else ""
    lab.app.break_every(3, kind)
    name = f"up-{guard}-{kind.replace(' ', '-')}"

    data = up(lab, tmp_path, name)

    assert lab.bytes_of(name) == data
    assert lab.app.count > SIZE // (4 * MIB) + 1, "nothing was sent again"


@pytest.mark.parametrize("guard", ["crc64", "md5"])
def test_pages_damaged_on_the_way_down_are_asked_for_again(lab: Lab, tmp_path: Path, guard: str) -> None:
    name = f"down-{guard}"
    data = up(lab, tmp_path, name)
    lab.app.deaf = "crc64" if guard == "md5" else ""
    lab.app.break_every(3, "damage")

    assert down(lab, tmp_path, name) == data
    assert lab.app.count >= 6


@pytest.mark.parametrize("guard", ["crc64", "md5"])
def test_pages_that_never_arrive_as_they_were_sent_fail_the_copy_and_name_the_place(
    lab: Lab, tmp_path: Path, guard: str
) -> None:
    lab.app.deaf = "crc64" if guard == "md5" else ""
    lab.app.break_every(1, "damage on the way up")

    with pytest.raises(TransferDamaged):
        up(lab, tmp_path, f"never-{guard}")
    if guard == "crc64":  # else the first, unguarded tries landed; nothing counts on them
        assert lab.store.get(f"never-{guard}").allocated_bytes() == 0
    client = HttpClient(lab.locator(f"never-{guard}", "Write"), tries=2)
    with pytest.raises(TransferDamaged) as caught:
        PageBlob(client).write(8 * MIB, memoryview(bytes(4096)))
    client.close()
    assert (caught.value.details["offset"], caught.value.details["size_bytes"]) == (8 * MIB, 4096)


def test_what_a_service_stores_without_any_check_is_read_back(lab: Lab, tmp_path: Path) -> None:
    lab.app.deaf = "writes"

    data = up(lab, tmp_path, "mute")

    assert lab.bytes_of("mute") == data
    assert set(seen(lab, "GET")) == {MD5_DOWN}
    written = {span for method, span, _ in lab.app.seen if method == "PUT"}
    assert {span for method, span, _ in lab.app.seen if method == "GET"} >= written
    lab.app.break_every(5, "damage on the way up")
    with pytest.raises(TransferDamaged):
        up(lab, tmp_path, "mute-and-damaged")


def test_service_that_guards_nothing_is_not_read_from(lab: Lab, tmp_path: Path) -> None:
    up(lab, tmp_path, "bare")
    lab.app.deaf = "all"

    with pytest.raises(WireBroken, match="no checksum"):
        down(lab, tmp_path, "bare")

"""The data plane, judged by azure-storage-blob's own BlobClient and by plain requests where the SDK hides the wire."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import httpx
import pytest
import uvicorn
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient

from azurelab.disks.blob.errors import BlobError
from azurelab.disks.blob.grants import Grants
from azurelab.disks.blob.page_blob import PageBlob, UploadFooters
from azurelab.disks.blob.routes import DataPlane
from azurelab.disks.pages import PAGE
from azurelab.disks.store import DiskStore
from azurelab.disks.vhd import FooterInvalid, check_footer, make_footer
from fakes.crc64 import crc64

MIB = 1 << 20
SIZE = 20 * MIB


@dataclass
class Plane:
    """A running data plane with a clock that tests move."""

    folder: Path
    time_s: float = 1_000_000.0
    port: int = 0
    store: DiskStore = field(init=False)
    grants: Grants = field(init=False)
    footers: UploadFooters = field(init=False)

    def __post_init__(self) -> None:
        self.store = DiskStore(self.folder, now=lambda: self.time_s)
        self.grants = Grants(self.store.catalogue, lambda: self.time_s)
        self.footers = UploadFooters(self.store.catalogue)

    def url(self, volume: str, access: str = "Read", *, family: str | None = None, hours: float = 1) -> str:
        self.time_s += 1
        grant = self.grants.open(volume, access, hours * 3600, family=family, taken_at=self.time_s)
        return f"http://127.0.0.1:{self.port}/{grant.path_and_query}"

    def blob(self, volume: str, access: str = "Read", *, family: str | None = None) -> BlobClient:
        return BlobClient.from_blob_url(self.url(volume, access, family=family), retry_total=0)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plane]:
    plane = Plane(tmp_path_factory.mktemp("plane"))
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(64)  # so that nobody is refused before the loop runs
    plane.port = sock.getsockname()[1]
    app = DataPlane(plane.store, plane.grants, plane.footers)
    config = uvicorn.Config(app, log_config=None, lifespan="off", http="h11", ws="none", date_header=False)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve(sockets=[sock])))
    thread.start()
    yield plane
    running.should_exit = True
    thread.join(20)
    sock.close()
    plane.store.close()


_count = 0


@pytest.fixture
def name() -> str:
    global _count
    _count += 1
    return f"disk{_count}"


def code_of(response: httpx.Response) -> str:
    """The error code, where header and body agree."""
    body = ElementTree.fromstring(response.content)
    assert body.tag == "Error"
    assert body.findtext("Message")
    assert response.headers["x-ms-error-code"] == body.findtext("Code")
    return response.headers["x-ms-error-code"]


def test_download_gives_the_disk_and_then_a_fixed_vhd_footer(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    disk.write(3 * MIB, os.urandom(2 * MIB))
    server.store.snapshot(name, name + "-s")

    blob = server.blob(name + "-s")
    content = blob.download_blob(max_concurrency=4).readall()

    assert len(content) == blob.get_blob_properties().size == SIZE + 512
    assert content[:SIZE] == disk.read(0, SIZE)
    check_footer(content[SIZE:], SIZE)
    assert blob.get_blob_properties().blob_type == "PageBlob"


def test_parts_are_read_with_their_md5_and_unaligned(server: Plane, name: str) -> None:
    server.store.create(name, SIZE).write(0, os.urandom(MIB))

    blob = server.blob(name)
    part = blob.download_blob(offset=1001, length=5000, validate_content=True).readall()

    assert part == server.store.get(name).read(1001, 5000)


@pytest.mark.filterwarnings("ignore:get_page_ranges is deprecated")
def test_page_ranges_list_what_was_written_page_by_page_and_in_windows(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    for n in range(5):
        disk.write(n * MIB, b"x" * PAGE)
    blob = server.blob(name)
    expected = [(n * MIB, n * MIB + PAGE - 1) for n in range(5)] + [(SIZE, SIZE + 511)]

    listed, cleared = blob.get_page_ranges()
    pages = list(blob.list_page_ranges(results_per_page=2).by_page())
    window = blob.get_page_ranges(offset=MIB, length=MIB + 512)[0]

    assert [(r["start"], r["end"]) for r in listed] == expected
    assert cleared == []
    assert [len(list(page)) for page in pages] == [2, 2, 2]
    assert [(r.start, r.end) for r in blob.list_page_ranges(results_per_page=2)] == expected
    assert [(r["start"], r["end"]) for r in window] == [(MIB, MIB + PAGE - 1), (2 * MIB, 2 * MIB + 511)]


def test_diff_of_two_snapshots_replayed_on_the_old_gives_the_new(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    disk.write(0, os.urandom(4 * MIB))
    server.store.snapshot(name, name + "-1")
    disk.write(MIB, os.urandom(3 * PAGE))
    disk.clear(2 * MIB, 5 * PAGE)
    disk.write(9 * MIB + 512, b"!" * 512)
    server.store.snapshot(name, name + "-2")
    old_url = server.url(name + "-1", family=name)

    changed, cleared = server.blob(name + "-2", family=name).get_page_range_diff_for_managed_disk(old_url)

    assert [(r["start"], r["end"] + 1) for r in changed] == [(MIB, MIB + 3 * PAGE), (9 * MIB, 9 * MIB + PAGE)]
    assert [(r["start"], r["end"] + 1) for r in cleared] == [(2 * MIB, 2 * MIB + 5 * PAGE)]
    replayed = BlobClient.from_blob_url(old_url).download_blob().readall()
    new = server.blob(name + "-2", family=name).download_blob().readall()
    result = bytearray(replayed)
    for r in changed:
        result[r["start"] : r["end"] + 1] = new[r["start"] : r["end"] + 1]
    for r in cleared:
        result[r["start"] : r["end"] + 1] = bytes(r["end"] + 1 - r["start"])
    assert bytes(result) == new


def test_diff_over_a_resize_moves_the_footer(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    disk.write(0, b"a" * PAGE)
    server.store.snapshot(name, name + "-1")
    server.store.resize(name, SIZE + MIB)
    server.store.snapshot(name, name + "-2")
    old = server.blob(name + "-1", family=name)
    new = server.blob(name + "-2", family=name)

    changed, cleared = new.get_page_range_diff_for_managed_disk(old.url)

    result = bytearray(old.download_blob().readall()).ljust(SIZE + MIB + 512, b"\0")
    content = new.download_blob().readall()
    for r in [*changed, *cleared]:
        result[r["start"] : r["end"] + 1] = content[r["start"] : r["end"] + 1]
    assert bytes(result) == content


def test_diff_is_paged_and_clipped_to_the_range(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    server.store.snapshot(name, name + "-1")
    for n in range(6):
        disk.write(n * 4 * PAGE, b"x" * PAGE)
        disk.clear(n * 4 * PAGE + PAGE, PAGE)
    server.store.snapshot(name, name + "-2")
    old_url = server.url(name + "-1", family=name)
    url = server.url(name + "-2", family=name) + "&comp=pagelist"
    headers = {"x-ms-previous-snapshot-url": old_url, "x-ms-version": "2023-11-03"}

    seen: list[tuple[str, int, int]] = []
    marker = ""
    for _ in range(20):
        answer = httpx.get(f"{url}&maxresults=5&marker={marker}", headers=headers)
        document = ElementTree.fromstring(answer.content)
        seen += [(e.tag, int(e[0].text or 0), int(e[1].text or 0)) for e in document if e.tag != "NextMarker"]
        marker = document.findtext("NextMarker") or ""
        if not marker:
            break
    clipped = ElementTree.fromstring(httpx.get(url, headers={**headers, "x-ms-range": "bytes=512-8191"}).content)

    assert len(seen) == 12
    assert seen[:2] == [("PageRange", 0, PAGE - 1), ("ClearRange", PAGE, 2 * PAGE - 1)]
    assert [(e.tag, e[0].text, e[1].text) for e in clipped if len(e)] == [
        ("PageRange", "512", "4095"),
        ("ClearRange", "4096", "8191"),
    ]


def test_diffs_outside_a_family_or_backwards_or_without_access_are_refused(server: Plane, name: str) -> None:
    server.store.create(name, SIZE)
    for n in (1, 2, 3):
        server.store.snapshot(name, f"{name}-{n}")
    old, new = server.url(f"{name}-1", family=name), server.url(f"{name}-2", family=name)
    other = server.url(f"{name}-3", family="another")
    full = server.url(name)

    def diff(url: str, previous: str) -> httpx.Response:
        return httpx.get(url + "&comp=pagelist", headers={"x-ms-previous-snapshot-url": previous})

    assert diff(new, old).status_code == 200
    assert code_of(diff(old, new)) == "PreviousSnapshotCannotBeNewer"
    assert code_of(diff(other, old)) == "BlobOverwritten"
    assert code_of(diff(full, old)) == "PreviousSnapshotOperationNotSupported"
    server.grants.close(f"{name}-1")
    assert code_of(diff(new, old)) == "PreviousSnapshotNotFound"


def test_upload_through_the_sdk_lands_on_the_disk_and_its_footer_is_kept(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    blob = server.blob(name, "Write")
    data = os.urandom(4 * MIB)

    blob.upload_page(data, offset=0, length=len(data), validate_content=True)
    blob.upload_page(data[:512], offset=SIZE - 512, length=512)
    blob.upload_page(make_footer(SIZE), offset=SIZE, length=512)
    blob.clear_page(offset=MIB, length=MIB)

    assert disk.read(0, 4 * MIB) == data[:MIB] + bytes(MIB) + data[2 * MIB :]
    footer = server.footers.get(name)
    assert footer is not None
    check_footer(footer, SIZE)
    assert blob.download_blob().readall() == bytes(disk.read(0, SIZE)) + footer


def crc64_header(data: bytes) -> str:
    """By an implementation that the lab does not use."""
    return base64.b64encode(crc64(data).to_bytes(8, "little")).decode()


def md5_header(data: bytes) -> str:
    return base64.b64encode(hashlib.md5(data).digest()).decode()


def test_page_writes_are_checked_by_either_guard_and_refused_in_the_service_s_words(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    url = server.url(name, "Write") + "&comp=page"
    body, other = os.urandom(512), os.urandom(512)

    def put(**headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return httpx.put(url, content=body, headers={"x-ms-page-write": "update", "x-ms-range": "bytes=0-511", **named})

    crc, md5 = crc64_header(body), md5_header(body)
    by_crc, by_md5, by_none = put(x_ms_content_crc64=crc), put(content_md5=md5), put()
    assert by_crc.headers["x-ms-content-crc64"] == crc
    assert "content-md5" not in by_crc.headers
    assert by_md5.headers["content-md5"] == md5
    assert "x-ms-content-crc64" not in by_md5.headers
    assert by_none.status_code == 201
    disk.clear(0, MIB)

    wrong = put(x_ms_content_crc64=crc64_header(other))
    assert (wrong.status_code, code_of(wrong)) == (400, "Crc64Mismatch")
    document = ElementTree.fromstring(wrong.content)
    assert (document.findtext("Message") or "").startswith(
        "The CRC64 value specified in the request did not match with the CRC64 value calculated by the server.\n"
    )
    assert document.findtext("UserSpecifiedCrc") == crc64_header(other)
    assert document.findtext("ServerCalculatedCrc") == crc
    assert code_of(put(content_md5=md5_header(other))) == "Md5Mismatch"
    both = put(x_ms_content_crc64=crc, content_md5=md5)
    assert (both.status_code, code_of(both)) == (400, "BothCrc64AndMd5HeaderPresent")
    for torn in ("no base64!", "AAAA", md5):
        assert code_of(put(x_ms_content_crc64=torn)) == "InvalidCrc64"
    assert code_of(put(content_md5=crc)) == "InvalidMd5"
    assert list(disk.data_extents()) == [], "a refused body was written"


def test_ranges_are_read_with_one_checksum_and_never_with_two(server: Plane, name: str) -> None:
    server.store.create(name, SIZE).write(0, os.urandom(4 * MIB))
    url = server.url(name)
    md5, crc = {"x-ms-range-get-content-md5": "true"}, {"x-ms-range-get-content-crc64": "true"}

    for start, end in ((0, 4 * MIB), (1001, 6001), (SIZE - 100, SIZE + 512)):
        span = {"x-ms-range": f"bytes={start}-{end - 1}"}
        with_crc, with_md5 = httpx.get(url, headers={**span, **crc}), httpx.get(url, headers={**span, **md5})
        assert with_crc.content == with_md5.content
        assert len(with_crc.content) == end - start
        assert with_crc.headers["x-ms-content-crc64"] == crc64_header(with_crc.content)
        assert with_md5.headers["content-md5"] == md5_header(with_crc.content)
        assert "content-md5" not in with_crc.headers
    both = httpx.get(url, headers={"x-ms-range": "bytes=0-511", **md5, **crc})
    assert (both.status_code, code_of(both)) == (400, "BothCrc64AndMd5RangeHeaderPresent")
    assert code_of(httpx.get(url, headers={"x-ms-range": f"bytes=0-{4 * MIB}", **crc})) == "OutOfRangeInput"


def test_put_page_refuses_what_azure_refuses(server: Plane, name: str) -> None:
    server.store.create(name, SIZE)
    url = server.url(name, "Write") + "&comp=page"

    def put(body: bytes = bytes(512), **headers: str) -> httpx.Response:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return httpx.put(url, content=body, headers={"x-ms-page-write": "update", **named})

    assert code_of(put(x_ms_range="bytes=100-611")) == "InvalidPageRange"
    assert code_of(put(x_ms_range=f"bytes={SIZE + 512}-{SIZE + 1023}")) == "InvalidPageRange"
    assert code_of(put(x_ms_range="bytes=0-1023")) == "InvalidHeaderValue"
    assert code_of(put()) == "MissingRequiredHeader"
    assert put(bytes(5 * MIB), x_ms_range=f"bytes=0-{5 * MIB - 1}").status_code == 413
    assert code_of(put(x_ms_range="bytes=0-511", if_match='"other"')) == "ConditionNotMet"
    assert code_of(put(x_ms_range="bytes=0-511", x_ms_page_write="paint")) == "InvalidHeaderValue"
    assert code_of(httpx.request("DELETE", url)) == "AuthorizationPermissionMismatch"


def test_put_page_from_a_url_of_the_same_lab_copies_and_from_elsewhere_is_refused(server: Plane, name: str) -> None:
    server.store.create(name, SIZE).write(0, b"copy me!" * 512)
    target = server.store.create(name + "-t", SIZE)
    blob = server.blob(name + "-t", "Write")

    blob.upload_pages_from_url(server.url(name), offset=PAGE, length=PAGE, source_offset=0)

    assert target.read(PAGE, PAGE) == b"copy me!" * 512
    with pytest.raises(HttpResponseError) as refused:
        blob.upload_pages_from_url("http://127.0.0.1:1/a/b/abcd?sig=no", offset=0, length=512, source_offset=0)
    assert refused.value.error_code == "CannotVerifyCopySource"


def test_a_sas_ends_by_time_by_revocation_and_does_not_allow_more_than_it_says(server: Plane, name: str) -> None:
    server.store.create(name, SIZE)
    read = server.url(name)

    assert code_of(
        httpx.put(read + "&comp=page", headers={"x-ms-page-write": "clear", "x-ms-range": "bytes=0-511"})
    ) == ("AuthorizationPermissionMismatch")
    forged = read.replace("si=", "si=0")
    assert httpx.get(forged).status_code == 403
    assert httpx.get(read.split("?")[0]).status_code == 403
    server.time_s += 3601
    assert code_of(httpx.get(read)) == "AuthenticationFailed"

    again = server.url(name)
    assert again != read
    assert httpx.head(again).status_code == 200
    server.grants.close(name)
    assert code_of(httpx.get(again)) == "AuthenticationFailed"
    assert httpx.head(again).headers["x-ms-error-code"] == "AuthenticationFailed"


def test_asking_again_for_access_gives_the_same_url_and_it_outlives_a_restart(server: Plane, name: str) -> None:
    server.store.create(name, SIZE)

    first, second = server.url(name, hours=1), server.url(name, hours=2)

    assert first == second
    reopened = Grants(server.store.catalogue, lambda: server.time_s)
    grant = reopened.active(name)
    assert grant is not None
    assert grant.path_and_query in first


def test_conditional_reads_answer_304_and_412(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    url = server.url(name, "Write")
    etag = httpx.head(url).headers["etag"]

    assert httpx.get(url, headers={"If-None-Match": etag}).status_code == 304
    assert httpx.get(url, headers={"If-Match": etag, "Range": "bytes=0-9"}).status_code == 206
    disk.write(0, bytes(512))
    assert httpx.get(url, headers={"If-Match": etag, "Range": "bytes=0-9"}).status_code == 412


def test_ranges_beyond_the_blob_and_checksums_of_too_much_are_refused(server: Plane, name: str) -> None:
    server.store.create(name, SIZE)
    url = server.url(name)

    assert code_of(httpx.get(url, headers={"x-ms-range": f"bytes={SIZE + 512}-"})) == "InvalidRange"
    checksum = {"x-ms-range-get-content-md5": "true"}
    assert code_of(httpx.get(url, headers={"Range": f"bytes=0-{4 * MIB}", **checksum})) == "OutOfRangeInput"
    tail = httpx.get(url, headers={"x-ms-range": f"bytes={SIZE - 100}-", "Range": "bytes=0-1"})
    assert tail.content == bytes(100) + make_footer(SIZE)
    assert tail.headers["content-range"] == f"bytes {SIZE - 100}-{SIZE + 511}/{SIZE + 512}"


@pytest.mark.parametrize("spoil", ["cookie", "checksum", "kind", "size"])
def test_footers_that_end_no_fixed_vhd_of_this_size_are_named(spoil: str) -> None:
    footer = bytearray(make_footer(SIZE))
    check_footer(bytes(footer), SIZE)
    if spoil == "cookie":
        footer[0] ^= 1
    elif spoil == "checksum":
        footer[64] ^= 1
    elif spoil == "kind":
        footer[63] = 3
        total = sum(footer) - sum(footer[64:68])
        footer[64:68] = (~total & 0xFFFFFFFF).to_bytes(4, "big")

    with pytest.raises(FooterInvalid):
        check_footer(bytes(footer), SIZE + 512 if spoil == "size" else SIZE)


def test_qemu_img_takes_the_download_for_a_fixed_vhd(server: Plane, name: str, tmp_path: Path) -> None:
    import json
    import shutil
    import subprocess

    if shutil.which("qemu-img") is None:
        pytest.skip("qemu-img is not installed")
    server.store.create(name, SIZE).write(0, b"x" * PAGE)
    (tmp_path / "disk.vhd").write_bytes(server.blob(name).download_blob().readall())

    told = subprocess.run(
        ["qemu-img", "info", "--output=json", "-f", "vpc", str(tmp_path / "disk.vhd")], capture_output=True, check=True
    )

    # qemu trusts the size of writers that it does not know only through the geometry, which rounds down to a cylinder.
    assert SIZE - 16 * 63 * 512 <= json.loads(told.stdout)["virtual-size"] <= SIZE


def test_a_write_that_is_on_its_way_when_access_ends_never_lands(server: Plane, name: str) -> None:
    disk = server.store.create(name, SIZE)
    server.url(name, "Write")
    grant = server.grants.active(name)
    assert grant is not None
    blob = PageBlob(disk, server.footers)
    ask = (grant.account, grant.container, grant.policy, grant.signature)

    server.grants.close(name)

    with pytest.raises(BlobError):
        blob.write(0, b"late" * 128, lambda: server.grants.authorize(*ask))
    with pytest.raises(BlobError):
        blob.clear(0, SIZE + 512, lambda: server.grants.authorize(*ask))
    assert list(disk.data_extents()) == []

"""Small parts: locators that keep secrets, budgets, gates, footers, trees of a stream."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from holdfast.disks.budget import Budget
from holdfast.disks.digests.listfile import DigestList
from holdfast.disks.errors import DiskNotFound, DiskUsage, ServerRefused, SourceChanged
from holdfast.disks.formats import ova, vhd
from holdfast.disks.http.gate import Gate
from holdfast.disks.jobs import CopyJob, run_copy
from holdfast.disks.model.chunks import ENTRY_BYTES, ZERO
from holdfast.disks.model.locator import Locator, shown
from holdfast.disks.opening import format_of
from holdfast.disks.parallel import in_threads
from holdfast.disks.readers.httprange import HttpRangeReader
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.sequential import ordered
from holdfast.disks.system import linux
from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.linux import is_zero
from holdfast.disks.writers.rawfile import RawFileWriter

MIB = 1 << 20


def test_locator_hides_its_secret_and_survives_json() -> None:
    locator = Locator(
        "https://user:pw@md-x.blob:443/c/abcd?sv=1&sig=TOPSECRET",
        chain="c1",
        previous="https://md-y/old?sig=OLDSECRET",
        expires_at=datetime(2026, 1, 5, tzinfo=UTC),
    )

    for text in (repr(locator), str(locator), locator.name, shown(locator.address)):
        assert "SECRET" not in text
        assert "pw" not in text
    assert locator.name == "https://md-x.blob:443/c/abcd"
    assert Locator.from_json(locator.to_json()) == locator


@pytest.mark.parametrize(
    ("address", "declared", "found"),
    [
        ("/x/a.raw", None, "raw"),
        ("/x/a.IMG", None, "raw"),
        ("/x/a.qcow2", None, "qcow2"),
        ("/x/a.qcow2", "raw", "raw"),
        ("-", None, "raw"),
        ("nbd://h/e", None, "nbd"),
        ("https://h/disk.img", None, "range"),
        ("https://h/c/abcd?sig=x", None, "page-blob"),
    ],
)
def test_format_follows_declaration_then_suffix_then_scheme(address: str, declared: str | None, found: str) -> None:
    assert format_of(Locator(address, declared)) == found


def test_format_is_never_guessed() -> None:
    with pytest.raises(DiskUsage):
        format_of(Locator("/x/disk"))


class Time:
    def __init__(self) -> None:
        self.now, self.slept = 100.0, 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept += seconds


def test_rate_limit_spends_as_much_time_as_the_bytes_need() -> None:
    time = Time()
    budget = Budget(rate_bytes_s=MIB, monotonic=time.monotonic, sleep=time.sleep)

    for _ in range(20):
        budget.spend(MIB // 2)

    assert 9.0 <= time.slept <= 10.0


def test_memory_is_waited_for_but_one_large_holder_always_passes() -> None:
    budget = Budget(memory_bytes=100)
    budget.hold(1000, lambda: False)
    passed = threading.Event()

    thread = threading.Thread(target=lambda: (budget.hold(50, lambda: False), passed.set()))
    thread.start()
    assert not passed.wait(0.15)
    budget.let(1000)

    assert passed.wait(5)
    thread.join()


def test_gate_grows_while_that_gains_and_halves_when_throttled() -> None:
    time = Time()
    gate = Gate(first=4, monotonic=time.monotonic)
    for _ in range(200):
        with gate.pass_through():
            time.now += 1.0 / min(gate.allowed, 20)  # an endpoint that serves up to twenty at once
        gate.moved(MIB)
    grown = gate.allowed

    gate.throttled(0.0)

    assert 10 <= grown <= 64
    assert gate.allowed == grown // 2


def test_gate_holds_everybody_until_retry_after_has_passed() -> None:
    gate = Gate(first=4)
    gate.throttled(0.2)
    import time

    began = time.monotonic()
    with gate.pass_through():
        waited = time.monotonic() - began

    assert waited >= 0.19


def test_vhd_footer_equals_that_of_qemu_but_for_names_and_time(tmp_path: Path) -> None:
    try:
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", "vpc", "-o", "subformat=fixed,force_size", tmp_path / "q.vhd", "5M"],
            check=True,
        )
    except FileNotFoundError:
        pytest.skip("qemu-img is not installed")
    theirs = (tmp_path / "q.vhd").read_bytes()[-512:]
    ours = vhd.fixed_footer(5 * MIB)

    same = [(0, 24), (36, 64), (84, 512)]  # between them: time, creator, checksum, id
    for start, end in same:
        assert ours[start:end] == theirs[start:end], (start, end)


@pytest.mark.parametrize(("size", "rounded"), [(1, MIB), (MIB, MIB), (MIB + 1, 2 * MIB), (0, MIB)])
def test_vhd_sizes_are_whole_mib(size: int, rounded: int) -> None:
    assert vhd.rounded_size(size) == rounded


def test_ova_front_has_one_length_whatever_the_numbers() -> None:
    shape = ova.MachineShape("web & db")

    small, large = (
        ova.description(shape, "d.vmdk", 1, 0, 0),
        ova.description(shape, "d.vmdk", 1 << 44, 1 << 43, 1 << 42),
    )

    assert len(small) == len(large)
    assert b"web &amp; db" in small
    assert len(ova.tar_header("d.vmdk", 0)) == len(ova.tar_header("d.vmdk", 1 << 43)) == 512


def test_results_come_in_order_however_long_each_takes() -> None:
    import random
    import time

    rng = random.Random(1)
    waits = [rng.random() / 200 for _ in range(40)]

    def work(item: int) -> int:
        time.sleep(waits[item])
        return item

    assert list(ordered(iter(range(40)), work, lanes=4)) == list(range(40))


@pytest.mark.parametrize("size", [1, 7, 8, 15, 16, 17, 4096, 65536])
def test_zero_test_sees_a_single_byte_anywhere(size: int) -> None:
    buffer = Buffer(65536)
    assert is_zero(buffer.address, size)

    for at in {0, size // 2, size - 1}:
        buffer.view[at] = 1
        assert not is_zero(buffer.address, size)
        buffer.view[at] = 0


# -- http ranges ----------------------------------------------------------------------------------------------------


class Ranges(BaseHTTPRequestHandler):
    """One file with ranges, an ETag, and answers that are cut short now and then."""

    protocol_version = "HTTP/1.1"
    content = bytes(range(256)) * 40000
    etag, cut_every, ranges, count = '"v1"', 0, True, 0

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.content)))
        self.send_header("ETag", self.etag)
        if self.ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()

    def do_GET(self) -> None:
        if self.headers.get("If-Match") not in (None, self.etag):
            self.send_response(412)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
        type(self).count += 1
        body = self.content[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(self.content)}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.cut_every and self.count % self.cut_every == 0:
            self.wfile.write(body[: len(body) // 2])
            self.close_connection = True
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        pass


@pytest.fixture
def web(request: pytest.FixtureRequest) -> Any:
    handler = type("Handler", (Ranges,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield handler, f"http://127.0.0.1:{server.server_port}/disk.img"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize("cut_every", [0, 3])
def test_range_server_is_copied_even_when_answers_are_cut(web: Any, tmp_path: Path, cut_every: int) -> None:
    handler, url = web
    handler.cut_every = cut_every

    run_copy(CopyJob(Locator(url), Locator(str(tmp_path / "d.raw"))))

    assert (tmp_path / "d.raw").read_bytes() == handler.content


def test_range_server_whose_file_changes_is_noticed(web: Any) -> None:
    handler, url = web
    reader = HttpRangeReader(Locator(url))
    handler.etag = '"v2"'

    with pytest.raises(SourceChanged):
        reader.read_into(0, memoryview(bytearray(100)))
    reader.close()


def test_server_without_ranges_or_without_the_file_is_refused(web: Any) -> None:
    handler, url = web
    handler.ranges = False
    with pytest.raises(ServerRefused, match="ranges"):
        HttpRangeReader(Locator(url))

    handler.do_HEAD = lambda self: (
        self.send_response(404),
        self.send_header("Content-Length", "0"),
        self.end_headers(),
    )
    with pytest.raises(DiskNotFound):
        HttpRangeReader(Locator(url))


def test_reader_leaves_the_page_cache_as_it_found_it(tmp_path: Path) -> None:
    """Spans that were cached stay; what reading brought in goes."""
    path, span = tmp_path / "s.raw", 16 * MIB
    path.write_bytes(os.urandom(4 * span))
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        linux.let_go(fd, 0, 4 * span)
        if linux.cached_share(fd, 0, 4 * span) != 0:
            pytest.skip("this file system, or this kernel, does not tell or let go what is cached")
        os.pread(fd, span, span)
        for _ in range(500):  # what was read ahead of that; pages still on their way stay until they are there
            linux.let_go(fd, 2 * span, 2 * span)
            if not linux.cached_share(fd, 2 * span, 2 * span):
                break
            time.sleep(0.01)

        reader, buffer = RawFileReader(str(path)), Buffer(MIB)
        for at in range(0, 4 * span, MIB):
            reader.read_into(at, buffer.view)
            reader.done_with(at, at + MIB)
        reader.close()

        shares = [linux.cached_share(fd, n * span, span) or 0.0 for n in range(4)]
    finally:
        os.close(fd)
    assert [share > 0.9 for share in shares] == [False, True, False, False]
    assert max(shares[0], shares[2], shares[3]) < 0.1


@pytest.mark.parametrize("tail", [*range(1, 9), 15, 16, 17])
def test_short_last_chunk_of_zeros_is_known_as_zeros(tmp_path: Path, tail: int) -> None:
    source, listed = tmp_path / "s.raw", tmp_path / "L"
    source.write_bytes(os.urandom(MIB) + bytes(tail))

    report = run_copy(CopyJob(Locator(str(source)), Locator(str(tmp_path / "t.raw")), digests=str(listed)))
    book = DigestList.open(str(listed))

    assert report.written_bytes == MIB
    assert book.page(0)[16 * ENTRY_BYTES : 17 * ENTRY_BYTES] == ZERO
    book.close()


def test_chunks_larger_than_a_read_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    source, target, listed = tmp_path / "s.raw", tmp_path / "t.raw", tmp_path / "L"
    source.write_bytes(os.urandom(MIB))

    with pytest.raises(DiskUsage, match="chunks of 2097152"):
        run_copy(CopyJob(Locator(str(source)), Locator(str(target)), digests=str(listed), chunk_bytes=2 * MIB))

    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.raw"]


def test_zeros_that_a_first_copy_did_not_leave_are_cleared_by_its_repair(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "s.raw", tmp_path / "t.raw"
    source.write_bytes(os.urandom(MIB) + bytes(MIB))
    write, spoilt = RawFileWriter.write, list[int]()

    def spoiling(self: RawFileWriter, offset: int, data: memoryview) -> None:
        write(self, offset, data)
        if not spoilt:
            spoilt.append(1)
            write(self, MIB + 100, memoryview(b"what should not be here"))

    monkeypatch.setattr(RawFileWriter, "write", spoiling)

    report = run_copy(CopyJob(Locator(str(source)), Locator(str(target)), digests=str(tmp_path / "L"), verify="full"))

    assert target.read_bytes() == source.read_bytes()
    assert "1 extents differed" in report.notes[0]


def test_interrupt_stops_all_threads_before_anybody_closes_what_they_use() -> None:
    inside, taken = set[int](), list[int]()

    def process(item: int, _buffers: list[Buffer]) -> None:
        inside.add(item)
        taken.append(item)
        if item == 5:
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        if item < 8:
            time.sleep(0.1)  # long enough to be at work when the main thread has been told
        time.sleep(0.01)  # work that goes on when the interrupt comes
        inside.discard(item)

    error = in_threads(iter(range(100_000)), process, lanes=3, buffer_bytes=4096)

    assert isinstance(error, KeyboardInterrupt)
    assert not inside
    assert len(taken) < 1000

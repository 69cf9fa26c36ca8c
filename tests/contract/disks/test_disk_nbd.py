"""The NBD client against two servers that others wrote, well and badly behaved."""

from __future__ import annotations

import json
import random
import re
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from fakes.processes import end
from holdfast.disks.changes import changes_of
from holdfast.disks.digests.book import Book
from holdfast.disks.errors import DiskNotFound, DiskUsage, NoSpaceLeft, ReadFailed, WireBroken, WriteFailed
from holdfast.disks.jobs import CopyJob, diff, run_copy
from holdfast.disks.model.chunks import Geometry
from holdfast.disks.model.extents import Extent
from holdfast.disks.model.locator import Locator
from holdfast.disks.nbd import wire
from holdfast.disks.nbd.wire import parse_address
from holdfast.disks.readers.nbd import NbdReader
from holdfast.disks.readers.rawfile import RawFileReader
from holdfast.disks.writers.nbd import NbdWriter

MIB = 1 << 20
needs_qemu = pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-utils are not installed")
needs_nbdkit = pytest.mark.skipif(shutil.which("nbdkit") is None, reason="nbdkit is not installed")


@contextmanager
def serving(folder: Path, *command: str) -> Iterator[str]:
    """A server started with `{socket}` in its command, until the block ends."""
    path = folder / f"s{random.getrandbits(32):x}"
    child = subprocess.Popen([word.replace("{socket}", str(path)) for word in command], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    try:
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                try:
                    probe.connect(str(path))
                    if probe.recv(8) == b"NBDMAGIC":
                        break
                except OSError:
                    pass
            assert child.poll() is None, "the server ended"
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"nbd+unix:///?socket={path}"
    finally:
        end(child)


def qemu_nbd(image: Path, format_: str, *more: str) -> tuple[str, ...]:
    return ("qemu-nbd", "--persistent", "--shared=16", "--socket={socket}", "-f", format_, *more, str(image))


def nbdkit(*words: str) -> tuple[str, ...]:
    return ("nbdkit", "-f", "-U", "{socket}", *words)


def sample(folder: Path, size: int = 24 * MIB, seed: int = 1) -> Path:
    rng = random.Random(seed)
    path = folder / f"sample{seed}.raw"
    with open(path, "wb") as file:
        file.truncate(size)
        for _ in range(12):
            file.seek(rng.randrange(size - MIB) // 512 * 512)
            file.write(rng.randbytes(rng.randrange(1, 200) * 512))
    return path


@needs_qemu
def test_random_reads_and_holes_agree_with_the_file(tmp_path: Path) -> None:
    raw = sample(tmp_path)
    content = raw.read_bytes()
    rng = random.Random(2)
    with serving(tmp_path, *qemu_nbd(raw, "raw", "--read-only")) as url:
        reader = NbdReader(url, "sample")
        for _ in range(200):
            start = rng.randrange(len(content))
            size = min(rng.choice([1, 511, 4096, 70000, 3 * MIB]), len(content) - start)
            buffer = memoryview(bytearray(b"?" * size))
            reader.read_into(start, buffer)
            assert bytes(buffer) == content[start : start + size]
        data = list(reader.extents(0, reader.size_bytes))
        reader.close()

    outside = bytearray(content)
    for extent in data:
        outside[extent.start : extent.end] = bytes(extent.size_bytes)
    assert not any(outside)
    assert sum(e.size_bytes for e in data) < len(content)


@needs_qemu
@pytest.mark.parametrize("format_", ["raw", "qcow2"])
def test_random_writes_and_zeros_are_there_after_a_flush(tmp_path: Path, format_: str) -> None:
    rng = random.Random(3)
    size = 16 * MIB
    image, model = tmp_path / "w.img", bytearray(size)
    subprocess.run(["qemu-img", "create", "-q", "-f", format_, str(image), str(size)], check=True)
    with serving(tmp_path, *qemu_nbd(image, format_)) as url:
        writer = NbdWriter(url, "target", size)
        for _ in range(120):
            start = rng.randrange(size)
            count = min(rng.choice([1, 512, 4096, 100_000, 2 * MIB]), size - start)
            if rng.random() < 0.4:
                writer.write_zeros(start, count)
                model[start : start + count] = bytes(count)
            else:
                data = rng.randbytes(count)
                writer.write(start, memoryview(data))
                model[start : start + count] = data
        writer.flush()
        back = writer.read_back()
        buffer = memoryview(bytearray(size))
        back.read_into(0, buffer)
        back.close()
        writer.finish()

        assert bytes(buffer) == bytes(model)


@needs_qemu
def test_copy_into_an_export_updates_and_resumes(tmp_path: Path) -> None:
    source, image = sample(tmp_path), tmp_path / "t.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), str(24 * MIB)], check=True)
    with serving(tmp_path, *qemu_nbd(image, "qcow2", "--discard=unmap")) as url:
        run_copy(CopyJob(Locator(str(source)), Locator(url), digests=str(tmp_path / "L")))
        with open(source, "r+b") as file:
            file.write(bytes(3 * MIB))
        report = run_copy(CopyJob(Locator(str(source)), Locator(url), base=str(tmp_path / "L"), verify="full"))

        assert diff(Locator(str(source)), Locator(url)).equal
        assert report.written_bytes == 0


@needs_qemu
def test_dirty_bitmap_names_the_changed_extents(tmp_path: Path) -> None:
    image = tmp_path / "b.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), "16M"], check=True)
    subprocess.run(["qemu-io", "-f", "qcow2", "-c", "write -P 1 0 8M", str(image)], check=True, capture_output=True)
    target, listed = tmp_path / "t.raw", tmp_path / "L"
    run_copy(CopyJob(Locator(str(image)), Locator(str(target)), digests=str(listed), chain="bitmap:b0"))
    subprocess.run(["qemu-img", "bitmap", "--add", str(image), "b0"], check=True)
    writes = ["-c", "write -P 7 4M 64k", "-c", "write -z 1M 128k"]
    subprocess.run(["qemu-io", "-f", "qcow2", *writes, str(image)], check=True, capture_output=True)

    with serving(tmp_path, *qemu_nbd(image, "qcow2", "--read-only", "-B", "b0")) as url:
        changes = changes_of(Locator(url), bitmap="b0", chain="bitmap:b1")
        assert changes is not None
        assert changes.extents == [Extent(MIB, MIB + 131072), Extent(4 * MIB, 4 * MIB + 65536)]
        report = run_copy(CopyJob(Locator(url), Locator(str(target)), base=str(listed), changes=changes))
        assert diff(Locator(url), Locator(str(target))).equal
        with pytest.raises(DiskUsage):
            changes_of(Locator(url), bitmap="nonsense")

    assert report.read_bytes == 131072 + 65536
    assert report.zeroed_bytes == 131072


@needs_nbdkit
def test_nbdkit_is_read_and_written(tmp_path: Path) -> None:
    source = sample(tmp_path, seed=4)
    with serving(tmp_path, *nbdkit("memory", "24M")) as url:
        run_copy(CopyJob(Locator(str(source)), Locator(url)))

        assert diff(Locator(str(source)), Locator(url)).equal


@needs_nbdkit
def test_server_without_structured_replies_or_zeroing_still_works(tmp_path: Path) -> None:
    source = sample(tmp_path, seed=5)
    with serving(tmp_path, *nbdkit("--no-sr", "--filter=nozero", "memory", "24M")) as url:
        run_copy(CopyJob(Locator(str(source)), Locator(url), overwrite=True))

        assert diff(Locator(str(source)), Locator(url)).equal


@needs_nbdkit
@pytest.mark.parametrize("kind", ["pread", "pwrite", "zero"])
def test_errors_of_a_server_are_raised_and_the_repeat_finishes(tmp_path: Path, kind: str) -> None:
    source = sample(tmp_path, seed=6)
    listed, target = tmp_path / "L", tmp_path / "t.img"
    target.write_bytes(b"old" * (8 * MIB))
    broken = nbdkit("--filter=error", "file", str(target), f"error-{kind}=EIO", f"error-{kind}-rate=100%")
    job = CopyJob(Locator(str(source)), Locator(""), digests=str(listed), overwrite=True)
    with serving(tmp_path, *broken) as url:
        if kind == "pread":
            with pytest.raises(ReadFailed):
                diff(Locator(url), Locator(str(source)))
        else:
            with pytest.raises(WriteFailed):
                run_copy(CopyJob(job.source, Locator(url), digests=job.digests, overwrite=True))
            assert not listed.exists()

    with serving(tmp_path, *nbdkit("file", str(target))) as url:
        run_copy(CopyJob(job.source, Locator(url), digests=job.digests, overwrite=True))

    assert target.read_bytes() == source.read_bytes()


@needs_nbdkit
@pytest.mark.parametrize("kind", ["pwrite", "pread", "zero"])
def test_server_that_fails_now_and_then_is_gone_on_with_until_equal(tmp_path: Path, kind: str) -> None:
    source, target, digests = sample(tmp_path, 40 * MIB, 5), tmp_path / "t.raw", str(tmp_path / "L")
    with open(target, "wb") as file:
        file.truncate(40 * MIB)
        file.write(b"old content")
    unsteady = nbdkit("--filter=error", "file", str(target), f"error-{kind}=EIO", f"error-{kind}-rate=4%")
    failed = 0
    with serving(tmp_path, *unsteady) as url:
        for _ in range(60):
            chosen = {"base": digests} if Path(digests).exists() else {"digests": digests}
            try:
                run_copy(CopyJob(Locator(str(source)), Locator(url), overwrite=not failed, **chosen))
                if kind == "pread":
                    assert diff(Locator(str(source)), Locator(url)).equal
                break
            except (ReadFailed, WriteFailed):
                failed += 1
        else:
            pytest.fail("it never got through")

    assert target.read_bytes() == source.read_bytes()


@needs_nbdkit
def test_slow_server_keeps_several_requests_in_flight(tmp_path: Path) -> None:
    source = sample(tmp_path, size=4 * MIB, seed=7)
    with serving(tmp_path, *nbdkit("--filter=delay", "file", str(source), "delay-read=100ms")) as url:
        reader = NbdReader(url, "slow")
        began = time.monotonic()
        reader.read_into(0, memoryview(bytearray(2 * MIB)))
        took = time.monotonic() - began
        reader.close()

    assert took < 0.1 * 8 * 0.7  # eight requests of 256 KiB, one after the other, would take 0.8 s


@needs_nbdkit
def test_full_server_says_no_space(tmp_path: Path) -> None:
    source = sample(tmp_path, seed=8)
    full = nbdkit("--filter=error", "memory", "24M", "error-pwrite=ENOSPC", "error-pwrite-rate=100%")
    with serving(tmp_path, *full) as url, pytest.raises(NoSpaceLeft):
        run_copy(CopyJob(Locator(str(source)), Locator(url)))


@needs_nbdkit
def test_export_that_is_cut_short_is_an_error(tmp_path: Path) -> None:
    source = sample(tmp_path, seed=9)
    with serving(tmp_path, *nbdkit("--filter=truncate", "file", str(source), "truncate=8M")) as url:
        reader = NbdReader(url, "short")

        with pytest.raises(ReadFailed):
            reader.read_into(8 * MIB - 4096, memoryview(bytearray(8192)))
        reader.close()


@needs_nbdkit
def test_server_that_ends_in_the_middle_is_told(tmp_path: Path) -> None:
    source = sample(tmp_path, seed=10)
    with (
        serving(
            tmp_path, *nbdkit("--filter=exitwhen", "file", str(source), f"exit-when-file-created={tmp_path}/go")
        ) as url,
        pytest.raises((WireBroken, DiskNotFound)),
    ):
        reader = NbdReader(url, "dying")
        try:
            (tmp_path / "go").touch()
            deadline = time.monotonic() + 15
            while time.monotonic() < deadline:
                NbdReader(url, "dying").close()
                time.sleep(0.1)
        finally:
            reader.close()


@needs_nbdkit
def test_small_writes_are_sent_ahead_of_their_answers(tmp_path: Path) -> None:
    with serving(tmp_path, *nbdkit("--threads=64", "--filter=delay", "memory", "24M", "delay-write=200ms")) as url:
        writer = NbdWriter(url, "slow", 24 * MIB)
        began = time.monotonic()
        for n in range(64):
            writer.write(n * 65536, memoryview(bytes(65536)))
        writer.finish()
        took = time.monotonic() - began

    assert took < 0.2 * 8  # eight at a time would take 1.6 s


# -- one large read, after which a server keeps its buffers ---------------------------------------------------------


def reads_of(log: Path) -> list[int]:
    """Sizes of the reads that nbdkit's log filter has seen."""
    return [int(size, 16) for size in re.findall(r" Read .*?count=0x([0-9a-f]+)", log.read_text())]


@needs_qemu
def test_server_keeps_its_buffers_once_much_is_written(tmp_path: Path) -> None:
    image, pid_file, size = tmp_path / "t.qcow2", tmp_path / "pid", 128 * MIB
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(image), str(size)], check=True)
    with serving(tmp_path, *qemu_nbd(image, "qcow2", f"--pid-file={pid_file}")) as url:
        writer = NbdWriter(url, "target", size, fresh=True)
        for n in range(192):
            writer.write(n % 96 * MIB, memoryview(bytes([n + 1]) * MIB))
        writer.flush()
        writer.finish()
        faults = int(Path(f"/proc/{pid_file.read_text().strip()}/stat").read_text().rpartition(")")[2].split()[7])

    assert faults < 192 * 256 / 2  # otherwise one for each page of what was written


@needs_nbdkit
@pytest.mark.parametrize("more", [(), ("--no-sr",)])
@pytest.mark.parametrize("fails", [False, True])
def test_large_read_that_nobody_wants_neither_fails_nor_disturbs(
    tmp_path: Path, more: tuple[str, ...], fails: bool
) -> None:
    log, content = tmp_path / "log", random.Random(3).randbytes(MIB)
    (tmp_path / "fail").touch()
    error = ("--filter=error", "error-pread=EIO", "error-pread-rate=100%", f"error-file={tmp_path}/fail")
    words = (*more, "--filter=log", *(error[:1] if fails else ()), "memory", "128M", f"logfile={log}")
    with serving(tmp_path, *nbdkit(*words, *(error[1:] if fails else ()))) as url:
        writer = NbdWriter(url, "target", 128 * MIB, reads_zero=True)
        for n in range(80):
            writer.write(n * MIB, memoryview(content))
        writer.flush()
        asked = reads_of(log)
        (tmp_path / "fail").unlink()
        back, buffer = writer.read_back(), memoryview(bytearray(MIB))
        for n in range(80):
            back.read_into(n * MIB, buffer)
            assert buffer == content
        writer.finish()

    assert asked == [65536]  # a hole is sent as zeros here, or is an error: asking for more would cost


@needs_nbdkit
@pytest.mark.parametrize(
    ("size", "more"), [(16, ()), (128, ("--filter=blocksize-policy", "blocksize-maximum=1M", "blocksize-preferred=4k"))]
)
def test_nothing_large_is_asked_of_a_small_export_or_a_server_of_small_blocks(
    tmp_path: Path, size: int, more: tuple[str, ...]
) -> None:
    words = ("--filter=log", *more[:1], "memory", f"{size}M", f"logfile={tmp_path}/log", *more[1:])
    with serving(tmp_path, *nbdkit(*words)) as url:
        writer = NbdWriter(url, "target", size * MIB, fresh=True)
        for n in range(8):
            writer.write(n * 2 * MIB, memoryview(b"x" * (2 * MIB)))
        writer.finish()
        assert reads_of(tmp_path / "log") == []


# -- a server that lies, made here ----------------------------------------------------------------------------------


def lying_server(folder: Path, reply: bytes, *, magic: int = wire.INIT_MAGIC) -> str:
    """Agrees to everything, exports 1 MiB, and answers the first request with `reply` after its handle's place `H`."""
    path = folder / f"liar{random.getrandbits(32):x}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(4)

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
        with connection:
            connection.sendall(struct.pack(">QQH", magic, wire.OPTION_MAGIC, 3))
            connection.recv(4)
            while head := connection.recv(16, socket.MSG_WAITALL):
                _, option, size = struct.unpack(">QII", head)
                if size:
                    connection.recv(size, socket.MSG_WAITALL)
                about = struct.pack(">QI", wire.OPTION_REPLY_MAGIC, option)
                if option == wire.OPT_GO:
                    info = struct.pack(">HQH", wire.INFO_EXPORT, MIB, 1)
                    connection.sendall(about + struct.pack(">II", wire.REP_INFO, len(info)) + info)
                    connection.sendall(about + struct.pack(">II", wire.REP_ACK, 0))
                    break
                connection.sendall(about + struct.pack(">II", wire.REP_ACK, 0))
            request = connection.recv(28, socket.MSG_WAITALL)
            if len(request) == 28:
                connection.sendall(reply.replace(b"HHHHHHHH", request[8:16]))
                with suppress(ConnectionResetError):  # the client closes without reading the rest
                    connection.recv(1)

    threading.Thread(target=serve, daemon=True).start()
    return f"nbd+unix:///?socket={path}"


def chunk(kind: int, payload: bytes, size: int | None = None) -> bytes:
    head = struct.pack(">IHH", wire.STRUCTURED_MAGIC, 1, kind) + b"HHHHHHHH"
    return head + struct.pack(">I", len(payload) if size is None else size) + payload


LIES = {
    "a wrong magic number": b"\0\0\0\0" + bytes(20),
    "an answer to another question": struct.pack(">IIQ", wire.SIMPLE_MAGIC, 0, 999),
    "data outside what was asked": chunk(1, struct.pack(">Q", 1 << 30) + bytes(8)),
    "a huge error": chunk(0x8001, b"", 1 << 31),
    "an unknown kind": chunk(77, bytes(4)),
    "half an answer, then silence": struct.pack(">IIQ", wire.SIMPLE_MAGIC, 0, 0)[:9],
}


@pytest.mark.parametrize("lie", LIES)
def test_server_that_lies_breaks_the_wire_and_nothing_else(tmp_path: Path, lie: str) -> None:
    from holdfast.disks.nbd.connection import Connection

    connection = Connection(parse_address(lying_server(tmp_path, LIES[lie])), "liar", timeout_s=0.5)

    with pytest.raises(WireBroken):
        connection.read_into(0, memoryview(bytearray(4096)))
    connection.close()


def test_structured_answer_that_leaves_a_gap_is_a_failed_read(tmp_path: Path) -> None:
    from holdfast.disks.nbd.connection import Connection

    short = chunk(1, struct.pack(">Q", 0) + bytes(100))
    connection = Connection(parse_address(lying_server(tmp_path, short)), "liar", timeout_s=2)

    with pytest.raises(ReadFailed, match="short"):
        connection.read_into(0, memoryview(bytearray(4096)))
    connection.close()


@pytest.mark.parametrize(
    ("url", "problem"),
    [("nbd+unix:///x", "names no socket"), ("nbd:///x", "not an NBD address"), ("http://x/", "not an NBD address")],
)
def test_addresses_that_are_none_are_told(url: str, problem: str) -> None:
    with pytest.raises(DiskUsage, match=problem):
        parse_address(url)


def test_addresses_name_export_socket_host_and_port() -> None:
    told = json.loads(json.dumps([vars(parse_address(u)) for u in ("nbd://h:99/e%20x", "nbd+unix:///e?socket=/s")]))

    assert told == [
        {"export": "e x", "socket_path": None, "host": "h", "port": 99},
        {"export": "e", "socket_path": "/s", "host": None, "port": 10809},
    ]


# -- a server that fails one write and forgets it -------------------------------------------------------------------


class FailingServer:
    """An export of 4 MiB whose write number `fails` is answered with EIO, late: after `late` further
    requests, or when none come.

    `flags` are the export's transmission flags. Counts connections and flushes.
    """

    def __init__(self, folder: Path, *, fails: int, late: int, flags: int) -> None:
        self.path = folder / f"f{random.getrandbits(32):x}"
        self.writes, self.flushes, self.connections = 0, 0, 0
        self._fails, self._late, self._flags = fails, late, flags
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(8)
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"nbd+unix:///?socket={self.path}"

    def _accept(self) -> None:
        with suppress(OSError):  # the test closes the listener
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.sendall(struct.pack(">QQH", wire.INIT_MAGIC, wire.OPTION_MAGIC, 3))
            connection.recv(4, socket.MSG_WAITALL)
            while head := connection.recv(16, socket.MSG_WAITALL):
                _, option, size = struct.unpack(">QII", head)
                connection.recv(size, socket.MSG_WAITALL)
                about = struct.pack(">QI", wire.OPTION_REPLY_MAGIC, option)
                if option != wire.OPT_GO:
                    connection.sendall(about + struct.pack(">II", wire.REP_ERROR_BIT + 1, 0))
                    continue
                info = struct.pack(">HQH", wire.INFO_EXPORT, 4 * MIB, 1 | wire.SEND_FLUSH | self._flags)
                connection.sendall(about + struct.pack(">II", wire.REP_INFO, len(info)) + info)
                connection.sendall(about + struct.pack(">II", wire.REP_ACK, 0))
                break
            self._answer(connection)

    def _answer(self, connection: socket.socket) -> None:
        held: list[tuple[int, bytes]] = []
        while True:
            if held and not select.select([connection], [], [], 0.1)[0]:
                connection.sendall(held.pop()[1])  # the client waits for this answer
            head = connection.recv(28, socket.MSG_WAITALL)
            if len(head) < 28:
                return
            _, _, command, handle, _, size = wire.REQUEST.unpack(head)
            if command == wire.CMD_DISC:
                return
            code, data = 0, b""
            if command == wire.CMD_READ:
                data = bytes(size)
            elif command == wire.CMD_WRITE:
                connection.recv(size, socket.MSG_WAITALL)
                self.writes += 1
                if self.writes == self._fails:
                    held.append((self._late, wire.SIMPLE_REPLY.pack(wire.SIMPLE_MAGIC, 5, handle)))
                    continue
            elif command == wire.CMD_FLUSH:
                self.flushes += 1
            connection.sendall(wire.SIMPLE_REPLY.pack(wire.SIMPLE_MAGIC, code, handle) + data)
            held = [(left - 1, reply) for left, reply in held]
            for left, reply in held:
                if left <= 0:
                    connection.sendall(reply)
            held = [(left, reply) for left, reply in held if left > 0]


def test_write_that_failed_late_fails_every_later_flush(tmp_path: Path) -> None:
    server = FailingServer(tmp_path, fails=2, late=1, flags=0)
    writer = NbdWriter(server.url, "failing", 4 * MIB)
    for n in range(3):
        writer.write(n * 65536, memoryview(bytes(65536)))

    for _ in range(2):
        with pytest.raises(WriteFailed):
            writer.flush()
    with pytest.raises(WriteFailed):
        writer.write(0, memoryview(bytes(512)))
    writer.abandon()
    server.close()

    assert server.flushes == 0


@pytest.mark.parametrize("late", [1, 3])
def test_list_claims_nothing_of_a_window_whose_write_failed_late(tmp_path: Path, late: int) -> None:
    source, digests = tmp_path / "s.raw", tmp_path / "L"
    source.write_bytes(random.Random(7).randbytes(4 * MIB))
    server = FailingServer(tmp_path, fails=2, late=late, flags=0)

    with pytest.raises(WriteFailed):
        run_copy(CopyJob(Locator(str(source)), Locator(server.url), digests=str(digests)))
    server.close()

    book = Book.begin(str(digests), Geometry(4 * MIB), RawFileReader(str(source)).identity_now())
    assert book.journal.done.count == 0
    book.abandon()


@pytest.mark.parametrize(("flags", "connections", "flushes"), [(0, 1, 1), (wire.CAN_MULTI_CONN, 3, 1)])
def test_server_that_cannot_share_a_state_gets_one_connection(
    tmp_path: Path, flags: int, connections: int, flushes: int
) -> None:
    server = FailingServer(tmp_path, fails=0, late=0, flags=flags)
    writer = NbdWriter(server.url, "shared", 4 * MIB)
    threads = [threading.Thread(target=writer.write, args=(n * MIB, memoryview(bytes(MIB)))) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.flush()
    writer.abandon()
    server.close()

    assert (server.connections, server.writes, server.flushes) == (connections, 2, flushes)


def test_export_that_is_known_to_be_empty_is_not_cleared(tmp_path: Path) -> None:
    server = FailingServer(tmp_path, fails=0, late=0, flags=0)  # no WRITE_ZEROES: clearing would be writes
    source = tmp_path / "s.raw"
    source.write_bytes(bytes(3 * MIB) + b"x" * MIB)

    report = run_copy(CopyJob(Locator(str(source)), Locator(server.url)))
    server.close()

    assert (report.zeroed_bytes, report.written_bytes) == (0, MIB)

"""The least that must be done, as a bare loop: what our engine is measured against.

    bareloop.py read SOURCE                       read all data extents
    bareloop.py incremental SOURCE TARGET TABLE   read, BLAKE3 each 64 KiB chunk, compare with TABLE, write what changed
    bareloop.py tagged SOURCE TARGET CHANGED      read and GMAC each chunk; BLAKE3 and write those that it is told have
                                                  changed; two processes, 4 MiB reads: the least with two digests
    bareloop.py tracked SOURCE TARGET CHANGED     preadv, BLAKE3, pwrite of the listed extents, fdatasync
    bareloop.py table SOURCE TABLE                make TABLE: 16 bytes for each chunk
    bareloop.py device SOURCE TARGET              direct reads and writes of all data extents, past the page cache:
                                                  eight threads, 4 MiB each, fsync

Two threads, 1 MiB reads into reused buffers, no journal, no list on disk, no sync, but where said.
"""

from __future__ import annotations

import json
import mmap
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from blake3 import blake3

CHUNK, READ, DIRECT, LANES = 65536, 1 << 20, 4 << 20, 2
ZERO = bytes(16)


def data_extents(fd: int) -> Iterator[tuple[int, int]]:
    size, at = os.fstat(fd).st_size, 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            return
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start // CHUNK * CHUNK, min(-(-at // CHUNK) * CHUNK, size)


def reads(extents: Iterator[tuple[int, int]], size: int = READ) -> Iterator[tuple[int, int]]:
    last = 0
    for start, end in extents:
        at = max(start, last)
        while at < end:
            stop = min(end, (at // size + 1) * size)
            yield at, stop
            at = stop
        last = max(last, end)


def in_threads(
    plan: Iterator[tuple[int, int]],
    work: Callable[[int, int, memoryview], None],
    lanes: int = LANES,
    size: int = READ,
) -> None:
    lock = threading.Lock()

    def run() -> None:
        view = memoryview(
            mmap.mmap(-1, size)
        )  # at a page's start: into other memory the kernel copies at half the speed
        while True:
            with lock:
                item = next(plan, None)
            if item is None:
                return
            work(*item, view)

    threads = [threading.Thread(target=run) for _ in range(lanes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tagged(source: int, target: int, changed: set[int]) -> None:
    from functools import partial

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    tag = partial(AESGCM(bytes(16)).encrypt, bytes(12), b"")
    helper = os.fork()
    view = memoryview(mmap.mmap(-1, DIRECT))
    chunks = [view[at : at + CHUNK] for at in range(0, DIRECT, CHUNK)]
    for number, (at, end) in enumerate(reads(data_extents(source), DIRECT)):
        if number % LANES != bool(helper):
            continue
        os.preadv(source, [view[: end - at]], at)
        list(map(tag, chunks[: -(-(end - at) // CHUNK)]))
        for chunk in changed.intersection(range(at // CHUNK, -(-end // CHUNK))):
            data = chunks[chunk - at // CHUNK]
            blake3(data).digest(16)
            os.pwrite(target, data, chunk * CHUNK)
    if helper == 0:
        os._exit(0)
    os.waitpid(helper, 0)


def device(source: str, target: str) -> None:
    from_fd = os.open(source, os.O_RDONLY | os.O_DIRECT)
    to_fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_DIRECT, 0o600)
    os.ftruncate(to_fd, os.fstat(from_fd).st_size)

    def move(at: int, end: int, view: memoryview) -> None:
        os.preadv(from_fd, [view[: end - at]], at)
        os.pwritev(to_fd, [view[: end - at]], at)

    plan = reads(data_extents(from_fd), DIRECT)
    in_threads(plan, move, lanes=8, size=DIRECT)
    os.fsync(to_fd)


def main() -> None:
    verb, source = sys.argv[1], os.open(sys.argv[2], os.O_RDONLY)
    if verb == "device":
        device(sys.argv[2], sys.argv[3])
        return
    if verb == "read":
        in_threads(
            reads(data_extents(source)), lambda at, end, view: os.preadv(source, [view[: end - at]], at) and None
        )
        return
    if verb == "table":
        size = os.fstat(source).st_size
        table = bytearray(-(-size // CHUNK) * 16)

        def digest(at: int, end: int, view: memoryview) -> None:
            os.preadv(source, [view[: end - at]], at)
            for n in range(0, end - at, CHUNK):
                slot = (at + n) // CHUNK * 16
                table[slot : slot + 16] = blake3(view[n : min(n + CHUNK, end - at)]).digest(16)

        in_threads(reads(data_extents(source)), digest)
        Path(sys.argv[3]).write_bytes(table)
        return
    target = os.open(sys.argv[3], os.O_RDWR)
    if verb == "incremental":
        table = bytearray(Path(sys.argv[4]).read_bytes())

        def compare(at: int, end: int, view: memoryview) -> None:
            os.preadv(source, [view[: end - at]], at)
            for n in range(0, end - at, CHUNK):
                stop = min(n + CHUNK, end - at)
                found = blake3(view[n:stop]).digest(16)
                slot = (at + n) // CHUNK * 16
                if table[slot : slot + 16] != found:
                    table[slot : slot + 16] = found
                    os.pwrite(target, view[n:stop], at + n)

        in_threads(reads(data_extents(source)), compare)
    elif verb == "tagged":
        extents = json.loads(Path(sys.argv[4]).read_text())["extents"]
        tagged(source, target, {n for e in extents for n in range(e["start"] // CHUNK, -(-e["end"] // CHUNK))})
    else:
        listed = json.loads(Path(sys.argv[4]).read_text())["extents"]
        extents = sorted((e["start"] // CHUNK * CHUNK, -(-e["end"] // CHUNK) * CHUNK) for e in listed)

        def copy(at: int, end: int, view: memoryview) -> None:
            os.preadv(source, [view[: end - at]], at)
            for n in range(0, end - at, CHUNK):
                blake3(view[n : n + CHUNK]).digest(16)
            os.pwrite(target, view[: end - at], at)

        in_threads(reads(iter(extents)), copy)
        os.fdatasync(target)


if __name__ == "__main__":
    main()

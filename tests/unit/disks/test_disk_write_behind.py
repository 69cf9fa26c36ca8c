"""Pages behind a writer: let go where that can be, and never at the price of a copy."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from holdfast.disks.system import behind
from holdfast.disks.system.behind import WriteBehind
from holdfast.disks.writers.rawfile import RawFileWriter

MIB = 1 << 20


def write_through(writer: RawFileWriter, mib: int) -> None:
    for n in range(mib):
        writer.write(n * MIB, memoryview(bytes([n % 255 + 1]) * MIB))
        writer.done_with(n * MIB, (n + 1) * MIB)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "_YOUNG_BYTES", 2 * MIB)
    monkeypatch.setattr(behind, "_MOST_BYTES", 4 * MIB)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("trouble", ["none", "no pages can be dropped", "no /proc"])
def test_what_is_written_is_there_whatever_becomes_of_its_pages(
    tmp_path: Path, trouble: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> Any:
        raise OSError(22, "Invalid argument")

    if trouble == "no pages can be dropped":
        monkeypatch.setattr(behind.linux, "let_go", refused)
    elif trouble == "no /proc":
        monkeypatch.setattr("holdfast.disks.system.behind._own", lambda _fd: None)
    path = tmp_path / "t.raw"
    writer = RawFileWriter(str(path), 32 * MIB, fresh=True)

    write_through(writer, 32)
    writer.finish()

    assert all(path.read_bytes()[n * MIB] == n % 255 + 1 for n in range(32))


@pytest.mark.usefixtures("small")
def test_writers_wait_for_a_slow_device_and_closing_frees_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(behind.linux, "wait_writeback", lambda *_: go_on.wait(20) and None)
    file = os.open(tmp_path / "t", os.O_RDWR | os.O_CREAT)
    tail = WriteBehind(file)
    waiting = threading.Thread(target=lambda: [tail.wrote(0, MIB) or tail.done(0, MIB) for _ in range(8)])
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()

    go_on.set()
    waiting.join(20)
    assert not waiting.is_alive()

    tail.close(synced=True)
    os.close(file)


@pytest.mark.usefixtures("small")
def test_thread_that_cannot_be_started_leaves_nothing_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(behind.threading.Thread, "start", no_more)
    before = len(list(Path("/proc/self/fd").iterdir()))
    writer = RawFileWriter(str(tmp_path / "t.raw"), 8 * MIB, fresh=True)
    with pytest.raises(RuntimeError):
        write_through(writer, 8)

    writer.abandon()

    assert len(list(Path("/proc/self/fd").iterdir())) == before

"""Lists of exports: an unfinished one is of the export that was written to, and of no other end."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast.core.units import MIB
from holdfast.disks.copying import _Run
from holdfast.disks.digests.book import Book
from holdfast.disks.errors import ListMismatch, TargetHasContent
from holdfast.disks.jobs import CopyJob, digest, run_copy, verify
from holdfast.disks.model.locator import Locator
from holdfast.disks.nbd.servers import ImageServer

pytestmark = pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-utils are not installed")
SIZE = 20 * MIB

Export = Callable[[str, int], tuple[Path, Locator]]


@pytest.fixture
def export(tmp_path: Path) -> Iterator[Export]:
    """A file of some size and the address under which it is served."""
    servers: list[ImageServer] = []

    def serve(name: str, size: int) -> tuple[Path, Locator]:
        path = tmp_path / name
        if not path.exists():
            path.touch()
            os.truncate(path, size)
        servers.append(ImageServer(str(path), "raw", writable=True))
        return path, Locator(servers[-1].url)

    yield serve
    for server in servers:
        server.stop()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "s.raw"
    path.write_bytes(random.Random(1).randbytes(SIZE))
    return path


def killed_before_it_is_settled(act: Callable[[], object]) -> None:
    pid = os.fork()
    if pid == 0:
        try:
            setattr(Book, "settle", lambda *_: os._exit(9))  # noqa: B010 - in a process of its own
            act()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def test_what_was_read_for_a_digest_is_not_taken_for_written_to_an_export(
    tmp_path: Path, source: Path, export: Export
) -> None:
    listed = str(tmp_path / "L")
    killed_before_it_is_settled(lambda: digest(Locator(str(source)), listed))
    file, target = export("t", SIZE)

    run_copy(CopyJob(Locator(str(source)), target, digests=listed))

    assert file.read_bytes() == source.read_bytes()


def test_first_copy_into_a_file_is_not_gone_on_with_in_an_export(tmp_path: Path, source: Path, export: Export) -> None:
    listed, made = str(tmp_path / "L"), Locator(str(tmp_path / "t.raw"))
    killed_before_it_is_settled(lambda: run_copy(CopyJob(Locator(str(source)), made, digests=listed)))
    file, target = export("t", SIZE)
    file.write_bytes(b"precious".ljust(SIZE, b"\0"))

    with pytest.raises(TargetHasContent):
        run_copy(CopyJob(Locator(str(source)), target, digests=listed))
    assert file.read_bytes().startswith(b"precious")

    run_copy(CopyJob(Locator(str(source)), target, digests=listed, overwrite=True))
    assert file.read_bytes() == source.read_bytes()


def test_first_copy_into_an_export_is_not_gone_on_with_in_another(tmp_path: Path, source: Path, export: Export) -> None:
    listed = str(tmp_path / "L")
    _, first = export("one", SIZE)
    killed_before_it_is_settled(lambda: run_copy(CopyJob(Locator(str(source)), first, digests=listed)))
    file, other = export("two", SIZE)

    run_copy(CopyJob(Locator(str(source)), other, digests=listed))

    assert file.read_bytes() == source.read_bytes()


def test_unfinished_update_of_an_export_is_refused_for_another(tmp_path: Path, source: Path, export: Export) -> None:
    listed = str(tmp_path / "L")
    one, first = export("one", SIZE)
    run_copy(CopyJob(Locator(str(source)), first, digests=listed))
    shutil.copyfile(one, tmp_path / "two")
    _, other = export("two", SIZE)
    source.write_bytes(random.Random(2).randbytes(SIZE))
    killed_before_it_is_settled(lambda: run_copy(CopyJob(Locator(str(source)), first, base=listed)))

    with pytest.raises(ListMismatch, match="did not end"):
        run_copy(CopyJob(Locator(str(source)), other, base=listed))

    run_copy(CopyJob(Locator(str(source)), first, base=listed))
    assert one.read_bytes() == source.read_bytes()


def test_end_of_a_larger_export_is_cleared_also_by_a_copy_that_was_killed(
    tmp_path: Path, source: Path, export: Export
) -> None:
    listed = str(tmp_path / "L")
    file, target = export("t", SIZE + 8 * MIB)
    file.write_bytes(b"old!" * ((SIZE + 8 * MIB) // 4))
    job = CopyJob(Locator(str(source)), target, digests=listed, overwrite=True)

    def dying() -> None:
        setattr(_Run, "_clear_tail", lambda *_: os._exit(9))  # noqa: B010 - in a process of its own
        run_copy(job)

    killed_before_it_is_settled(dying)

    run_copy(job)

    assert file.read_bytes() == source.read_bytes().ljust(SIZE + 8 * MIB, b"\0")
    assert verify(target, listed).equal

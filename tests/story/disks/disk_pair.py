"""A source file, its replica and the digest list, through many runs, some of which are killed."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from disk_replica import actual_changes

from holdfast.core.units import MIB
from holdfast.disks.digests.book import Book
from holdfast.disks.errors import TargetInUse
from holdfast.disks.jobs import CopyJob, digest, run_copy, verify
from holdfast.disks.model.locator import Locator
from holdfast.disks.model.report import Report
from holdfast.disks.readers.protocol import ChangeList

CHUNK = 4096  # windows of 1 MiB
SIZE = 9 * MIB + 777


class Pair:
    """A file, its replica and the list, through many runs."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.source, self.target, self.listed = folder / "s.raw", folder / "t.raw", folder / "L"
        with self.source.open("wb") as file:
            file.truncate(SIZE)
        self.change(40)
        self.runs = 0
        self.run()

    def change(self, times: int) -> None:
        with self.source.open("r+b") as file:
            whole = file.seek(0, os.SEEK_END)
            for _ in range(times):
                size = self.rng.choice([1, 500, CHUNK, 20 * CHUNK, 70 * CHUNK])
                file.seek(self.rng.randrange(whole - size))
                file.write(bytes(size) if self.rng.random() < 0.3 else self.rng.randbytes(size))

    def run(self, check: Callable[[], None] = lambda: None, *, tracked: bool = False, **more: Any) -> Report:
        """Bring the target up to date; `tracked`: the source says what has changed since the run before; `more`: of the
        job."""
        now = f"run {self.runs + 1}"
        job = CopyJob(Locator(str(self.source)), Locator(str(self.target)), chain=now, chunk_bytes=CHUNK)._replace(
            **more
        )
        if not self.listed.exists():
            report = run_copy(job._replace(digests=str(self.listed)), check=check)
        else:
            extents = actual_changes(bytearray(self.copied), bytearray(self.source.read_bytes()), self.rng)
            changes = ChangeList(f"run {self.runs}", now, extents, "test") if tracked else None
            report = run_copy(job._replace(base=str(self.listed), changes=changes), check=check)
        self.copied, self.runs, self.root = self.source.read_bytes(), self.runs + 1, report.root
        return report

    def run_and_die(self, when: Callable[[], None], *, tracked: bool = False) -> int:
        """Run in a process of its own, after `when` in it; returns how that ended, by code or signal. A run that comes
        to its end all the same is undone, as if it had been killed before its last step."""
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                setattr(Book, "settle", lambda *_: os._exit(0))  # noqa: B010 - in a process of its own
                when()
                self.run(tracked=tracked)
                code = 0
            finally:
                os._exit(code)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def run_when_free(self, *, tracked: bool = False, patience_s: float = 20) -> Report:
        """After the one that ran before was killed, its helpers may live for a moment, and hold the target."""
        until = time.monotonic() + patience_s
        while True:
            try:
                return self.run(tracked=tracked)
            except TargetInUse:
                if time.monotonic() >= until:
                    raise
                os.sched_yield()

    def require_equal(self) -> None:
        assert self.target.read_bytes() == self.source.read_bytes()
        assert verify(Locator(str(self.target)), str(self.listed)).equal
        assert digest(Locator(str(self.target)), None, chunk_bytes=CHUNK).root == self.root

"""The mover: the child process in which bytes move, so that they never move inside the control plane.

    python -m holdfast.disks.mover

Reads one JSON line, the order; then answers to its own questions. Writes JSON lines: extents as they become durable,
progress, questions for renewed addresses, and one `done` or `failed` for each disk. It ends when its parent does:
the kernel kills it, and the end of standard input says the same. Addresses travel on standard input only, where no
process list shows them. `moving.py` is the parent's side.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import HoldfastError, error_to_record
from holdfast.disks.budget import Budget
from holdfast.disks.changes import changes_of
from holdfast.disks.errors import AddressExpired
from holdfast.disks.jobs import CopyJob, run_copy
from holdfast.disks.model.extents import Extent
from holdfast.disks.model.locator import Locator
from holdfast.disks.model.report import Progress
from holdfast.disks.system import linux

__all__ = ["main"]

_EXTENTS_AT_ONCE = 512
_PROGRESS_EVERY_S = 0.5
_RENEWAL_S = 300.0


class Cancelled(BaseException):
    """The parent asked to stop; what was done is recorded and the order can be given again."""


class _Line:
    """Standard output as JSON lines, from any thread."""

    def __init__(self, fd: int) -> None:
        self._fd, self._lock = fd, threading.Lock()

    def tell(self, **event: Any) -> None:
        data = (json.dumps(event) + "\n").encode()
        with self._lock:
            while data:
                data = data[os.write(self._fd, data) :]


class _Mailbox:
    """Answers from the parent. Its end is our end."""

    def __init__(self) -> None:
        self.cancelled = threading.Event()
        self._renewed: dict[tuple[int, str], queue.SimpleQueue[Locator]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, name="mover-stdin", daemon=True).start()

    def _listen(self) -> None:
        for line in sys.stdin:
            told = json.loads(line)
            if told.get("cancel"):
                self.cancelled.set()
            elif "locator" in told:
                self.slot(told["disk"], told["side"]).put(Locator.from_json(json.dumps(told["locator"])))
        os._exit(3)  # the parent is gone: nothing that we could still say reaches anybody

    def slot(self, disk: int, side: str) -> queue.SimpleQueue[Locator]:
        with self._lock:
            return self._renewed.setdefault((disk, side), queue.SimpleQueue())


@dataclass
class _Disk:
    """One disk of the order."""

    number: int
    order: dict[str, Any]
    line: _Line
    mailbox: _Mailbox
    budget: Budget

    def run(self) -> bool:
        """Copy it and tell how that ended. True if it is done."""
        landed: list[Extent] = []
        lock = threading.Lock()

        def report_extents(extents: list[Extent]) -> None:
            listed = [[e.start, e.end, e.kind.value] for e in extents]
            self.line.tell(event="extents", disk=self.number, extents=listed)

        def on_extent(extent: Extent) -> None:
            with lock:
                landed.append(extent)
                if len(landed) < _EXTENTS_AT_ONCE:
                    return
                full, landed[:] = list(landed), []
            report_extents(full)

        try:
            report = run_copy(self._job(), check=self._check, watcher=self._watcher(), on_extent=on_extent)
        except Cancelled:
            self.line.tell(event="failed", disk=self.number, error={"code": "cancelled"})
            return False
        except HoldfastError as error:
            self.line.tell(event="failed", disk=self.number, error=error_to_record(error))
            return False
        if landed:
            report_extents(landed)
        self.line.tell(event="done", disk=self.number, report=report.to_dict())
        return True

    def _job(self) -> CopyJob:
        told = dict(self.order)
        source = Locator.from_json(json.dumps(told.pop("source")))
        target = Locator.from_json(json.dumps(told.pop("target")))
        bitmap = told.pop("bitmap", None)
        changes = changes_of(source, bitmap=bitmap, previous=source.previous, chain=told.get("chain"))
        return CopyJob(
            source,
            target,
            changes=changes,
            budget=self.budget,
            renew_source=self._renewer("source"),
            renew_target=self._renewer("target"),
            **told,
        )

    def _renewer(self, side: str) -> Callable[[], Locator]:
        def renew() -> Locator:
            self.line.tell(event="renew", disk=self.number, side=side)
            try:
                return self.mailbox.slot(self.number, side).get(timeout=_RENEWAL_S)
            except queue.Empty as exc:
                raise AddressExpired(name=f"the {side} of disk {self.number}") from exc

        return renew

    def _check(self) -> None:
        if self.mailbox.cancelled.is_set():
            raise Cancelled

    def _watcher(self) -> Callable[[Progress], None]:
        last = [0.0]

        def watch(progress: Progress) -> None:
            now = time.monotonic()
            if now - last[0] >= _PROGRESS_EVERY_S:
                last[0] = now
                self.line.tell(
                    event="progress",
                    disk=self.number,
                    done_bytes=progress.done_bytes,
                    planned_bytes=progress.planned_bytes,
                    written_bytes=progress.written_bytes,
                )

        return watch


def main() -> int:
    """Run the order on standard input. Exit 0 if every disk is done, 1 if one is not, 3 if the parent went away."""
    linux.die_with_parent(signal.SIGKILL)
    first = sys.stdin.readline()
    if not first:
        return 3
    order = json.loads(first)
    line = _Line(os.dup(1))
    os.dup2(2, 1)  # whatever prints by accident must not break the lines
    mailbox = _Mailbox()
    budget = Budget(order.get("memory_bytes") or Budget().memory_bytes, order.get("rate_bytes_s"))
    disks = [_Disk(n, told, line, mailbox, budget) for n, told in enumerate(order["disks"])]
    results: dict[int, bool] = {}

    def run(disk: _Disk) -> None:
        try:
            results[disk.number] = disk.run()
        except BaseException as exc:  # noqa: BLE001 - a defect is told to the parent, not lost in a thread
            line.tell(event="failed", disk=disk.number, error=error_to_record(exc))

    threads = [threading.Thread(target=run, args=(disk,), daemon=True) for disk in disks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done = all(results.get(disk.number) for disk in disks)
    line.tell(event="end", done=done)
    return 0 if done else 1


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    os._exit(code)  # the thread that waits on standard input would keep us

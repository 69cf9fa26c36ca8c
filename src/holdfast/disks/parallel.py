"""Threads over one lazy plan: the shape that scanning, verifying and comparing share."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import TypeVar

from holdfast.disks.system.buffers import Buffer
from holdfast.disks.system.waiting import wait_for

__all__ = ["in_threads"]

T = TypeVar("T")


def in_threads(
    plan: Iterator[T],
    process: Callable[[T, list[Buffer]], None],
    *,
    lanes: int,
    buffer_bytes: int,
    buffers: int = 1,
    check: Callable[[], None] = lambda: None,
    stopped: Callable[[], bool] = lambda: False,
) -> BaseException | None:
    """Run `process` over the plan in `lanes` threads, each with its own buffers; a plan item goes to one thread.

    The first error stops all threads; it is returned, not raised, so that the caller can first save what was done.
    `check` is called before each item and may raise to stop; `stopped` ends the threads quietly.
    """
    lock = threading.Lock()
    errors: list[BaseException] = []

    def work(ended: threading.Event) -> None:
        try:
            own = [Buffer(buffer_bytes) for _ in range(buffers)]
            while not errors and not stopped():
                check()
                with lock:
                    item = next(plan, None)
                if item is None:
                    return
                process(item, own)
        except BaseException as exc:  # noqa: BLE001 - handed to the thread that called
            errors.append(exc)
        finally:
            ended.set()

    started: list[threading.Event] = []
    try:
        for number in range(max(1, lanes)):
            ended = threading.Event()
            threading.Thread(target=work, args=(ended,), name=f"disk-{number}", daemon=True).start()
            started.append(ended)
    except BaseException as exc:  # noqa: BLE001 - handed to the caller like any other
        errors.append(exc)
    for ended in started:
        try:
            ended.wait()
        except KeyboardInterrupt as exc:  # all stop first: what they use is closed by whoever takes the error
            errors.append(exc)
            wait_for(ended)
    return errors[0] if errors else None

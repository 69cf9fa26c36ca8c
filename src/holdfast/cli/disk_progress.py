"""The progress bar of `holdfast disk`: rate and time left, redrawn at most eight times a second."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, cast

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from holdfast.disks.model.report import Progress as Moment
from holdfast.disks.model.report import Watcher

__all__ = ["bar"]


class _Forgiving:
    """Standard error, on which nobody may look any more: a terminal that was closed fails no copy."""

    def __getattr__(self, name: str) -> Any:
        return getattr(sys.stderr, name)

    def write(self, text: str) -> int:
        with suppress(OSError):
            sys.stderr.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            sys.stderr.flush()


@contextmanager
def bar(title: str) -> Iterator[Watcher]:
    """Shows on standard error, so that standard output stays clean for data and JSON."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(file=cast("IO[str]", _Forgiving()))
    with Progress(*columns, console=console, refresh_per_second=8, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def watch(moment: Moment) -> None:
            progress.update(task, completed=moment.done_bytes, total=moment.planned_bytes)

        yield watch

"""The progress bar of `holdfast disk`: rate and time left, redrawn at most eight times a second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from holdfast.disks.model.report import Progress as Moment
from holdfast.disks.model.report import Watcher

__all__ = ["bar"]


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
    with Progress(*columns, console=Console(stderr=True), refresh_per_second=8, transient=True) as progress:
        task = progress.add_task(title, total=None)

        def watch(moment: Moment) -> None:
            progress.update(task, completed=moment.done_bytes, total=moment.planned_bytes)

        yield watch

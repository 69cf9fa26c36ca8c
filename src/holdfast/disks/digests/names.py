"""The files of a list, and that none of them is anything else."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from holdfast.disks.digests.listfile import LIST_MAGIC, SLOTS
from holdfast.disks.errors import DiskUsage
from holdfast.disks.model.chunks import PAGE_BYTES
from holdfast.disks.model.locator import Locator, shown
from holdfast.disks.system.files import require_folder, same_file
from holdfast.disks.system.holes import holds_data

__all__ = ["journal_path", "require_own_files", "resized_path", "unfinished_path"]


def unfinished_path(path: str) -> str:
    return path + ".unfinished"


def journal_path(path: str) -> str:
    return path + ".journal"


def resized_path(path: str) -> str:
    return path + ".resized"


def require_own_files(path: str, disks: Iterable[str], field: str) -> str:
    """The list's path, links followed, when nothing but lists will be changed under it and the names beside it.

    `disks`: files that are read or written. Raises DiskUsage, DiskNotFound.
    """
    if Locator(path).is_url:
        raise DiskUsage(field=field, problem=f"a list is a file, and {shown(path)} is a URL")
    require_folder(path)
    if Path(path).is_symlink():
        path = os.path.realpath(path)
    for own in (path, unfinished_path(path), resized_path(path), journal_path(path)):
        for disk in disks:
            if os.path.realpath(own) == os.path.realpath(disk) or same_file(own, disk):
                raise DiskUsage(field=field, problem=f"{own} would be the list's, and is the disk itself; name another")
        if Path(own).is_file() and not _may_be_ours(own, a_list=own != journal_path(path)):
            problem = f"{own} would be the list's, and is something else; move it away, or name another list"
            raise DiskUsage(field=field, problem=problem)
    return path


def _may_be_ours(path: str, *, a_list: bool) -> bool:
    """By how it begins. What was not synced before a power cut may be empty, or zeros."""
    with open(path, "rb") as file:
        if a_list:
            starts = [os.pread(file.fileno(), len(LIST_MAGIC), slot * PAGE_BYTES) for slot in range(SLOTS)]
            return LIST_MAGIC in starts or not holds_data(path)
        head = file.read(9)  # of a journal: size, checksum, and what every journal begins with (digests/journal.py)
        return len(head) < 9 or head[8:] == b"S" or not any(head)

"""The name of a target: free before a run and when the run is complete, or what has it may be replaced."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.disks.errors import TargetHasContent
from holdfast.disks.system.files import lock_for_writing, publish, sync_folder
from holdfast.disks.system.holes import holds_data
from holdfast.disks.system.linux import rename_to_new
from holdfast.disks.system.writing import write_failure

__all__ = ["give_name", "require_free"]


def require_free(path: str, *, overwrite: bool) -> None:
    """Raises TargetHasContent where something has the name that is more than zeros and may not be replaced, and
    TargetInUse where a machine or another run uses it."""
    if not Path(path).is_file():
        return
    if not overwrite and holds_data(path):
        raise TargetHasContent(name=path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        lock_for_writing(fd, path)
    finally:
        os.close(fd)


def give_name(unfinished: str, final: str, *, overwrite: bool) -> None:
    """Give a complete and synced file its name, durably. What came to that name while the file was written is not
    replaced, unless it may be: the file then keeps its unfinished name. Raises TargetHasContent, TargetInUse,
    WriteFailed."""
    try:
        if not overwrite and rename_to_new(unfinished, final):
            sync_folder(final)
            return
    except OSError as exc:
        raise write_failure(final, 0, 0, exc) from exc
    require_free(final, overwrite=overwrite)
    publish(unfinished, final)

"""The name of a target: free before a run, free when the run is complete, unless it may be overwritten."""

from __future__ import annotations

from pathlib import Path

from holdfast.disks.errors import TargetHasContent
from holdfast.disks.system.files import publish, sync_folder
from holdfast.disks.system.holes import holds_data
from holdfast.disks.system.linux import rename_to_new
from holdfast.disks.system.writing import write_failure

__all__ = ["give_name", "require_free"]


def require_free(path: str, *, overwrite: bool) -> None:
    """Raises TargetHasContent where something has the name that is more than zeros, and may not be replaced."""
    if not overwrite and Path(path).is_file() and holds_data(path):
        raise TargetHasContent(name=path)


def give_name(unfinished: str, final: str, *, overwrite: bool) -> None:
    """Give a complete and synced file its name, durably. What came to that name while the file was written is not
    replaced, unless it may be: the file then keeps its unfinished name. Raises TargetHasContent, WriteFailed."""
    try:
        if not overwrite and rename_to_new(unfinished, final):
            sync_folder(final)
            return
    except OSError as exc:
        raise write_failure(final, 0, 0, exc) from exc
    require_free(final, overwrite=overwrite)
    publish(unfinished, final)

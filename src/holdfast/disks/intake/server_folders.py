"""The private folder of an image server: short enough for its socket's name, and gone when its owner is.

A process that is killed leaves its folder; the next that makes one beside it removes it. `owner` in the folder says
which process that is: only a folder of ours whose owner is known and has ended is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
import tempfile
from itertools import islice
from pathlib import Path

from holdfast.disks.errors import DiskUsage

__all__ = ["make_server_folder"]

_PREFIX = "holdfast-nbd-"
_OWNER = "owner"
_MOST_ADDRESS_BYTES = 107  # sockaddr_un holds 108, with the zero at the end
_ADDED_BYTES = len("/" + _PREFIX + "12345678" + "/s")
_MOST_ENTRIES, _MOST_REMOVED = 10_000, 64  # looked at and removed each time: leftovers must not hold up who works


def make_server_folder() -> str:
    """A new folder that only we can enter. Raises DiskUsage where none can have a short enough name."""
    base = _short_base()
    _remove_stale(base)
    folder = tempfile.mkdtemp(prefix=_PREFIX, dir=base)
    Path(folder, _OWNER).write_text(json.dumps(_process(os.getpid())))
    return folder


def _short_base() -> str:
    wanted = tempfile.gettempdir()
    for base in (wanted, f"/run/user/{os.geteuid()}", "/tmp"):
        fits = len(os.fsencode(base)) + _ADDED_BYTES <= _MOST_ADDRESS_BYTES
        if fits and os.access(base, os.W_OK | os.X_OK):
            return base
    raise DiskUsage(field="TMPDIR", problem=f"{wanted} is too long a name for a folder of sockets")


def _process(pid: int) -> dict[str, str | int] | None:
    """What names a process for good: its number is given again. None if there is no such process."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        started = told.rpartition(")")[2].split()[19]
        return {"pid": pid, "started": started, "boot": boot, "namespace": os.readlink("/proc/self/ns/pid")}  # noqa: PTH115
    except (OSError, IndexError):
        return None


def _remove_stale(base: str) -> None:
    """Others may do the same at the same time: what one of them has removed is gone, and that is all."""
    removed = 0
    try:
        with os.scandir(base) as entries:
            for entry in islice(entries, _MOST_ENTRIES):
                if entry.name.startswith(_PREFIX) and _is_stale(entry.path):
                    shutil.rmtree(entry.path, ignore_errors=True)
                    removed += 1
                    if removed >= _MOST_REMOVED:
                        return
    except OSError:
        return  # a folder that cannot be listed may still take ours


def _is_stale(folder: str) -> bool:
    """Whether it is ours and its owner has ended. Of owners in another container or before a boot nothing is known:
    numbers of theirs say nothing here."""
    owner = _owner_of(folder)
    ours = _process(os.getpid())
    if owner is None or ours is None or any(owner.get(key) != ours[key] for key in ("boot", "namespace")):
        return False
    pid = owner.get("pid")
    return isinstance(pid, int) and pid > 0 and _process(pid) != owner


def _owner_of(folder: str) -> dict[str, object] | None:
    """No link is followed: others can put things into a shared folder of temporary files."""
    with contextlib.suppress(OSError, ValueError):
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_uid != os.geteuid():
                return None
            file = os.open(_OWNER, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
            try:
                if stat.S_ISREG(os.fstat(file).st_mode):
                    told = json.loads(os.read(file, 4096))
                    return told if isinstance(told, dict) else None
            finally:
                os.close(file)
        finally:
            os.close(fd)
    return None

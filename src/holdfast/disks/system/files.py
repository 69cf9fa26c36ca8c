"""Opening files and devices: sizes, identities, locks, mounts, and files that appear whole."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
import time
from pathlib import Path

from holdfast.disks.errors import DiskNotFound, DiskUsage, TargetInUse
from holdfast.disks.system.writing import write_failure

__all__ = [
    "flock",
    "identity_of",
    "in_use_reason",
    "is_device",
    "lock_for_reading",
    "lock_for_writing",
    "opened",
    "publish",
    "require_disk",
    "require_folder",
    "same_file",
    "size_of",
    "sync_folder",
]

_DYING_S = 0.5
_BLKGETSIZE64 = 0x80081272
_OFD_GETLK, _OFD_SETLK = 36, 37
# QEMU's image locking (block/file-posix.c): byte 100+n is locked by whoever uses permission n, byte 200+n by whoever
# does not share it. 0 is consistent read, 1 write, 3 resize.
_QEMU_USES, _QEMU_UNSHARED, _WRITE, _RESIZE = 100, 200, 1, 3


def opened(path: str, flags: int) -> int:
    """os.open with our error for an absent file."""
    try:
        return os.open(path, flags | os.O_CLOEXEC, 0o644)
    except FileNotFoundError as exc:
        raise DiskNotFound(kind="disk", name=path) from exc


def require_disk(path: str, field: str) -> None:
    """What is there, if anything, must be a file or a block device. Raises DiskUsage: a pipe would wait for ever, and
    other devices have neither size nor content."""
    try:
        mode = Path(path).stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if not stat.S_ISREG(mode) and not stat.S_ISBLK(mode):
        kinds = {
            stat.S_IFDIR: "folder",
            stat.S_IFIFO: "pipe",
            stat.S_IFCHR: "character device",
            stat.S_IFSOCK: "socket",
        }
        problem = f"{path} is a {kinds.get(stat.S_IFMT(mode), 'special file')}; a disk is a file or a block device"
        raise DiskUsage(field=field, problem=problem)


def require_folder(path: str) -> None:
    """The folder that a file is to be made in. Raises DiskNotFound."""
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise DiskNotFound(kind="folder", name=str(folder))


def is_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(Path(path).stat().st_mode)
    except FileNotFoundError:
        return False


def size_of(fd: int) -> int:
    """Bytes of a regular file or a block device."""
    status = os.fstat(fd)
    if stat.S_ISBLK(status.st_mode):
        raw = fcntl.ioctl(fd, _BLKGETSIZE64, b"\0" * 8)
        return int(struct.unpack("Q", raw)[0])
    return status.st_size


def identity_of(fd: int) -> dict[str, object] | None:
    """What tells one state of a file from another; None for devices, whose times say nothing about their bytes."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return None
    return {
        "kind": "file",
        "inode": status.st_ino,
        "size_bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
    }


def same_file(one: str, other: str) -> bool:
    """Whether two paths lead to one file or device, through any links."""
    try:
        a, b = Path(one).stat(), Path(other).stat()
    except OSError:
        return False
    if stat.S_ISBLK(a.st_mode) and stat.S_ISBLK(b.st_mode):
        return a.st_rdev == b.st_rdev
    return (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)


def _lock(fd: int, kind: int, start: int, length: int) -> bool:
    flock = struct.pack("hhqqi4x", kind, os.SEEK_SET, start, length, 0)
    try:
        fcntl.fcntl(fd, _OFD_SETLK, flock)
    except OSError:
        return False
    return True


def _locked_by_other(fd: int, byte: int) -> bool:
    flock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0)
    answer = fcntl.fcntl(fd, _OFD_GETLK, flock)
    return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)


def lock_for_reading(fd: int, name: str) -> None:
    """Tell QEMU's tools that we do not share writing, and refuse if one of them is writing now.

    Where the file system knows no locks, nothing is promised and nothing fails.
    """
    for permission in (_WRITE, _RESIZE):
        if not _lock(fd, fcntl.F_RDLCK, _QEMU_UNSHARED + permission, 1):
            return
    if _locked_by_other(fd, _QEMU_USES + _WRITE):
        raise TargetInUse(name=name, problem="a machine or a tool has it open for writing", field="source")


def flock(fd: int, name: str, problem: str = "another copy writes to it") -> None:
    """Our own lock. Raises TargetInUse. Where the file system knows no locks, nothing is promised and nothing fails.

    A run that was killed a moment ago may still hold it: its helpers die after it.
    """
    until = time.monotonic() + _DYING_S
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() > until:
                raise TargetInUse(name=name, problem=problem) from exc
            time.sleep(0.01)
        except OSError as exc:
            if exc.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
                raise
            return
        else:
            return


def lock_for_writing(fd: int, name: str) -> None:
    """Claim writing as QEMU would, and take our own lock, so that two copiers cannot share one target."""
    flock(fd, name)
    if not _lock(fd, fcntl.F_RDLCK, _QEMU_USES + _WRITE, 1):
        return
    for permission in (0, _WRITE):  # nobody may be reading consistently or writing
        _lock(fd, fcntl.F_RDLCK, _QEMU_UNSHARED + permission, 1)
    if _locked_by_other(fd, _QEMU_UNSHARED + _WRITE):
        # our own two shared locks do not count: the question is asked for this open file description
        raise TargetInUse(name=name, problem="a machine or a tool relies on it")


def in_use_reason(path: str) -> str | None:
    """Why a device or file must not be written now: mounted, swap, or the backing of a loop device. None if free."""
    try:
        status = Path(path).stat()
    except FileNotFoundError:
        return None
    if stat.S_ISBLK(status.st_mode):
        numbers = {status.st_rdev}
        folder = Path(f"/sys/dev/block/{os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
        for part in folder.glob("*/dev"):
            major, minor = part.read_text().strip().split(":")
            numbers.add(os.makedev(int(major), int(minor)))
        for line in Path("/proc/self/mountinfo").read_text().splitlines():
            major, minor = line.split()[2].split(":")
            if os.makedev(int(major), int(minor)) in numbers:
                return f"it is mounted at {line.split()[4]}"
        for held in folder.glob("holders/*"):
            return f"{held.name} is built on it"
    for line in Path("/proc/swaps").read_text().splitlines()[1:]:
        if same_file(line.split()[0], path):
            return "it is swap space"
    if stat.S_ISREG(status.st_mode):
        real = os.path.realpath(path)
        for backing in Path("/sys/block").glob("loop*/loop/backing_file"):
            with contextlib.suppress(OSError):  # the loop device went away between listing and reading
                if backing.read_text().strip() == real:
                    return f"{backing.parts[3]} is attached to it"
    return None


def sync_folder(path: str) -> None:
    """Make a rename or a creation in the folder of `path` durable."""
    fd = os.open(Path(path).absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def publish(unfinished: str, final: str) -> None:
    """Give a complete and synced file its name, durably, whatever has that name now. Raises WriteFailed."""
    try:
        Path(unfinished).replace(final)
        sync_folder(final)
    except OSError as exc:
        raise write_failure(final, 0, 0, exc) from exc

"""Thin faces of system calls that Python's standard library lacks. All of them release the GIL while they run."""

from __future__ import annotations

import ctypes
import errno
import os

__all__ = [
    "cached_share",
    "die_with_parent",
    "is_zero",
    "let_go",
    "punch_hole",
    "rename_to_new",
    "start_writeback",
    "wait_writeback",
    "zero_range",
]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.memcmp.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
_libc.memcmp.restype = ctypes.c_int
_libc.fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_libc.sync_file_range.argtypes = [ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint]

_KEEP_SIZE, _PUNCH_HOLE, _ZERO_RANGE = 1, 2, 16  # <linux/falloc.h>
_WAIT_BEFORE, _WRITE, _WAIT_AFTER = 1, 2, 4  # <linux/fs.h>, sync_file_range
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1  # <fcntl.h>, <linux/fs.h>
_PR_SET_PDEATHSIG = 1
_SYS_CACHESTAT = 451  # the same number on every architecture; Linux 6.5


def is_zero(address: int, size: int) -> bool:
    """Whether memory at `address` is all zeros: its first bytes are, and it equals itself shifted by them.

    memcmp stops at the first difference, so data that is not zero costs next to nothing.
    """
    if size < 16:
        return not any(ctypes.string_at(address, size))
    if ctypes.c_uint64.from_address(address).value:
        return False
    return bool(_libc.memcmp(address, address + 8, size - 8) == 0)


def _fallocate(fd: int, mode: int, offset: int, size: int) -> bool:
    """False where the file system or device cannot do it; raises OSError for all else."""
    while _libc.fallocate(fd, mode, offset, size) != 0:
        code = ctypes.get_errno()
        if code == errno.EINTR:
            continue
        if code in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENODEV, errno.ESPIPE):
            return False
        raise OSError(code, os.strerror(code))
    return True


def punch_hole(fd: int, offset: int, size: int) -> bool:
    """Make a range read zeros and free its blocks. False if that is not supported here."""
    return _fallocate(fd, _PUNCH_HOLE | _KEEP_SIZE, offset, size)


def zero_range(fd: int, offset: int, size: int) -> bool:
    """Make a range read zeros, keeping its blocks. False if that is not supported here."""
    return _fallocate(fd, _ZERO_RANGE | _KEEP_SIZE, offset, size)


def rename_to_new(old: str, new: str) -> bool:
    """Rename, unless `new` exists: False then, and where the file system cannot tell so in one step."""
    if _libc.renameat2(_AT_FDCWD, os.fsencode(old), _AT_FDCWD, os.fsencode(new), _RENAME_NOREPLACE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.EEXIST, errno.EINVAL, errno.ENOSYS):
        return False
    raise OSError(code, os.strerror(code), new)


def start_writeback(fd: int, offset: int, size: int) -> None:
    """Ask the kernel to begin writing dirty pages of the range; waits for nothing. Advice only: errors surface at
    fdatasync, which alone promises anything."""
    _libc.sync_file_range(fd, offset, size, _WRITE)


def wait_writeback(fd: int, offset: int, size: int) -> None:
    """Wait until dirty pages of the range have been handed to the device. Makes nothing durable."""
    _libc.sync_file_range(fd, offset, size, _WAIT_BEFORE | _WRITE | _WAIT_AFTER)


def let_go(fd: int, offset: int, size: int) -> None:
    """Drop clean pages of the range from the page cache."""
    os.posix_fadvise(fd, offset, size, os.POSIX_FADV_DONTNEED)


_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
# <linux/mman.h>: cachestat's range is offset and size, its answer cached, dirty, writeback, evicted, recently evicted.
_CacheRange, _CacheAnswer = ctypes.c_uint64 * 2, ctypes.c_uint64 * 5
_cachestat = ctypes.CDLL(None).syscall  # a face of its own, so that its arguments have types
_cachestat.argtypes = [ctypes.c_long, ctypes.c_uint, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]
_cachestat.restype = ctypes.c_long


def cached_share(fd: int, offset: int, size: int) -> float | None:
    """Which part of the range lies in the page cache, 0 to 1; None where the kernel cannot say."""
    answer = _CacheAnswer()
    if _cachestat(_SYS_CACHESTAT, fd, _CacheRange(offset, size), answer, 0) != 0 or size <= 0:
        return None
    return float(answer[0]) * _PAGE_BYTES / size


def die_with_parent(signal_number: int) -> None:
    """Have the kernel send us a signal when the thread that started us ends."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)

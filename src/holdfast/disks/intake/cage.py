"""A cage for one program: what it may read, write, use up; then it becomes that program.

Run as a script by path, with the standard library only, so that it starts in a few milliseconds and no fork of a
threaded process runs Python code. `{"read": […], "write": […], "cpu_s": n, "memory_bytes": n, "file_bytes": n,
"parent": pid, "command": […]}` is its one argument.

Landlock keeps the program from every file that is not named (Linux 5.13); a private network namespace keeps it from
every host (as root); limits bound processor time, memory and file sizes. Where the kernel has no Landlock the program
runs without that wall: inspection has refused images that point outside, this is the second line.
"""

import ctypes
import json
import os
import resource
import signal
import struct
import sys

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_RULE_PATH_BENEATH = 1
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_ALL_OF_ABI_1 = (1 << 13) - 1
_CLONE_NEWNET = 0x40000000
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38
_SYSTEM = ("/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/proc/self", "/sys/devices/system")


def _allow(libc: ctypes.CDLL, ruleset: int, path: str, rights: int) -> None:
    try:
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # what is not there need not be allowed
    if not os.path.isdir(path):  # noqa: PTH112 - pathlib is not imported here, to start fast
        rights &= _EXECUTE | _WRITE_FILE | _READ_FILE
    rule = struct.pack("=Qi", rights, fd)
    libc.syscall(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, rule, 0)
    os.close(fd)


def _landlock(libc: ctypes.CDLL, read: list[str], write: list[str]) -> None:
    handled = struct.pack("=Q", _ALL_OF_ABI_1)
    ruleset = libc.syscall(_CREATE_RULESET, handled, ctypes.c_size_t(len(handled)), 0)
    if ruleset < 0:
        return
    for path in _SYSTEM:
        _allow(libc, ruleset, path, _EXECUTE | _READ_FILE | _READ_DIR)
    for path in ("/dev/null", "/dev/zero", "/dev/urandom", *read):
        _allow(libc, ruleset, path, _READ_FILE | _READ_DIR)
    for path in ("/dev/null", *write):
        _allow(libc, ruleset, path, _ALL_OF_ABI_1)
    libc.syscall(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)


def _limit(kind: int, most: int) -> None:
    _, hard = resource.getrlimit(kind)
    value = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(kind, (value, value))


def main() -> None:
    told = json.loads(sys.argv[1])
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != told["parent"]:
        sys.exit(1)  # our parent ended before we could ask to end with it
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    libc.unshare(_CLONE_NEWNET)  # fails without privilege: then the inspection alone keeps hosts out
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_CPU, told["cpu_s"])
    _limit(resource.RLIMIT_AS, told["memory_bytes"])
    _limit(resource.RLIMIT_NOFILE, 256)
    if told["file_bytes"] is not None:
        _limit(resource.RLIMIT_FSIZE, told["file_bytes"])
    _landlock(libc, told["read"], told["write"])
    command = told["command"]
    os.execv(command[0], command)


if __name__ == "__main__":
    main()

"""qemu-nbd as a child in a cage, on a unix socket in a private folder: how we read and write image formats."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.core.errors import HoldfastError
from holdfast.core.units import GIB, MIB
from holdfast.disks.errors import HostileImage, NoSpaceLeft, ReadFailed, TargetInUse, ToolMissing, WriteFailed
from holdfast.disks.intake import cage
from holdfast.disks.intake.server_folders import make_server_folder

__all__ = ["QEMU_DRIVERS", "ImageServer", "create_image", "tool"]

QEMU_DRIVERS = {"raw": "raw", "qcow2": "qcow2", "vhd": "vpc", "vhdx": "vhdx", "vmdk": "vmdk", "vdi": "vdi"}
_OPENING = "Failed to blk_new_open"  # what qemu-nbd says before QEMU's reason not to open an image
# Reasons that say something of the machine or of who asks, not of the image.
_NOT_THE_IMAGE = (
    "Cannot allocate memory",
    "Input/output error",
    "No such file or directory",
    "Permission denied",
    "Too many open files",
    "Unknown driver",
)
_START_S = 20.0  # a loaded machine needs seconds to start a child; a hung one is told from it by this


def tool(name: str, purpose: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ToolMissing(tool=name, purpose=purpose)
    return path


def _node(path: str, format_: str) -> dict[str, Any]:
    return {
        "driver": QEMU_DRIVERS[format_],
        "file": {"driver": "file", "filename": path, "locking": "auto"},
    }


class ImageServer:
    """One image served under a socket until `stop`. The child ends with us, however we end.

    `backing`: the layers under a qcow2, top first, as (path, format), found and inspected by the caller. Without them
    QEMU is told that there are none, whatever the image says.

    Raises HostileImage with the rule `qemu-refused` where QEMU will not open a source, TargetInUse where it is locked,
    ReadFailed, or WriteFailed for a target, where the server does not start.
    """

    def __init__(
        self,
        path: str,
        format_: str,
        *,
        writable: bool,
        lanes: int = 32,
        size_bytes: int = 0,
        backing: Sequence[tuple[str, str]] = (),
    ) -> None:
        program = tool("qemu-nbd", f"{format_} images")
        self._writable = writable
        self._folder = make_server_folder()
        self.socket_path = str(Path(self._folder) / "s")
        real = str(Path(path).resolve())
        layers = [(real, format_), *((str(Path(name).resolve()), kind) for name, kind in backing)]
        node: dict[str, Any] | None = None
        for name, kind in reversed(layers):
            below, node = node, _node(name, kind)
            if kind == "qcow2":
                node["backing"] = below
        command = [
            program,
            "--persistent",
            f"--shared={lanes}",
            f"--socket={self.socket_path}",
            "--discard=unmap",
            "--detect-zeroes=off",
            *([] if writable else ["--read-only"]),
            f"json:{json.dumps(node)}",
        ]
        told = {
            "parent": os.getpid(),
            "read": [name for name, _ in layers],
            "write": [self._folder, *([real] if writable else [])],
            "cpu_s": 3600 + (size_bytes or Path(path).stat().st_size) // (16 * MIB),
            "memory_bytes": 8 * GIB,
            "file_bytes": None if writable else 1 * MIB,
            "command": command,
        }
        self._errors = Path(self._folder) / "errors"
        with open(self._errors, "wb") as errors:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", cage.__file__, json.dumps(told)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
            )
        try:
            self._wait_until_it_greets(path)
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        return f"nbd+unix:///?socket={self.socket_path}"

    def _wait_until_it_greets(self, path: str) -> None:
        """Raises what the server's own words mean if it ends or does not answer in time."""
        deadline = time.monotonic() + _START_S
        while not self._greets():
            if self._child.poll() is not None or time.monotonic() > deadline:
                raise self._failure(path)
            time.sleep(0.002)

    def _failure(self, path: str) -> HoldfastError:
        """An image that QEMU looked at and refused is told from a server that crashed, or never came to look at it."""
        words = self._errors.read_text(errors="replace")
        problem = _plain_words(words)
        refused = self._child.returncode == 1 and _OPENING in words
        if refused and " lock" in problem and "another process" in problem:
            return TargetInUse(name=path, problem=problem, field="target" if self._writable else "source")
        if self._writable:
            return WriteFailed(name=path, offset=0, size_bytes=0, problem=f"qemu-nbd: {problem}")
        if not refused or any(reason in problem for reason in _NOT_THE_IMAGE):
            return ReadFailed(name=path, offset=0, size_bytes=0, problem=f"qemu-nbd: {problem}")
        suspicion = {"rule": "qemu-refused", "problem": problem}
        return HostileImage(name=path, **suspicion, suspicions=[suspicion])

    def _greets(self) -> bool:
        """The socket listens before the image is open; only the greeting says that the server can serve."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(self.socket_path)
                return probe.recv(8) == b"NBDMAGIC"
            except OSError:
                return False

    def stop(self) -> None:
        """End the child and wait for it; a writable image is complete and closed after that."""
        self._child.terminate()
        try:
            self._child.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def create_image(path: str, format_: str, size_bytes: int, options: str = "") -> None:
    """An empty image. Raises ToolMissing, or WriteFailed with the tool's words.

    The tool gets the whole path: a name alone may look to it like an option or a protocol (`-x.vdi`, `a:b.vdi`).
    """
    command = [tool("qemu-img", f"{format_} images"), "create", "-q", "-f", QEMU_DRIVERS[format_]]
    if options:
        command += ["-o", options]
    whole = str(Path(path).absolute())
    done = subprocess.run([*command, whole, str(size_bytes)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        if os.strerror(errno.ENOSPC) in done.stderr:
            raise NoSpaceLeft(name=path, offset=0, size_bytes=size_bytes)
        problem = _plain_words(done.stderr)
        raise WriteFailed(name=path, offset=0, size_bytes=size_bytes, problem=f"qemu-img: {problem}")


def _plain_words(words: str) -> str:
    """What a tool of QEMU's said, without its own name and the JSON by which we named the image."""
    told = []
    for line in words.strip()[-4000:].splitlines():
        while line.startswith(("qemu-nbd: ", "qemu-img: ")):
            line = line.partition(": ")[2]
        told.append(_without_json(line).removeprefix(f"{_OPENING}: "))
    return "; ".join(told)[-500:] or "did not start"


def _without_json(line: str) -> str:
    """Each `'json:{…}'`, with the quotes around it and the space before, is taken out."""
    at = line.find("json:{")
    while at >= 0:
        try:
            _, end = json.JSONDecoder().raw_decode(line, at + len("json:"))
        except ValueError:
            return line[:at].rstrip(" '\"")
        line = line[:at].rstrip(" '\"") + line[end:].lstrip("'\"")
        at = line.find("json:{")
    return line

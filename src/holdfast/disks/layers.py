"""A disk in layers of the user's own: a qcow2 overlay over its backing files, and what the overlay has changed.

Images from outside are never opened with a backing file (`intake`). This is for the user's own layered disks, and
must be asked for. The layers are found by us, before anything opens them: a backing file must be a regular file named
plainly, of a format that its overlay declares (raw or qcow2), safe by every other rule, and not a layer already. QEMU
gets the whole tree of nodes from us, so it follows no name in any image, and its cage shows it these files only.

What an overlay has allocated is what changed since its backing file was the disk. The chain id of a state says which
files it was read from: format, inode, size and time of last change of every layer.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.disks.errors import FormatMismatch, HostileImage, SourceChanged
from holdfast.disks.formats.facts import Suspicion
from holdfast.disks.formats.qcow2_header import allocated, backing_of, parse
from holdfast.disks.intake.inspecting import FileBytes, inspect_file
from holdfast.disks.model.chain import chain_of
from holdfast.disks.model.extents import Extent
from holdfast.disks.readers.protocol import ChangeList, Reader, SourceTraits
from holdfast.disks.system.files import identity_of, lock_for_reading, opened

if TYPE_CHECKING:
    from holdfast.disks.readers.nbd import NbdReader

__all__ = ["Layer", "LayeredReader", "find_layers", "layer_changes", "open_layers"]

_MOST_LAYERS = 32
_PROTOCOL_MARKS = (":", "\0")  # `json:…`, `nbd:…`, `file:…`: a name with a colon may mean anything to QEMU


@dataclass(frozen=True)
class Layer:
    """One file of the stack. `identity` changes whenever its bytes may have changed."""

    path: str
    format: str
    identity: dict[str, Any]


def find_layers(path: str) -> list[Layer]:
    """The stack under a qcow2 file, top first, down to a layer without a backing file.

    Raises FormatMismatch, HostileImage (with the rule `backing-file` where a backing file cannot be trusted even if
    that was asked for), DiskNotFound.
    """
    found: list[Layer] = []
    seen: set[tuple[int, int]] = set()
    declared = "qcow2"
    while True:
        status = Path(path).stat() if Path(path).exists() else None
        if status is not None:
            if not stat.S_ISREG(status.st_mode):
                raise _refused(path, "it is no regular file")
            if (status.st_dev, status.st_ino) in seen or len(seen) >= _MOST_LAYERS:
                raise _refused(path, f"its layers go in a circle, or are more than {_MOST_LAYERS}")
            seen.add((status.st_dev, status.st_ino))
        identity = _identity(path)
        if declared == "raw":
            found.append(Layer(path, "raw", identity))
            return found
        _require_safe_but_for_backing(path)
        source = FileBytes(path)
        try:
            header = parse(source)
            assert header is not None  # the inspection saw one
            backing = backing_of(source, header)
        finally:
            source.close()
        found.append(Layer(path, "qcow2", identity))
        if backing is None:
            return found
        name, declared_below = backing
        path, declared = _below(path, name, declared_below)


def _below(overlay: str, name: str, declared: str | None) -> tuple[str, str]:
    """Where the backing file lies and what it is, if both are said plainly."""
    if not name or any(mark in name for mark in _PROTOCOL_MARKS):
        raise _refused(overlay, f"it is backed by {name!r}, which is not the plain name of a file")
    if declared not in ("raw", "qcow2"):
        raise _refused(overlay, f"it does not declare {name!r} as raw or qcow2, and formats are not guessed")
    return str(Path(overlay).resolve().parent / name), declared


def _refused(path: str, problem: str) -> HostileImage:
    return HostileImage(name=path, rule="backing-file", problem=problem, suspicions=[])


def _require_safe_but_for_backing(path: str) -> None:
    facts = inspect_file(path)
    if facts.format != "qcow2":
        raise FormatMismatch(name=path, declared="qcow2", found=facts.format)
    rest: list[Suspicion] = [s for s in facts.suspicions if s.rule != "backing-file"]
    if rest:
        others = [{"rule": s.rule, "problem": s.problem} for s in rest]
        raise HostileImage(name=path, rule=rest[0].rule, problem=rest[0].problem, suspicions=others)


def _identity(path: str) -> dict[str, Any]:
    fd = opened(path, os.O_RDONLY)
    try:
        return identity_of(fd) or {"kind": "device"}
    finally:
        os.close(fd)


def open_layers(path: str) -> LayeredReader:
    """Read a stack through QEMU. Writers of any layer are locked out meanwhile."""
    from holdfast.disks.nbd.servers import ImageServer
    from holdfast.disks.readers.nbd import NbdReader

    layers = find_layers(path)
    locks = []
    server = None
    try:
        for layer in layers:
            locks.append(opened(layer.path, os.O_RDONLY))
            lock_for_reading(locks[-1], layer.path)
        below = [(layer.path, layer.format) for layer in layers[1:]]
        server = ImageServer(path, "qcow2", writable=False, backing=below)
        reader = LayeredReader(layers, locks, NbdReader(server.url, path, on_close=server.stop))
    except BaseException:
        for fd in locks:
            os.close(fd)
        if server is not None:
            server.stop()
        raise
    if reader.identity_now() != reader.traits.identity:  # a file was replaced between our look and QEMU's
        reader.close()
        raise SourceChanged(name=path)
    return reader


class LayeredReader:
    """The disk as the top layer shows it, and what that layer changed."""

    def __init__(self, layers: list[Layer], locks: list[int], below: NbdReader) -> None:
        self.layers, self._locks, self._below = layers, locks, below
        self.size_bytes = below.size_bytes
        self.traits = SourceTraits(
            name=layers[0].path,
            lanes=below.traits.lanes,
            identity=self._identity_of([layer.identity for layer in layers]),
            chain=chain_of([(layer.format, layer.identity) for layer in layers]),
        )

    @staticmethod
    def _identity_of(identities: list[dict[str, Any]]) -> dict[str, Any]:
        return {"kind": "layers", "layers": identities}

    def changes(self) -> tuple[ChangeList | None, str]:
        """What the top layer has allocated since the layer below was the disk; or None and why that cannot be told."""
        below = self.layers[1:]
        since = chain_of([(layer.format, layer.identity) for layer in below]) if below else None
        now = self.traits.chain
        if since is None or now is None:
            return None, "the source has no layer below it that could be the state of the list"
        source = FileBytes(self.layers[0].path)
        try:
            header = parse(source)
            assert header is not None  # it was inspected when it was opened
            told = allocated(source, header)
            if told is None:
                return None, "its layer keeps account of parts of clusters, which is not read here"
            extents = list(_clipped(told, self.size_bytes))
        finally:
            source.close()
        return ChangeList(since, now, extents, "qcow2 layer"), ""

    def extents(self, start: int, end: int) -> Iterator[Extent]:
        return self._below.extents(start, end)

    def read_into(self, offset: int, buffer: memoryview) -> None:
        self._below.read_into(offset, buffer)

    def done_with(self, start: int, end: int) -> None:
        pass

    def identity_now(self) -> dict[str, Any] | None:
        return self._identity_of([_identity(layer.path) for layer in self.layers])

    def close(self) -> None:
        try:
            self._below.close()
        finally:
            for fd in self._locks:
                os.close(fd)


def _clipped(extents: Iterator[Extent], size: int) -> Iterator[Extent]:
    for extent in extents:
        if extent.start < size:
            yield Extent(extent.start, min(extent.end, size), extent.kind)


def layer_changes(reader: Reader) -> tuple[ChangeList | None, str]:
    """As `LayeredReader.changes`, for any reader."""
    if isinstance(reader, LayeredReader):
        return reader.changes()
    return None, "the source has no layers"

"""Every kind of source into every kind of target: the bytes are equal, as others read them; and one changed byte is
found. The default run takes a sample of the pairs, the slow one all."""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from test_disk_azure import Lab, calm, lab, quick

from fakes.processes import end
from holdfast.disks.converting import run_convert
from holdfast.disks.jobs import CopyJob, diff, run_copy
from holdfast.disks.model.locator import Locator

__all__ = ["calm", "lab", "quick"]  # fixtures of the module beside

MIB = 1 << 20
SIZE = 5 * MIB + 1536
pytestmark = pytest.mark.skipif(shutil.which("qemu-nbd") is None, reason="qemu-utils are not installed")


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holes, written zeros, data that compress and data that do not, and a last sector that is not zero."""
    rng = random.Random(21)
    path = tmp_path_factory.mktemp("original") / "disk.raw"
    with open(path, "wb") as file:
        file.truncate(SIZE)
        for at, data in ((0, rng.randbytes(70_000)), (MIB, bytes(200_000)), (3 * MIB - 512, b"text " * 40_000)):
            file.seek(at)
            file.write(data)
        file.seek(SIZE - 512)
        file.write(b"the very last sector".ljust(512, b"!"))
    return path


# -- sources --------------------------------------------------------------------------------------------------------

_IMAGES = {
    "qcow2": ("qcow2", ""),
    "qcow2-packed": ("qcow2", "-c"),
    "vhd-fixed": ("vpc", "-o subformat=fixed,force_size=on"),
    "vhd": ("vpc", "-o subformat=dynamic,force_size=on"),
    "vhdx": ("vhdx", ""),
    "vmdk": ("vmdk", ""),
    "vmdk-stream": ("vmdk", "-o subformat=streamOptimized"),
    "vdi": ("vdi", ""),
}
SOURCES = ("raw", *_IMAGES, "nbd", "page-blob", "http", "layers")
_SUFFIX = {"qcow2-packed": "qcow2", "vhd-fixed": "vhd", "vmdk-stream": "vmdk"}


@contextmanager
def source_of(kind: str, original: Path, folder: Path, lab: Lab) -> Iterator[Locator]:
    """The original disk as a source of some kind, made by QEMU's tools, the lab or a web server."""
    if kind == "raw":
        yield Locator(str(original))
    elif kind in _IMAGES:
        driver, options = _IMAGES[kind]
        path = folder / f"source.{_SUFFIX.get(kind, kind)}"
        subprocess.run(
            ["qemu-img", "convert", "-f", "raw", "-O", driver, *options.split(), str(original), str(path)], check=True
        )
        yield Locator(str(path))
    elif kind == "nbd":
        with exported(original, folder, "--read-only") as url:
            yield Locator(url)
    elif kind == "page-blob":
        name = f"source-{random.getrandbits(40):x}"
        disk = lab.store.create(name, 6 * MIB)
        disk.write(0, original.read_bytes())
        lab.store.snapshot(name, name + "-s")
        yield lab.locator(name + "-s")
    elif kind == "layers":
        path = folder / "source.qcow2"
        words = ["-b", str(original), "-F", "raw", str(path)]
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", *words], check=True)
        yield Locator(str(path))
    else:
        with served(original) as url:
            yield Locator(url)


@contextmanager
def exported(path: Path, folder: Path, *more: str) -> Iterator[str]:
    where = folder / f"s{random.getrandbits(32):x}"
    words = ["qemu-nbd", "--persistent", "--shared=8", f"--socket={where}", "-f", "raw", *more, str(path)]
    child = subprocess.Popen(words)
    deadline = time.monotonic() + 20
    try:
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if where.exists() and probe.connect_ex(str(where)) == 0:
                    break
            assert child.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield f"nbd+unix:///?socket={where}"
    finally:
        end(child)


@contextmanager
def served(path: Path) -> Iterator[str]:
    content = path.read_bytes()

    class Ranges(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._begin(200, len(content))

        def do_GET(self) -> None:
            first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
            self._begin(206, last + 1 - first, ("Content-Range", f"bytes {first}-{last}/{len(content)}"))
            self.wfile.write(content[first : last + 1])

        def _begin(self, status: int, size: int, *more: tuple[str, str]) -> None:
            self.send_response(status)
            for name, value in (("Content-Length", str(size)), ("ETag", '"1"'), ("Accept-Ranges", "bytes"), *more):
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/disk.img"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


# -- targets --------------------------------------------------------------------------------------------------------

Written = tuple[bytes, Locator | None]  # what the target holds, as others read it; and as we may open it


def _as_others_read(path: Path, driver: str) -> bytes:
    flat = path.with_suffix(".flat")
    subprocess.run(["qemu-img", "convert", "-f", driver, "-O", "raw", str(path), str(flat)], check=True)
    return flat.read_bytes()


def _image(suffix: str, driver: str, to: str | None = None) -> Callable[[Locator, Path, Lab, bool], Written]:
    def write(source: Locator, folder: Path, lab: Lab, trust: bool) -> Written:
        path = folder / f"target.{suffix}"
        target = Locator(str(path), to)
        run_copy(CopyJob(source, target, digests=str(folder / "L"), verify="full", trust_backing=trust))
        return _as_others_read(path, driver), Locator(str(path))

    return write


def _converted(suffix: str, driver: str, format_: str, compress: str | None = None) -> Callable[..., Written]:
    def write(source: Locator, folder: Path, lab: Lab, trust: bool) -> Written:
        path = folder / f"target.{suffix}"
        run_convert(source, Locator(str(path)), format_, compress=compress)
        if suffix == "ova":
            with tarfile.open(path) as archive:
                inner = archive.extractfile("target.vmdk")
                assert inner is not None
                (folder / "target.vmdk").write_bytes(inner.read())
            path = folder / "target.vmdk"
        return _as_others_read(path, driver), Locator(str(path))

    return write


def _streamed(suffix: str, driver: str, format_: str) -> Callable[..., Written]:
    def write(source: Locator, folder: Path, lab: Lab, trust: bool) -> Written:
        path = folder / f"target.{suffix}"
        out = os.open(path, os.O_WRONLY | os.O_CREAT)
        try:
            run_convert(source, Locator("-"), format_, out_fd=out)
        finally:
            os.close(out)
        return _as_others_read(path, driver), Locator(str(path))

    return write


def _nbd(source: Locator, folder: Path, lab: Lab, trust: bool) -> Written:
    path = folder / "behind.raw"
    with open(path, "wb") as file:
        file.truncate(SIZE + 2 * MIB)
    with exported(path, folder) as url:
        run_copy(CopyJob(source, Locator(url), digests=str(folder / "L"), verify="full", trust_backing=trust))
    return path.read_bytes(), Locator(str(path))


def _page_blob(source: Locator, folder: Path, lab: Lab, trust: bool) -> Written:
    name = f"target-{random.getrandbits(40):x}"
    lab.store.create(name, 6 * MIB)
    run_copy(CopyJob(source, lab.locator(name, "Write"), digests=str(folder / "L"), trust_backing=trust))
    return lab.bytes_of(name), None


TARGETS: dict[str, Callable[[Locator, Path, Lab, bool], Written]] = {
    "raw": _image("raw", "raw"),
    "qcow2": _image("qcow2", "qcow2"),
    "vhd-fixed": _image("vhd", "vpc", "vhd-fixed"),
    "vhd": _image("vhd", "vpc", "vhd"),
    "vhdx": _image("vhdx", "vhdx"),
    "vdi": _image("vdi", "vdi"),
    "nbd": _nbd,
    "page-blob": _page_blob,
    "qcow2-zlib": _converted("qcow2", "qcow2", "qcow2", "zlib"),
    "qcow2-zstd": _converted("qcow2", "qcow2", "qcow2", "zstd"),
    "vmdk-stream": _converted("vmdk", "vmdk", "vmdk-stream"),
    "ova": _converted("ova", "vmdk", "ova"),
    "raw stream": _streamed("raw", "raw", "raw"),
    "vhd stream": _streamed("vhd", "vpc", "vhd-fixed"),
}
_COPIED = ("raw", "qcow2", "vhd-fixed", "vhd", "vhdx", "vdi", "nbd", "page-blob")  # the others take no --trust-backing


def _pairs() -> list[object]:
    found = []
    for i, source in enumerate(SOURCES):
        for j, target in enumerate(TARGETS):
            if source == "layers" and target not in _COPIED:
                continue
            marks = [] if (i + j) % 9 == 0 else [pytest.mark.slow]
            found.append(pytest.param(source, target, marks=marks, id=f"{source} to {target}"))
    return found


@pytest.mark.parametrize(("source", "target"), _pairs())
def test_source_of_any_kind_arrives_in_a_target_of_any_kind(
    source: str, target: str, original: Path, tmp_path: Path, lab: Lab
) -> None:
    wanted = original.read_bytes()
    with source_of(source, original, tmp_path, lab) as locator:
        held, opened = TARGETS[target](locator, tmp_path, lab, source == "layers")

    assert held[:SIZE] == wanted
    assert not any(held[SIZE:]), "the tail is not zero"
    if opened is not None:
        changed = tmp_path / "changed.raw"
        changed.write_bytes(wanted[: 2 * MIB] + b"\1" + wanted[2 * MIB + 1 :])
        found = diff(Locator(str(changed)), opened)
        assert [(e.start, e.end) for e in found.extents] == [(2 * MIB, 2 * MIB + 65536)]

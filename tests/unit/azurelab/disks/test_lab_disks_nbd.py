"""The NBD server, through the clients that guests and people use: QEMU's tools and libnbd's nbdcopy."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from azurelab.disks.changes import changed_extents
from azurelab.disks.nbd.server import NbdServer, socket_path
from azurelab.disks.pages import Extent, Kind
from azurelab.disks.store import DiskStore

MIB = 1 << 20


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DiskStore]:
    opened = DiskStore(tmp_path / "disks")
    yield opened
    opened.close()


@pytest.fixture
def server(store: DiskStore, tmp_path: Path) -> Iterator[NbdServer]:
    running = NbdServer(socket_path(tmp_path), store.find, store.ids)
    running.start()
    yield running
    running.close()


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(tool) is None, reason=f"{tool} is not installed")


def uri(server: NbdServer, export: str) -> str:
    return f"nbd+unix:///{export}?socket={server.path}"


def qemu_io(server: NbdServer, export: str, *commands: str, read_only: bool = False) -> str:
    arguments = ["qemu-io", "-f", "raw", "--discard", "unmap"]
    if read_only:
        arguments.append("-r")
    for command in commands:
        arguments += ["-c", command]
    done = subprocess.run([*arguments, uri(server, export)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs("qemu-io")
def test_writes_discards_and_zeroes_of_qemu_land_as_data_and_cleared_pages(store: DiskStore, server: NbdServer) -> None:
    disk = store.create("disk", 16 * MIB)
    store.snapshot("disk", "before")

    qemu_io(
        server,
        "disk",
        "write -P 0xab 0 1M",
        "write -P 0xcd 1536 512",
        "discard 2M 64k",
        "write -z -u 4M 128k",
        "write -z 6M 8k",
        "flush",
        "read -P 0xab 4096 65536",
    )

    assert disk.read(1024, 1024) == b"\xab" * 512 + b"\xcd" * 512
    store.snapshot("disk", "after")
    assert list(changed_extents(store.get("after"), store.get("before"))) == [
        Extent(0, MIB, Kind.DATA),
        Extent(2 * MIB, 2 * MIB + 65536, Kind.ZERO),
        Extent(4 * MIB, 4 * MIB + 131072, Kind.ZERO),
        Extent(6 * MIB, 6 * MIB + 8192, Kind.DATA),
    ]


@needs("qemu-img")
def test_qemu_img_sees_holes_and_copies_only_data(store: DiskStore, server: NbdServer, tmp_path: Path) -> None:
    disk = store.create("disk", 64 * MIB)
    disk.write(8 * MIB, os.urandom(MIB))

    listed = subprocess.run(
        ["qemu-img", "map", "--output=json", "-f", "raw", uri(server, "disk")], capture_output=True, check=True
    )
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "raw", uri(server, "disk"), str(tmp_path / "copy.raw")], check=True
    )

    data = [(e["start"], e["length"]) for e in json.loads(listed.stdout) if e["data"]]
    assert data == [(8 * MIB, MIB)]
    assert (tmp_path / "copy.raw").read_bytes() == disk.read(0, 64 * MIB)


@needs("nbdcopy")
def test_nbdcopy_with_several_connections_writes_the_same_bytes(
    store: DiskStore, server: NbdServer, tmp_path: Path
) -> None:
    source = tmp_path / "source.raw"
    source.write_bytes(os.urandom(3 * MIB) + bytes(2 * MIB) + os.urandom(3 * MIB))
    store.create("disk", 8 * MIB)

    subprocess.run(["nbdcopy", "--flush", str(source), uri(server, "disk")], check=True, timeout=60)

    assert store.get("disk").read(0, 8 * MIB) == source.read_bytes()


@needs("qemu-io")
def test_snapshots_are_exported_read_only(store: DiskStore, server: NbdServer) -> None:
    store.create("disk", MIB).write(0, b"z" * 512)
    store.snapshot("disk", "snap")

    assert "read 512/512" in qemu_io(server, "snap", "read -P 0x7a 0 512", read_only=True)
    refused = subprocess.run(
        ["qemu-io", "-f", "raw", "-c", "write 0 512", uri(server, "snap")], capture_output=True, text=True, check=False
    )
    assert refused.returncode != 0


@needs("nbdinfo")
def test_nbdinfo_lists_the_exports_by_name(store: DiskStore, server: NbdServer) -> None:
    store.create("one", MIB)
    store.create("two", 2 * MIB)

    listed = subprocess.run(
        ["nbdinfo", "--list", "--json", f"nbd+unix://?socket={server.path}"], capture_output=True, check=True
    )

    exports = {e["export-name"]: e["export-size"] for e in json.loads(listed.stdout)["exports"]}
    assert exports == {"one": MIB, "two": 2 * MIB}


def test_a_dropped_export_and_a_closed_server_hang_up_on_their_clients(store: DiskStore, server: NbdServer) -> None:
    store.create("disk", MIB)
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(20)
    client.connect(str(server.path))
    assert client.recv(18, socket.MSG_WAITALL)[:8] == b"NBDMAGIC"
    client.sendall((3).to_bytes(4, "big"))
    client.sendall(b"IHAVEOPT" + (1).to_bytes(4, "big") + (4).to_bytes(4, "big") + b"disk")
    assert int.from_bytes(client.recv(10, socket.MSG_WAITALL)[:8], "big") == MIB

    server.drop("disk")

    assert client.recv(1) == b""
    client.close()


def test_a_server_started_again_takes_over_the_stale_socket(store: DiskStore, tmp_path: Path) -> None:
    path = socket_path(tmp_path)
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()

    server = NbdServer(path, store.find)
    server.start()

    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    assert client.recv(8, socket.MSG_WAITALL) == b"NBDMAGIC"
    client.close()
    server.close()
    assert not path.exists()


def test_a_home_with_a_long_path_gets_a_socket_that_fits(tmp_path: Path) -> None:
    assert len(str(socket_path(tmp_path / ("x" * 100)))) <= 107

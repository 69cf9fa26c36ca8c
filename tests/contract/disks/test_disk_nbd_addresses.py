"""NBD addresses that name nothing, and servers whose handshake says no, or what cannot be."""

from __future__ import annotations

import random
import socket
import struct
import threading
from pathlib import Path

import pytest

from holdfast.core.errors import HoldfastError
from holdfast.core.units import TIB
from holdfast.disks.describing import describe
from holdfast.disks.errors import DiskNotFound, DiskUsage, HostileImage, ServerRefused, WireBroken
from holdfast.disks.model.locator import Locator
from holdfast.disks.nbd import wire
from holdfast.disks.nbd.wire import parse_address
from holdfast.disks.readers.nbd import NbdReader
from holdfast.disks.writers.nbd import NbdWriter


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("nbd://h:99999/x?tls-password=SECRET", "nbd://h:99999/x is no well-formed URL"),
        ("nbd://h:abc/x?tls-password=SECRET", "nbd://h/x is no well-formed URL"),
        ("nbd://[::1/x?tls-password=SECRET", "no well-formed URL"),
        ("nbd://h/\udcff?tls-password=SECRET", "no well-formed URL"),
        ("nbd://h:0/x?tls-password=SECRET", "not an NBD address"),
        ("nbd://a..b/x?tls-password=SECRET", "names a host that there cannot be"),
        ("nbds://h/x?tls-password=SECRET", "TLS, which is not spoken here"),
        ("nbd+unix:///x?tls-password=SECRET", "names no socket"),
        ("nbd+ssh://h/x?tls-password=SECRET", "not an NBD address"),
    ],
)
def test_address_that_names_no_server_is_refused_without_its_secret(url: str, problem: str) -> None:
    with pytest.raises(DiskUsage) as caught:
        describe(Locator(url, "nbd"))

    assert problem in caught.value.message
    assert caught.value.about == "address"
    assert "SECRET" not in f"{caught.value.message} {caught.value.details}"


def test_non_ascii_host_is_asked_for_in_ascii() -> None:
    assert parse_address("nbd://bücher.example/x").host == "xn--bcher-kva.example"
    assert parse_address("nbd://[::1]:99/x").host == "::1"


def answering(folder: Path, *replies: tuple[int, bytes]) -> str:
    """A server that agrees to all options but the last, which it answers with these replies; its address."""
    path = folder / f"s{random.getrandbits(32):x}"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(4)

    def serve() -> None:
        with listener:
            connection, _ = listener.accept()
        with connection:
            connection.sendall(struct.pack(">QQH", wire.INIT_MAGIC, wire.OPTION_MAGIC, 3))
            connection.recv(4, socket.MSG_WAITALL)
            while head := connection.recv(16, socket.MSG_WAITALL):
                if len(head) < 16 or int.from_bytes(head[:4], "big") == wire.REQUEST_MAGIC:
                    return
                _, option, size = struct.unpack(">QII", head)
                connection.recv(size, socket.MSG_WAITALL) if size else b""
                for kind, payload in replies if option == wire.OPT_GO else [(wire.REP_ACK, b"")]:
                    about = struct.pack(">QIII", wire.OPTION_REPLY_MAGIC, option, kind, len(payload))
                    connection.sendall(about + payload)

    threading.Thread(target=serve, daemon=True).start()
    return f"nbd+unix:///?socket={path}"


def export_of(size_bytes: int, *more: tuple[int, bytes]) -> tuple[tuple[int, bytes], ...]:
    info = struct.pack(">HQH", wire.INFO_EXPORT, size_bytes, 1)
    return (wire.REP_INFO, info), *more, (wire.REP_ACK, b"")


@pytest.mark.parametrize("size_bytes", [64 * TIB + 1, 1 << 62, 1 << 63, (1 << 64) - 1])
def test_export_of_a_size_that_no_disk_has_is_refused_by_reader_and_writer(tmp_path: Path, size_bytes: int) -> None:
    with pytest.raises(HostileImage, match=f"a disk of {size_bytes} bytes"):
        describe(Locator(answering(tmp_path, *export_of(size_bytes))))
    with pytest.raises(HostileImage, match=f"a disk of {size_bytes} bytes"):
        NbdWriter(answering(tmp_path, *export_of(size_bytes)), "target", 4096)


def test_largest_export_there_is_is_opened(tmp_path: Path) -> None:
    reader = NbdReader(answering(tmp_path, *export_of(64 * TIB)), "large")

    assert reader.size_bytes == 64 * TIB
    reader.close()


@pytest.mark.parametrize(
    ("reply", "refusal", "match"),
    [
        ((wire.REP_ERROR_BIT + 5, b""), ServerRefused, "answered 5: it requires TLS, which is not spoken here"),
        ((wire.REP_ERROR_BIT + 5, b"use\x1b[31m TLS"), ServerRefused, r"it requires TLS.*\(use\?\[31m TLS\)"),
        ((wire.REP_ERROR_BIT + 2, b""), ServerRefused, "its policy forbids it"),
        ((wire.REP_ERROR_BIT + 99, b""), ServerRefused, "answered 99: no words"),
        ((wire.REP_ERROR_BIT + 99, b"z" * 5000), ServerRefused, "zzz"),
        ((wire.REP_ERROR_BIT + 6, b""), DiskNotFound, "no NBD export"),
    ],
)
def test_refusal_of_a_server_says_what_it_means(
    tmp_path: Path, reply: tuple[int, bytes], refusal: type[HoldfastError], match: str
) -> None:
    with pytest.raises(refusal, match=match) as caught:
        NbdReader(answering(tmp_path, reply), "export")

    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    "replies",
    [
        ((wire.REP_INFO, struct.pack(">HI", wire.INFO_EXPORT, 1)), (wire.REP_ACK, b"")),
        export_of(4096, (wire.REP_INFO, struct.pack(">HIII", wire.INFO_BLOCK_SIZE, 0, 0, 0))),
    ],
)
def test_handshake_that_is_nonsense_breaks_the_wire(tmp_path: Path, replies: tuple[tuple[int, bytes], ...]) -> None:
    with pytest.raises(WireBroken):
        NbdReader(answering(tmp_path, *replies), "export")

"""A work-alike of the peer's data path: SHA-256 of 10 MiB chunks, changed chunks sent over TLS to a writer process.

    coriolis_alike.py list SOURCE LIST              digest SOURCE in chunks
    coriolis_alike.py sync SOURCE TARGET LIST       digest, send chunks whose digest differs, bring LIST up to date

Deviations, all in its favour: no compression (the peer uses gzip 9, which caps a disk at 15–30 MiB/s), digests in two
threads instead of one, no polling, no job record through a database, holes are read as holes by SEEK_DATA.
Facts: `reference/replication.md` section 3.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import socket
import ssl
import struct
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHUNK = 10 * 1024 * 1024
HEAD = struct.Struct(">QI")


def certificate(folder: Path) -> tuple[str, str]:
    """A throw-away certificate for the loopback writer."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "writer")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "cert.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(pem), str(key_pem)


def serve(listener: socket.socket, target: str, pem: str, key: str) -> None:
    """The writer: takes (offset, length, bytes) until the stream ends, then answers once."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem, key)
    fd = os.open(target, os.O_RDWR)
    connection, _ = listener.accept()
    with context.wrap_socket(connection, server_side=True) as stream, stream.makefile("rb", CHUNK) as file:
        while head := file.read(HEAD.size):
            offset, size = HEAD.unpack(head)
            if size == 0:
                break
            os.pwrite(fd, file.read(size), offset)
        os.fsync(fd)
        stream.sendall(b"k")


def digests(fd: int, size: int) -> list[str]:
    def one(at: int) -> str:
        return hashlib.sha256(os.pread(fd, CHUNK, at)).hexdigest()

    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(one, range(0, size, CHUNK)))


def main() -> None:
    verb, source = sys.argv[1], os.open(sys.argv[2], os.O_RDONLY)
    size = os.fstat(source).st_size
    if verb == "list":
        Path(sys.argv[3]).write_text(json.dumps(digests(source, size)))
        return
    target, listed = sys.argv[3], Path(sys.argv[4])
    with tempfile.TemporaryDirectory() as folder:
        pem, key = certificate(Path(folder))
        listener = socket.create_server(("127.0.0.1", 0))
        pid = os.fork()
        if pid == 0:
            serve(listener, target, pem, key)
            os._exit(0)
        context = ssl.create_default_context(cafile=pem)
        context.check_hostname = False
        plain = socket.create_connection(listener.getsockname())
        with context.wrap_socket(plain) as stream:
            old, new = (
                json.loads(listed.read_text()),
                digests(source, size),
            )  # all disks are hashed before a byte is sent
            lock = threading.Lock()
            for number, (a, b) in enumerate(zip(old, new, strict=True)):
                if a != b:
                    data = os.pread(source, CHUNK, number * CHUNK)
                    with lock:
                        stream.sendall(HEAD.pack(number * CHUNK, len(data)))
                        stream.sendall(data)
            stream.sendall(HEAD.pack(0, 0))
            stream.recv(1)
        os.waitpid(pid, 0)
        listed.write_text(json.dumps(new))


if __name__ == "__main__":
    main()

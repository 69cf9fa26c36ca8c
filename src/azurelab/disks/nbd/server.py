"""The NBD listener of one home: a unix socket under a stable path, so that guests find it again after a restart."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable
from pathlib import Path

from azurelab.disks.nbd.connection import Connection
from azurelab.disks.volume import Volume

__all__ = ["NbdServer", "socket_path"]

_log = logging.getLogger(__name__)

# sun_path holds 108 bytes with its final zero.
_LONGEST_PATH = 107


def socket_path(home: Path) -> Path:
    """`HOME/nbd.sock`, or, if that is too long for a socket, a path under the temporary folder."""
    path = home.resolve() / "nbd.sock"
    if len(os.fsencode(path)) <= _LONGEST_PATH:
        return path
    digest = hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"azurelab-{os.getuid()}-{digest}" / "nbd.sock"


class NbdServer:
    """Listens from `start` to `close`. `find` may refuse an export by answering None."""

    def __init__(
        self, path: Path, find: Callable[[str], Volume | None], names: Callable[[], Iterable[str]] = tuple
    ) -> None:
        self.path = path
        self._find = find
        self._names = names
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._open: dict[Connection, tuple[socket.socket, threading.Thread]] = {}
        self._accepting: threading.Thread | None = None

    def start(self) -> None:
        """A socket file that a killed process left behind is replaced."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(str(self.path))
        self.path.chmod(0o600)
        listener.listen(128)
        self._listener = listener
        self._accepting = threading.Thread(target=self._accept, args=(listener,), name="nbd-accept", daemon=True)
        self._accepting.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:  # closed by `close`
                return
            connection = Connection(sock, self._find, self._names)
            thread = threading.Thread(target=self._serve, args=(connection,), name="nbd", daemon=True)
            with self._lock:
                if self._listener is None:
                    sock.close()
                    return
                self._open[connection] = (sock, thread)
            thread.start()

    def _serve(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                self._open.pop(connection, None)

    def drop(self, export: str) -> None:
        """Cut every client of this export off, as pulling the cable would; acknowledged writes stay."""
        with self._lock:
            cut = [(sock, thread) for c, (sock, thread) in self._open.items() if c.export == export]
        _shut(cut)

    def close(self) -> None:
        """No client is served after this returns."""
        with self._lock:
            listener, self._listener = self._listener, None
            cut = list(self._open.values())
        if listener is not None:
            # A blocked accept() notices shutdown, not close.
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            self.path.unlink(missing_ok=True)
        _shut(cut)
        if self._accepting is not None:
            self._accepting.join()


def _shut(connections: Iterable[tuple[socket.socket, threading.Thread]]) -> None:
    connections = list(connections)
    for sock, _ in connections:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # left by itself meanwhile
    for _, thread in connections:
        if thread.ident is not None and thread is not threading.current_thread():
            thread.join()

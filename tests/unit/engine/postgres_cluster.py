"""A private PostgreSQL cluster for tests, run by an unprivileged user on loopback, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

GIVEN = "HOLDFAST_TEST_DATABASE_URL"


class NoPostgres(Exception):
    """Why there is none here."""


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[4]))
    if not found:
        raise NoPostgres("no /usr/lib/postgresql/*/bin/initdb: apt-get install postgresql")
    return found[-1].parent


def _as_user() -> tuple[list[str], int, int]:
    """Command prefix and ids: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return [], os.geteuid(), os.getegid()
    for name in ("postgres", "nobody"):
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            continue
        if not shutil.which("setpriv"):
            raise NoPostgres("running as root without setpriv")
        prefix = ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]
        return prefix, user.pw_uid, user.pw_gid
    raise NoPostgres("running as root, and no unprivileged user exists")


class Cluster:
    """One running server. `create()` makes an empty database and returns its URL."""

    def __init__(self, programs: Path, prefix: list[str], folder: Path) -> None:
        self._programs = programs
        self._prefix = prefix
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self._server: subprocess.Popen[bytes] | None = None
        self._count = 0

    def initialise(self) -> None:
        self._call("initdb", "-D", str(self._folder / "data"), "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8")

    def start(self) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self._folder,
            "fsync": "off",
            "max_connections": 200,
            "shared_buffers": "32MB",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with open(self._folder / "server.log", "ab") as log:
            self._server = subprocess.Popen(
                [*self._prefix, str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        deadline = time.monotonic() + 30
        while not self._ready():
            if self._server.poll() is not None or time.monotonic() > deadline:
                raise NoPostgres(f"it did not start: {(self._folder / 'server.log').read_text()[-500:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        if self._server is not None:
            self._server.send_signal(3)  # SIGQUIT: immediate shutdown, as after a power loss
            self._server.wait(timeout=30)
            self._server = None

    def url(self, name: str) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/{name}"

    def create(self) -> str:
        self._count += 1
        name = f"test_{os.getpid()}_{self._count}"
        self._call("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name)
        return self.url(name)

    def _ready(self) -> bool:
        command = [str(self._programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _call(self, program: str, *arguments: str) -> None:
        command = [*self._prefix, str(self._programs / program), *arguments]
        done = subprocess.run(command, cwd=self._folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise NoPostgres(f"{program} failed: {done.stderr[-500:]}")


class Given:
    """The server named by HOLDFAST_TEST_DATABASE_URL: databases are made next to the one in the URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._count = 0

    def create(self) -> str:
        from sqlalchemy import create_engine, text
        from sqlalchemy.engine import make_url

        self._count += 1
        name = f"holdfast_test_{os.getpid()}_{self._count}"
        base = make_url(self._url).set(drivername="postgresql+psycopg")
        engine = create_engine(base, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f"drop database if exists {name}"))
            connection.execute(text(f"create database {name}"))
        engine.dispose()
        return base.set(drivername="postgresql", database=name).render_as_string(hide_password=False)


@contextmanager
def postgres() -> Iterator[Cluster | Given]:
    """A server that makes databases. Raises NoPostgres with the reason."""
    if GIVEN in os.environ:
        yield Given(os.environ[GIVEN])
        return
    programs = _programs()
    prefix, uid, gid = _as_user()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-pg-"))
    os.chown(folder, uid, gid)
    cluster = Cluster(programs, prefix, folder)
    try:
        cluster.initialise()
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)

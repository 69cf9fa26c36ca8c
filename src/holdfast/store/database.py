"""One database: SQLite in WAL mode, or PostgreSQL. Reads and writes are separate, explicit transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.engine import URL, Connection, make_url
from sqlalchemy.orm import Session

from holdfast.store.turns import Turns

__all__ = ["Database"]

_WRITES = "holdfast_writes"


class Database:
    """Opens sessions. Share one between threads; one per process and URL.

    `with database.write() as session:` is one transaction that commits when the block ends and rolls back when it
    raises. Writers of one SQLite process queue on a lock of ours (SQLite's own waiting is neither fair nor prompt),
    those of other processes on BEGIN IMMEDIATE. A write inside a write of the same thread is a defect and raises
    RuntimeError. `with database.read() as session:` never commits.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dialect = engine.dialect.name
        self._writer = engine.execution_options(**{_WRITES: True})
        self._one_writer = Turns() if self.dialect == "sqlite" else None
        self._mine = threading.local()

    @classmethod
    def open(
        cls,
        url: str,
        *,
        durable: bool = True,
        busy_timeout_s: float = 30.0,
        idle_in_transaction_s: float = 30.0,
        pool_size: int = 20,
    ) -> Database:
        """Connect lazily to `sqlite:////path/to/file` or `postgresql://user@host/name`.

        durable=False skips fsync on SQLite: for tests only. idle_in_transaction_s bounds how long a frozen process can
        hold rows on PostgreSQL and must not exceed the lease of the engine.
        """
        target = make_url(url)
        if target.get_backend_name() == "sqlite":
            return cls(_open_sqlite(target, durable, busy_timeout_s, pool_size))
        if target.get_backend_name() in ("postgresql", "postgres"):
            return cls(_open_postgresql(target, busy_timeout_s, idle_in_transaction_s, pool_size))
        raise ValueError(f"only sqlite and postgresql are supported, not {target.get_backend_name()}")

    @property
    def url(self) -> str:
        """With its password, for the engine's own connections. Never print it."""
        return self.engine.url.render_as_string(hide_password=False)

    @contextmanager
    def read(self) -> Iterator[Session]:
        with Session(self.engine, expire_on_commit=False) as session:
            yield session  # closing rolls back, and unlike rollback() leaves what was read usable

    def require_no_write(self) -> None:
        """Raises RuntimeError where this thread has a write transaction open."""
        if getattr(self._mine, "writing", False):
            raise RuntimeError("a write transaction is open in this thread already: pass its session on")

    @contextmanager
    def write(self) -> Iterator[Session]:
        self.require_no_write()
        if self._one_writer is not None:
            self._one_writer.acquire()
        self._mine.writing = True
        try:
            with Session(self._writer, expire_on_commit=False) as session:
                yield session
                session.commit()
                after: list[Callable[[], None]] = session.info.pop("after_commit", [])
        finally:
            self._mine.writing = False
            if self._one_writer is not None:
                self._one_writer.release()
        for call in after:  # outside the transaction and the lock: it may write again
            call()

    @staticmethod
    def after_commit(session: Session, call: Callable[[], None]) -> None:
        """Run `call` once `session`, which came from `write()`, has committed; never if it rolls back."""
        session.info.setdefault("after_commit", []).append(call)

    def is_reachable(self) -> bool:
        """True when a trivial query is answered. For health pages."""
        try:
            with self.read() as session:
                session.execute(text("select 1"))
        except Exception:  # noqa: BLE001 - whatever the driver raises means: not reachable
            return False
        return True

    def seconds(self) -> str:
        """SQL for the database's own clock in seconds since 1970, which all workers share."""
        if self.dialect == "sqlite":
            return "((julianday('now') - 2440587.5) * 86400.0)"
        return "extract(epoch from clock_timestamp())"

    def close(self) -> None:
        self.engine.dispose()


def _open_sqlite(url: URL, durable: bool, busy_timeout_s: float, pool_size: int) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise ValueError("an in-memory SQLite database cannot be shared by threads; use a file")
    # A connection without a limit of its own is opened beyond pool_size: blocking here could deadlock story and beat.
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=pool_size,
        max_overflow=-1,
    )

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself; `begin` below does
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        # FULL: an intent must survive a power loss, or an effect could stand in the cloud without its record.
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'OFF'}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _open_postgresql(url: URL, busy_timeout_s: float, idle_in_transaction_s: float, pool_size: int) -> Engine:
    settings = {
        "idle_in_transaction_session_timeout": int(idle_in_transaction_s * 1000),
        "lock_timeout": int(busy_timeout_s * 1000),
        "timezone": "UTC",
    }
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={"options": " ".join(f"-c {name}={value}" for name, value in settings.items())},
        pool_size=pool_size,
        max_overflow=20,
        pool_pre_ping=True,  # a restarted server must not fail the first statement after it
    )

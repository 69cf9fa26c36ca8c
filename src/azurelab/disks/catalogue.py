"""The store's own records in SQLite: which volumes exist, of which layers, and which SAS grants are open.

Commits go to the write-ahead log without waiting for the disk: kill -9 loses nothing. `settle` makes them survive the
host as well; a guest's flush calls it when something changed since the last one.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Catalogue", "VolumeRow"]

_SCHEMA = """
create table if not exists volumes (
    id text primary key, size_bytes integer not null, frozen text not null, top text, created_at real not null
);
create table if not exists grants (
    signature text primary key, policy text not null, account text not null, container text not null,
    volume text not null, access text not null, body text not null
);
create index if not exists grants_volume on grants (volume);
create table if not exists footers (volume text primary key, footer blob not null);
"""


@dataclass(frozen=True)
class VolumeRow:
    """`frozen`: layer ids, lowest first. `top`: the writable layer, None for a snapshot."""

    id: str
    size_bytes: int
    frozen: tuple[str, ...]
    top: str | None
    created_at: float


class Catalogue:
    """One connection, one writer at a time."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._lock = threading.RLock()
        self._unsettled = False
        self._db.execute("pragma journal_mode = wal")
        self._db.execute("pragma synchronous = normal")
        self._db.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @contextmanager
    def change(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all or nothing, also through kill -9."""
        with self._lock:
            self._db.execute("begin immediate")
            try:
                yield self._db
            except BaseException:
                self._db.execute("rollback")
                raise
            self._db.execute("commit")
            self._unsettled = True

    def query(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._lock:
            return self._db.execute(sql, tuple(parameters)).fetchall()

    def settle(self) -> None:
        """Everything committed so far survives a crash of the host."""
        with self._lock:
            if self._unsettled:
                self._db.execute("pragma wal_checkpoint(full)").fetchall()
                self._unsettled = False

    def volumes(self) -> list[VolumeRow]:
        rows = self.query("select id, size_bytes, frozen, top, created_at from volumes")
        return [
            VolumeRow(str(r[0]), int(str(r[1])), tuple(json.loads(str(r[2]))), _text(r[3]), float(str(r[4])))
            for r in rows
        ]

    @staticmethod
    def put_volume(db: sqlite3.Connection, row: VolumeRow) -> None:
        db.execute(
            "insert or replace into volumes (id, size_bytes, frozen, top, created_at) values (?, ?, ?, ?, ?)",
            (row.id, row.size_bytes, json.dumps(row.frozen), row.top, row.created_at),
        )

    @staticmethod
    def delete_volume(db: sqlite3.Connection, volume_id: str) -> None:
        db.execute("delete from volumes where id = ?", (volume_id,))
        db.execute("delete from grants where volume = ?", (volume_id,))
        db.execute("delete from footers where volume = ?", (volume_id,))


def _text(value: object) -> str | None:
    return None if value is None else str(value)

"""Writes that share transactions: all are there, each once, and none outlives an error."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.orm import Session

from holdfast.core.clock import ManualClock
from holdfast.store import Base, Database
from holdfast.store.audit import audit, audit_entries
from holdfast.store.together import Together

NOW = ManualClock().now()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = Database.open(f"sqlite:///{tmp_path}/home.db", durable=False)
    Base.metadata.create_all(database.engine)
    return database


def line(number: int, session: Session) -> None:
    audit(session, NOW, "test", "line", subject=str(number))


def test_every_write_is_committed_once_when_it_returns(database: Database) -> None:
    together = Together(database)

    def write_and_look(number: int) -> bool:
        together.write(lambda session: line(number, session))
        with database.read() as session:
            return len(audit_entries(session, subject=str(number))) == 1

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(write_and_look, range(300)))


def test_writes_that_wait_while_somebody_writes_share_one_transaction(database: Database) -> None:
    together, commits, blocked = Together(database), 0, threading.Event()

    def count(_connection: object) -> None:
        nonlocal commits
        commits += 1

    with ThreadPoolExecutor(20) as pool:
        with database.write():
            futures = [pool.submit(together.write, lambda session, n=n: line(n, session)) for n in range(20)]  # type: ignore[misc]
            while len(together._queue) < 20:
                blocked.wait(0.005)
            event.listen(database.engine, "commit", count)
        for future in futures:
            future.result(timeout=10)

    assert commits <= 2  # the outer one, and one for all twenty
    with database.read() as session:
        assert len(audit_entries(session)) == 20


def test_error_of_one_is_told_to_all_of_its_transaction_and_the_next_goes_through(database: Database) -> None:
    together = Together(database)

    def broken(_session: Session) -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        together.write(broken)
    together.write(lambda session: line(1, session))

    with database.read() as session:
        assert [entry.subject for entry in audit_entries(session)] == ["1"]


def test_write_inside_a_write_is_refused_at_once(database: Database) -> None:
    with database.write(), pytest.raises(RuntimeError, match="open in this thread"):
        Together(database).write(lambda session: line(1, session))

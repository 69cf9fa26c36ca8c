from __future__ import annotations

import multiprocessing
import shutil
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.dialects import postgresql, sqlite

from holdfast.core.clock import ManualClock
from holdfast.core.ids import OperationId
from holdfast.core.tags import Owner
from holdfast.store import (
    Database,
    HomeLock,
    HomeLocked,
    Utc,
    audit,
    audit_entries,
    ensure_installation,
    grow_epoch,
    upgrade,
)
from holdfast.store.turns import Turns

NOW = ManualClock().now()


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "home.db"
    opened = Database.open(f"sqlite:///{path}", durable=False)
    upgrade(opened)
    opened.close()
    return path


@pytest.fixture
def database(tmp_path: Path, template: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{shutil.copy(template, tmp_path / 'home.db')}", durable=False)
    yield opened
    opened.close()


def count(database: Database) -> int:
    with database.read() as session:
        return int(session.scalar(text("select count(*) from audit")) or 0)


def test_write_commits_when_its_block_ends_and_rolls_back_when_it_raises(database: Database) -> None:
    def fail() -> None:
        with database.write() as session:
            audit(session, NOW, "ann", "test")
            raise ZeroDivisionError

    with database.write() as session:
        audit(session, NOW, "ann", "test")
    with pytest.raises(ZeroDivisionError):
        fail()

    assert count(database) == 1


def test_read_keeps_nothing(database: Database) -> None:
    with database.read() as session:
        audit(session, NOW, "ann", "test")

    assert count(database) == 0


def test_write_inside_a_write_of_the_same_thread_is_refused(database: Database) -> None:
    def nested() -> None:
        with database.write(), database.write():
            pass

    with pytest.raises(RuntimeError, match="pass its session on"):
        nested()


def test_after_commit_runs_after_the_commit_and_not_after_a_rollback(database: Database) -> None:
    seen: list[int] = []

    def fail() -> None:
        with database.write() as session:
            Database.after_commit(session, lambda: seen.append(-1))
            raise ZeroDivisionError

    with database.write() as session:
        audit(session, NOW, "ann", "test")
        Database.after_commit(session, lambda: seen.append(count(database)))
    with pytest.raises(ZeroDivisionError):
        fail()

    assert seen == [1]


def test_writers_of_many_threads_do_not_lose_updates(database: Database) -> None:
    with database.write() as session:
        ensure_installation(session, NOW)

    def grow() -> None:
        for _ in range(10):
            with database.write() as session:
                grow_epoch(session)

    threads = [threading.Thread(target=grow) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    with database.write() as session:
        assert ensure_installation(session, NOW).epoch == 81


def test_sqlite_is_in_wal_mode_with_foreign_keys_and_full_sync(tmp_path: Path) -> None:
    durable = Database.open(f"sqlite:///{tmp_path / 'durable.db'}")

    with durable.read() as session:
        found = [session.scalar(text(f"pragma {name}")) for name in ("journal_mode", "foreign_keys", "synchronous")]

    assert found == ["wal", 1, 2]
    durable.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://x/y"])
def test_database_that_cannot_serve_is_refused(url: str) -> None:
    with pytest.raises(ValueError):
        Database.open(url)


def test_installation_is_made_once_and_its_epoch_grows(database: Database) -> None:
    with database.write() as session:
        first = ensure_installation(session, NOW)
        again = ensure_installation(session, NOW + timedelta(days=1))
        identity = (again.id, again.epoch)
        grown = grow_epoch(session)

    assert identity == (first.id, 1)
    assert grown.epoch == 2
    assert Owner.parse(str(grown.owner)) == grown.owner
    assert grown.owner.tags(OperationId("op-1"), "nic-0")["holdfast-owner"] == f"{first.id}/2"


def test_audit_lines_are_found_by_subject_and_action_oldest_first(database: Database) -> None:
    with database.write() as session:
        audit(session, NOW, "ann", "import.start", subject="vm-1", operation="op-1", retention_h=96)
        audit(session, NOW, "bob", "import.undo", subject="vm-1")
        audit(session, NOW, "bob", "import.start", subject="vm-2")

    with database.read() as session:
        lines = audit_entries(session, subject="vm-1")
        later = audit_entries(session, after=lines[0].id, action="import.start")

    assert [(line.actor, line.action, line.details) for line in lines] == [
        ("ann", "import.start", {"retention_h": 96}),
        ("bob", "import.undo", None),
    ]
    assert [line.subject for line in later] == ["vm-2"]


moments = st.datetimes(
    datetime(1970, 1, 2), datetime(2200, 1, 1), timezones=st.sampled_from([UTC, timezone(timedelta(hours=5))])
)


@given(one=moments, other=moments)
def test_time_survives_the_column_and_text_order_is_time_order(one: datetime, other: datetime) -> None:
    column, dialect = Utc(), sqlite.dialect()

    stored = [column.process_bind_param(moment, dialect) for moment in (one, other)]

    assert column.process_result_value(stored[0], dialect) == one
    assert (stored[0] < stored[1]) == (one < other)
    assert column.process_bind_param(one, postgresql.dialect()) == one


def test_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        Utc().process_bind_param(datetime(2026, 1, 1), sqlite.dialect())


def _hold(path: str, ready: multiprocessing.synchronize.Event, leave: multiprocessing.synchronize.Event) -> None:
    with HomeLock(Path(path)):
        ready.set()
        leave.wait(30)


def test_second_process_on_a_home_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    context = multiprocessing.get_context("spawn")
    ready, leave = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(str(path), ready, leave))
    holder.start()
    assert ready.wait(30)

    with pytest.raises(HomeLocked) as refused:
        HomeLock(path).acquire()
    holder.kill()
    holder.join()

    assert refused.value.details["pid"] == str(holder.pid)
    with HomeLock(path):
        pass


def test_turns_are_granted_in_the_order_in_which_they_were_asked_for() -> None:
    turns, served = Turns(), []
    turns.acquire()
    threads = []
    for number in range(5):
        asked = len(turns._waiting)

        def wait(number: int = number) -> None:
            turns.acquire()
            served.append(number)
            turns.release()

        threads.append(threading.Thread(target=wait))
        threads[-1].start()
        while len(turns._waiting) == asked:
            time.sleep(0.001)

    turns.release()
    for thread in threads:
        thread.join()

    assert served == [0, 1, 2, 3, 4]
    turns.acquire()

"""What only PostgreSQL can show: its schema, frozen transactions, a scheduler whose schema is dropped under it."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from engine_rig import QUICK, eventually, make_test_tables
from engine_stories import REGISTRY, Spec, World, take
from postgres_cluster import Cluster, Given
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from holdfast.core.clock import ManualClock
from holdfast.engine import DbosEngine, InlineEngine, State, ticking
from holdfast.store import Base, Database, audit, audit_entries, upgrade


def load_all_tables() -> None:
    """As `scripts/new_migration.py` does it."""
    spec = importlib.util.spec_from_file_location(
        "new_migration", Path(__file__).parents[3] / "scripts" / "new_migration.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.load_all_tables()


@pytest.fixture
def url(cluster: Cluster | Given) -> str:
    return cluster.create()


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database.open(url, idle_in_transaction_s=0.5)
    upgrade(opened)
    make_test_tables(opened)
    yield opened
    opened.close()


def test_migrations_lead_to_what_the_tables_say_there_too(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    load_all_tables()

    with database.read() as session:
        context = MigrationContext.configure(
            session.connection(), opts={"include_name": lambda name, kind, parents: not str(name).startswith("test_")}
        )
        differences = compare_metadata(context, Base.metadata)

    assert differences == []


def test_servers_that_upgrade_at_once_do_it_once(url: str) -> None:
    databases = [Database.open(url) for _ in range(4)]
    threads = [threading.Thread(target=upgrade, args=(one,)) for one in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert upgrade(databases[0]) == upgrade(databases[1])
    for one in databases:
        one.close()


def test_times_and_json_come_back_as_they_were(database: Database) -> None:
    moment = datetime(2026, 2, 3, 4, 5, 6, 789012, tzinfo=UTC)
    with database.write() as session:
        audit(session, moment, "ann", "test", order=["z", "a"], text="100 % – ü")

    with database.read() as session:
        (line,) = audit_entries(session)

    assert line.at == moment
    assert line.details == {"order": ["z", "a"], "text": "100 % – ü"}


def test_transaction_of_a_frozen_process_is_ended_by_the_server(database: Database) -> None:
    frozen = threading.Event()

    def freeze() -> None:
        with database.write() as session:
            session.execute(text("lock table operations in exclusive mode"))
            frozen.set()
            with database.read() as other:  # as long as the server needs to notice
                other.execute(text("select pg_sleep(1.5)"))
            session.execute(text("select 1"))

    failed: list[BaseException] = []

    def tolerant() -> None:
        try:
            freeze()
        except DBAPIError as exc:
            failed.append(exc)

    thread = threading.Thread(target=tolerant)
    thread.start()
    assert frozen.wait(10)

    engine = InlineEngine(database, REGISTRY, services=World())
    operation = engine.submit(None, take, Spec("db-1"))  # waits for the lock, and gets it
    thread.join()

    assert engine.run(operation).state is State.DONE
    assert len(failed) == 1


def test_row_locked_by_a_frozen_peer_does_not_hold_up_the_tick(database: Database) -> None:
    engine = InlineEngine(database, REGISTRY, services=World())
    locked, free = (engine.submit(None, take, Spec(name)) for name in ("db-1", "db-2"))
    with database.engine.connect() as peer:
        peer.execute(text("select 1 from operations where id = :id for update"), {"id": locked})

        tickets = ticking.due_tickets(engine)

        peer.rollback()
    assert [ticket[0] for ticket in tickets] == [free]


def test_schema_of_the_scheduler_dropped_while_it_runs_is_made_anew(url: str, database: Database) -> None:
    world = World()
    engine = DbosEngine(database, REGISTRY, scheduler_url=url, clock=ManualClock(), services=world, settings=QUICK)
    engine.start()
    try:
        with database.write() as session:
            session.execute(text("drop schema dbos cascade"))
        operation = engine.submit(None, take, Spec("db-1"))

        assert eventually(lambda: engine.get(operation).is_closed, bound_s=30.0)
        assert engine.get(operation).state is State.DONE
        assert engine.is_ticking()
    finally:
        engine.stop()

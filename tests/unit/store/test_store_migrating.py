from __future__ import annotations

import importlib.util
import multiprocessing
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.store import (
    Base,
    Database,
    DatabaseNewer,
    DatabaseNotReady,
    database_revision,
    newest_revision,
    require_current,
    upgrade,
)

SCRIPT = Path(__file__).parents[3] / "scripts" / "new_migration.py"


def load_all_tables() -> None:
    spec = importlib.util.spec_from_file_location("new_migration", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.load_all_tables()


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database.open(f"sqlite:///{tmp_path / 'home.db'}", durable=False)


def test_migrations_lead_to_what_the_tables_say(database: Database) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    load_all_tables()
    upgrade(database)

    with database.read() as session:
        differences = compare_metadata(MigrationContext.configure(session.connection()), Base.metadata)

    assert differences == [], "run scripts/new_migration.py"


def test_empty_database_is_upgraded_once_and_then_left_alone(database: Database) -> None:
    assert database_revision(database) is None
    with pytest.raises(DatabaseNotReady):
        require_current(database)

    assert upgrade(database) == upgrade(database) == newest_revision()
    require_current(database)


def test_newer_database_is_refused_and_left_as_it_is(database: Database) -> None:
    upgrade(database)
    with database.write() as session:
        session.execute(text("update alembic_version set version_num = '9999'"))

    with pytest.raises(DatabaseNewer):
        upgrade(database)
    with pytest.raises(DatabaseNewer):
        require_current(database)

    assert database_revision(database) == "9999"


def _upgrade(url: str) -> str:
    return upgrade(Database.open(url, durable=False))


def test_processes_that_upgrade_at_once_do_it_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'home.db'}"

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        reached = pool.map(_upgrade, [url, url])

    assert reached == [newest_revision()] * 2

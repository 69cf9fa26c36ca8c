from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from holdfast.store import Database, upgrade


def make_test_tables(database: Database) -> None:
    with database.write() as session:
        session.execute(text("create table if not exists test_nodes (operation text primary key, machine text)"))
        session.execute(text("create table if not exists test_states (operation text, old text, new text)"))


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path / 'holdfast.db'}", durable=False)
    upgrade(opened)
    make_test_tables(opened)
    yield opened
    opened.close()

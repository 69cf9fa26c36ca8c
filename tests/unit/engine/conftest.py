from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from engine_rig import Rig, dbos_rig, inline_rig, make_test_tables
from postgres_cluster import Cluster, Given, NoPostgres, postgres

from holdfast.store import Database, upgrade


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upgraded database to copy: migrating takes longer than most tests."""
    path = tmp_path_factory.mktemp("template") / "holdfast.db"
    opened = Database.open(f"sqlite:///{path}", durable=False)
    upgrade(opened)
    make_test_tables(opened)
    opened.close()
    return path


@pytest.fixture
def database(tmp_path: Path, template: Path) -> Iterator[Database]:
    path = shutil.copy(template, tmp_path / "holdfast.db")
    opened = Database.open(f"sqlite:///{path}", durable=False)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster | Given]:
    try:
        with postgres() as server:
            yield server
    except NoPostgres as why:
        pytest.skip(f"no PostgreSQL here: {why}")


@pytest.fixture(scope="module", params=["inline", "dbos-sqlite", "dbos-postgresql"])
def shared_rig(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One engine for a module: starting DBOS for each test would take most of the suite's time."""
    folder = tmp_path_factory.mktemp("home")
    if request.param == "inline":
        with inline_rig(f"sqlite:///{folder / 'holdfast.db'}") as rig:
            yield rig
        return
    if request.param == "dbos-sqlite":
        urls = (f"sqlite:///{folder / 'holdfast.db'}", f"sqlite:///{folder / 'dbos.db'}")
    else:
        server = request.getfixturevalue("cluster")
        urls = (url := server.create(), url)
    with dbos_rig(*urls) as rig:
        yield rig


@pytest.fixture
def rig(shared_rig: Rig) -> Iterator[Rig]:
    """A fresh world on the shared engine. Subjects and keys must be made with `rig.name()`."""
    shared_rig.renew()
    yield shared_rig
    shared_rig.require_idle()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Timers by default on the inline engine, which has SQLite under it, and on DBOS with PostgreSQL."""
    for item in items:
        if item.nodeid.endswith("[dbos-sqlite]") and "test_engine_timers" in item.nodeid:
            item.add_marker(pytest.mark.slow)

"""Bring a database to this release's form, once, under a lock; refuse one that a newer release wrote."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from holdfast.store.database import Database
from holdfast.store.errors import DatabaseNewer, DatabaseNotReady

if TYPE_CHECKING:
    from alembic.config import Config

__all__ = ["MIGRATIONS", "database_revision", "newest_revision", "require_current", "upgrade"]

MIGRATIONS = Path(__file__).parent / "migrations"
_LOCK = 0x686F6C6466617374  # "holdfast": the advisory lock on PostgreSQL, where several servers may start at once


def upgrade(database: Database) -> str:
    """Apply what is missing, in one transaction, and return the revision reached. Safe to call from many processes.

    Raises DatabaseNewer, having changed nothing.
    """
    from alembic import command

    if database_revision(database) == newest_revision():
        return newest_revision()  # the usual case: a command beside a running server must not wait for its writers
    with database.write() as session:
        connection = session.connection()
        if database.dialect == "postgresql":
            session.execute(text("set local lock_timeout = 0"))
            session.execute(text("select pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        found = _stamp(connection)
        _refuse_newer(found)
        if found != newest_revision():
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    return newest_revision()


def require_current(database: Database) -> None:
    """For workers, which run no DDL at start: raises DatabaseNotReady or DatabaseNewer."""
    found = database_revision(database)
    _refuse_newer(found)
    if found != newest_revision():
        raise DatabaseNotReady(revision=found or "none", needed=newest_revision())


def database_revision(database: Database) -> str | None:
    """What the database is at; None for an empty one."""
    with database.read() as session:
        return _stamp(session.connection())


def newest_revision() -> str:
    """What this release brings it to. Raises if the chain has two ends, which is a defect of ours."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory.from_config(_config()).get_current_head()
    if head is None:
        raise RuntimeError("the migration chain is empty")
    return head


def _stamp(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("select version_num from alembic_version")).scalar()
    return None if found is None else str(found)


def _refuse_newer(revision: str | None) -> None:
    from alembic.script import ScriptDirectory

    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    if revision is not None and revision not in known:
        raise DatabaseNewer(revision=revision)


def _config() -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return config

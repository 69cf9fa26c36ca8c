"""The exact DBOS calls, and nothing else: enqueue a generation, ask whether it is still queued, sweep what is left.

Pinned to dbos 3.4 (`docs/engine.md` says what an upgrade must prove). Never set: conductor_key, auto_upgrade, sharding.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from collections.abc import Callable, Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, ProgrammingError

from holdfast.core.ids import OperationId
from holdfast.engine.settings import Settings
from holdfast.engine.ticking import Ticket

__all__ = ["Scheduler"]

log = logging.getLogger("holdfast.engine")

_WORKFLOW = "operation"
_NORMAL, _URGENT = "operations", "urgent"
_VERSION = "1"  # constant: a version made from source code would strand every queued row at each release
_KEEP_FINISHED = timedelta(hours=1)  # DBOS rows of finished generations; nothing reads them
_SWEEP = 500

_current: Scheduler | None = None
"""DBOS is one per process, and so is the function that it runs."""
_registered = False


class Scheduler:
    """DBOS as a queue with workers. `body(operation, generation)` runs in its threads and must not raise."""

    def __init__(self, url: str, executor: str, settings: Settings, body: Callable[[str, int], str]) -> None:
        self._url = url
        self._executor = executor
        self._settings = settings
        self._body = body
        self._lock = threading.Lock()
        self._launched = False

    def launch(self) -> None:
        """Raises RuntimeError when another scheduler runs in this process, and whatever the driver says without a
        server."""
        global _current
        with self._lock:
            if _current is not None:
                raise RuntimeError("an engine runs in this process already")
            _current = self
            try:
                self._launch()
            except BaseException:
                _current = None
                raise

    def _launch(self) -> None:
        from dbos import DBOS, DBOSConfig, DBOSPortableJSONSerializer

        logger = logging.getLogger("dbos")
        logger.setLevel(logging.CRITICAL)  # its own handler goes to stderr; failures show up in our tick
        _register()
        config = DBOSConfig(
            name="holdfast",
            system_database_url=_prepared(self._url),
            executor_id=self._executor,
            application_version=_VERSION,
            log_level="CRITICAL",
            serializer=DBOSPortableJSONSerializer(),
        )
        if make_url(self._url).get_backend_name() != "sqlite":
            config["sys_db_pool_size"] = 8
            config["use_listen_notify"] = False
            config["sys_db_idle_transaction_timeout_sec"] = self._settings.lease_s
        DBOS(config=config)
        DBOS.launch()
        for name, limit in (
            (_NORMAL, self._settings.concurrency),
            (_URGENT, self._settings.urgent_concurrency),
        ):
            DBOS.register_queue(name, worker_concurrency=limit, polling_interval_sec=self._settings.queue_poll_s)
        self._launched = True

    def destroy(self) -> None:
        """Stop its threads. Workflows that still run are left to end with the process."""
        global _current
        with self._lock:
            if self._launched:
                from dbos import DBOS

                self._launched = False
                DBOS.destroy(workflow_completion_timeout_sec=0)
            if _current is self:
                _current = None

    def relaunch_if_lost(self, error: Exception) -> None:
        """When its tables are gone (its file or schema was deleted under our feet), make new ones and go on."""
        if not isinstance(error, ProgrammingError | OperationalError):
            return
        text = str(error)
        if not any(sign in text for sign in ("UndefinedTable", "no such table", "does not exist", "readonly database")):
            return
        with self._lock:
            if not self._launched:
                return
            from dbos import DBOS

            log.warning("the scheduler's database is lost; it is made anew")
            DBOS.destroy(workflow_completion_timeout_sec=0)
            self._launch()

    def enqueue(self, tickets: Sequence[Ticket]) -> None:
        """Repeating a generation is a no-op."""
        if not tickets:
            return
        from dbos import DBOS

        for operation, generation, urgent in tickets:
            DBOS.enqueue_workflow_with_options(
                {
                    "workflow_name": _WORKFLOW,
                    "queue_name": _URGENT if urgent else _NORMAL,
                    "workflow_id": f"{operation}:{generation}",
                },
                operation,
                generation,
            )

    def still_queued(self, tickets: Sequence[tuple[OperationId, int]]) -> set[tuple[OperationId, int]]:
        """Those that wait for a free thread. PENDING and finished ones are not ours to count on."""
        from dbos import DBOS

        names = {f"{operation}:{generation}": (operation, generation) for operation, generation in tickets}
        rows = DBOS.list_workflows(
            workflow_ids=list(names), status=["ENQUEUED", "DELAYED"], load_input=False, load_output=False
        )
        return {names[row.workflow_id] for row in rows}

    def drop_dead(self, live: Collection[str]) -> None:
        """Cancel PENDING rows of executors that beat no more: they pile up with each kill and occupy concurrency."""
        from dbos import DBOS

        rows = DBOS.list_workflows(
            status="PENDING", queue_name=[_NORMAL, _URGENT], load_input=False, load_output=False, limit=_SWEEP
        )
        dead = [row.workflow_id for row in rows if row.executor_id not in live and row.executor_id != self._executor]
        if dead:
            DBOS.cancel_workflows(dead)

    def purge(self) -> None:
        """Delete finished rows: 12 to 20 KB each, and the open-source package never does."""
        from dbos import DBOS

        before = (datetime.now(UTC) - _KEEP_FINISHED).isoformat()
        while True:
            rows = DBOS.list_workflows(
                completed_before=before,
                status=["SUCCESS", "ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"],
                load_input=False,
                load_output=False,
                limit=_SWEEP,
            )
            if rows:
                DBOS.delete_workflows([row.workflow_id for row in rows])
            if len(rows) < _SWEEP:
                return


def _register() -> None:
    global _registered
    if _registered:
        return
    from dbos import DBOS

    @DBOS.workflow(name=_WORKFLOW)
    def run_generation(operation: str, generation: int) -> str:
        scheduler = _current
        return "no engine" if scheduler is None else scheduler._body(operation, generation)

    _registered = True


def _prepared(url: str) -> str:
    """WAL for its SQLite file, which it does not ask for itself; a driver for PostgreSQL that it takes."""
    target: Any = make_url(url)
    if target.get_backend_name() == "sqlite":
        connection = sqlite3.connect(target.database)
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        finally:
            connection.close()
        return str(url)
    return str(target.set(drivername="postgresql").render_as_string(hide_password=False))

"""The only place where clock, store, engine, clouds and features meet; alone reads environment and files.

`Surroundings` is what the environment says and costs nothing to make, for the CLI. `open_house` opens the database and
the key; `House.start` runs the engine. Heavy imports happen inside, so that `holdfast --version` answers at once.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holdfast.core.errors import HoldfastError, InvalidInput, Refused, Retry

if TYPE_CHECKING:
    from holdfast.clouds.protocols import Cloud
    from holdfast.clouds.registry import Clouds
    from holdfast.core.clock import Clock
    from holdfast.core.tags import Owner
    from holdfast.engine import Engine, Registry, Settings
    from holdfast.imports.service import ImportService
    from holdfast.machines.services import Services
    from holdfast.store import Database, HomeLock

__all__ = [
    "DatabaseAway",
    "House",
    "ServerFile",
    "Surroundings",
    "TestClockRefused",
    "everything",
    "open_house",
    "registry",
]

SERVER_FILE = "server.json"
LOCAL_TOKEN_FILE = "local-token"
LOG_FILE = "server.log"
CLOUD_CREDENTIALS = ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET")


class TestClockRefused(Refused):
    """A clock that a test moves must never decide about machines that somebody needs."""

    __test__ = False  # pytest: this is no test
    code, retry = "clock.refused", Retry.AFTER_CHANGE
    text = "The cloud {cloud} is not on this machine: a test clock is refused for it."
    remedy = "Start the server without a test clock, or connect a cloud whose endpoint is loopback."


class DatabaseAway(HoldfastError):
    """Our own database did not answer."""

    code, retry, http_status = "database.unavailable", Retry.LATER, 503
    text = "Holdfast's database does not answer."
    remedy = "Wait a moment and try again; look at /health, the server's log and the database's own if it lasts."


@dataclass(frozen=True)
class ServerFile:
    """What a running server of a home tells the CLIs of that home."""

    url: str
    pid: int
    started_at: str
    version: str

    @classmethod
    def read(cls, home: Path) -> ServerFile | None:
        """None where no server says that it runs. Whether it does, only an answer of it proves."""
        try:
            told = json.loads((home / SERVER_FILE).read_text())
            return cls(str(told["url"]), int(told["pid"]), str(told["started_at"]), str(told["version"]))
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None

    def write(self, home: Path) -> None:
        _write_private(home / SERVER_FILE, json.dumps(vars(self)) + "\n")

    def remove(self, home: Path) -> None:
        """Only while it is ours: a server that came after us has its own."""
        if (found := self.read(home)) is not None and found.pid == self.pid:
            (home / SERVER_FILE).unlink(missing_ok=True)


@dataclass(frozen=True)
class Surroundings:
    """What the environment says. Secrets among it print as nothing."""

    home: Path
    database_url: str | None = field(default=None, repr=False)
    key: str | None = field(default=None, repr=False)
    url: str | None = None
    token: str | None = field(default=None, repr=False)
    azure: Mapping[str, str] = field(default_factory=dict, repr=False)
    test_clock: Path | None = None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Surroundings:
        env = os.environ if environment is None else environment
        home = env.get("HOLDFAST_HOME")
        return cls(
            home=Path(home).expanduser().absolute() if home else Path.home() / ".local" / "share" / "holdfast",
            database_url=env.get("HOLDFAST_DATABASE_URL") or None,
            key=env.get("HOLDFAST_KEY") or None,
            url=(env.get("HOLDFAST_URL") or "").rstrip("/") or None,
            token=env.get("HOLDFAST_TOKEN") or None,
            azure={name: env[name] for name in CLOUD_CREDENTIALS if env.get(name)},
        )

    def with_test_clock(self, path: Path | None) -> Surroundings:
        return self if path is None else replace(self, test_clock=path.absolute())

    def ensure_home(self) -> Path:
        """The folder of all our state, for its owner only."""
        self.home.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self.home

    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'holdfast.db'}"

    def local_token(self) -> str:
        """The token by which CLIs on this home are known: whoever can read the file owns the home."""
        path = self.ensure_home() / LOCAL_TOKEN_FILE
        if not path.exists():
            fresh = path.with_name(f".{path.name}.{os.getpid()}")
            _write_private(fresh, f"hfl_{secrets.token_urlsafe(32)}\n")
            try:
                os.link(fresh, path)  # unlike rename it fails if somebody was faster: the first one wins
            except FileExistsError:
                pass
            finally:
                fresh.unlink()
        return path.read_text().strip()


@dataclass
class House:
    """An opened home. `engine` is not started: a CLI that only writes a token needs none."""

    home: Path
    database: Database
    clock: Clock
    owner: Owner
    clouds: Clouds
    services: Services
    engine: Engine
    imports: ImportService
    local_token: str
    test_clock: bool = False

    def cloud(self, name: str | None) -> tuple[str, Cloud]:
        """The named cloud's client; without a name the only one's."""
        picked = self.clouds.pick(name)
        return picked.name, self.services.open_cloud(picked.name)

    def require_clouds_fit_clock(self) -> None:
        """Raises TestClockRefused. Asked at the start, and whenever a cloud is connected."""
        if self.test_clock:
            for cloud in self.clouds.list():
                if not cloud.is_loopback:
                    raise TestClockRefused(cloud=cloud.name)

    def close(self) -> None:
        self.database.close()


def open_house(around: Surroundings, *, settings: Settings | None = None) -> House:
    """Open (and where needed make, or upgrade) the home. Starts nothing."""
    from holdfast.clouds.registry import Clouds
    from holdfast.core.clock import FileClock, SystemClock
    from holdfast.engine import DbosEngine
    from holdfast.machines.services import Services
    from holdfast.store import Vault, ensure_installation, ensure_key_file

    home = around.ensure_home()
    everything()
    try:
        vault = Vault.from_text(around.key or ensure_key_file(home / "key"))
    except (ValueError, PermissionError) as exc:
        raise InvalidInput(field="HOLDFAST_KEY" if around.key else "key", problem=str(exc)) from exc
    database = open_database(around)
    clock: Clock = SystemClock() if around.test_clock is None else FileClock(around.test_clock)
    with database.write() as session:
        owner = ensure_installation(session, clock.now()).owner
    clouds = Clouds(database, vault, clock)
    services = Services(database, clock, owner, clouds.open, checks_clock=around.test_clock is None)
    alone = database.dialect == "sqlite"  # several servers may share one PostgreSQL, each on a home of its own
    engine = DbosEngine(
        database,
        registry(),
        scheduler_url=f"sqlite:///{home / 'scheduler.db'}" if alone else database.url,
        clock=clock,
        services=services,
        settings=settings,
        alone=alone,
    )
    return house_of(home, services, clouds, engine, around.local_token(), test_clock=around.test_clock is not None)


def open_database(around: Surroundings) -> Database:
    """The home's database at this release's form. Raises InvalidInput and DatabaseAway."""
    from sqlalchemy.exc import ArgumentError, OperationalError

    from holdfast.store import Database, upgrade

    try:
        database = Database.open(around.database())
    except (ValueError, ArgumentError) as exc:
        raise InvalidInput(field="HOLDFAST_DATABASE_URL", problem="is no URL of SQLite or PostgreSQL") from exc
    try:
        upgrade(database)
    except OperationalError as exc:
        database.close()
        raise DatabaseAway from exc
    return database


def house_of(
    home: Path, services: Services, clouds: Clouds, engine: Engine, local_token: str, *, test_clock: bool = False
) -> House:
    """Features over their foundations; tests bring their own engine and clouds."""
    from holdfast.imports.service import ImportService

    return House(
        home=home,
        database=services.database,
        clock=services.clock,
        owner=services.owner,
        clouds=clouds,
        services=services,
        engine=engine,
        imports=ImportService(engine, services),
        local_token=local_token,
        test_clock=test_clock,
    )


def registry() -> Registry:
    """Everything that this release can run."""
    from holdfast.engine import Registry
    from holdfast.imports.operations import KINDS, RECONCILERS
    from holdfast.imports.sweeping import WATCHES, nodes_being_changed
    from holdfast.market.observing.purging import PURGE
    from holdfast.nodes.watching import node_watch

    return Registry(
        kinds=KINDS,
        reconcilers=[*RECONCILERS, node_watch(nodes_being_changed), PURGE],
        watches=WATCHES,
    )


def everything() -> None:
    """Import every module that declares tables, so that the metadata is whole."""
    import holdfast.clouds.registry
    import holdfast.engine.tables
    import holdfast.imports.records
    import holdfast.machines.ledger
    import holdfast.market.observing.tables
    import holdfast.nodes.records
    import holdfast.store.audit
    import holdfast.store.installation
    import holdfast.store.tokens  # noqa: F401


def home_lock(home: Path) -> HomeLock:
    from holdfast.store import HomeLock

    return HomeLock(home / "lock")


def read_json_file(path: Path, field: str) -> Any:
    """A file that a user names. Raises InvalidInput."""
    try:
        return json.loads(path.read_text())
    except OSError as exc:
        raise InvalidInput(field=field, problem=f"cannot read {path}: {exc.strerror}") from exc
    except ValueError as exc:
        raise InvalidInput(field=field, problem=f"{path} is not JSON: {exc}") from exc


def _write_private(path: Path, text: str) -> None:
    """Whole or not at all, for its owner only."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.rename(path)

"""Connected clouds: their names, how they are reached, and the open client for each.

A cloud's secret is sealed before it is stored and opened only to make the client: no function here returns it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Mapped, Session, mapped_column

from holdfast.clouds.azure.arm import CloudWrite
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.errors import NoCloud
from holdfast.clouds.protocols import Cloud
from holdfast.core.clock import Clock
from holdfast.core.errors import Conflict, InvalidInput, NotFound
from holdfast.store.audit import audit
from holdfast.store.base import Base
from holdfast.store.database import Database
from holdfast.store.secrets import Sealed, Secret, Vault
from holdfast.store.together import Together
from holdfast.store.types import Json, SealedBytes, Utc

__all__ = ["CloudRow", "Clouds", "Connected", "audit_into"]


class CloudRow(Base):
    """One connected cloud. options: everything but the secret."""

    __tablename__ = "clouds"

    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    options: Mapped[Any] = mapped_column(Json)
    secret: Mapped[Sealed | None] = mapped_column(SealedBytes, nullable=True)
    added_at: Mapped[datetime] = mapped_column(Utc)


@dataclass(frozen=True)
class Connected:
    """A connected cloud, for showing. has_secret: whether one is stored; what it is cannot be read."""

    name: str
    kind: str
    options: Mapping[str, Any]
    has_secret: bool
    added_at: datetime

    @property
    def is_loopback(self) -> bool:
        """Whether it is reached on this machine only: clocks that tests move are refused for any other."""
        return _KINDS[self.kind].is_loopback(self.options)


class _Azure:
    """What the registry has to know of a kind of cloud."""

    @staticmethod
    def checked(options: Mapping[str, Any], secret: str | None) -> dict[str, Any]:
        """The options as they are stored. Raises InvalidInput."""
        unknown = set(options) - (set(AzureConnection.__dataclass_fields__) - {"client_secret"})
        if unknown:
            raise InvalidInput(field=min(unknown), problem="Azure clouds have no such option")
        if "subscription" not in options:
            raise InvalidInput(field="subscription", problem="a subscription id is needed")
        connection = AzureConnection.from_options(options, secret)
        if not (connection.authority or connection.endpoint).startswith("https:"):
            raise InvalidInput(field="authority", problem="an http endpoint needs an https authority beside it")
        if connection.ca_file and not Path(connection.ca_file).is_file():
            raise InvalidInput(field="ca_file", problem=f"there is no file {connection.ca_file}")
        if connection.ca_file and b"BEGIN CERTIFICATE" not in Path(connection.ca_file).read_bytes():
            raise InvalidInput(field="ca_file", problem=f"{connection.ca_file} holds no PEM certificate")
        return connection.options()

    @staticmethod
    def account(options: Mapping[str, Any]) -> tuple[str, str]:
        """What makes two connections the same cloud."""
        return str(options["subscription"]).lower(), str(options.get("endpoint", "")).lower().rstrip("/")

    @staticmethod
    def is_loopback(options: Mapping[str, Any]) -> bool:
        return AzureConnection.from_options(options, None).is_loopback

    @staticmethod
    def open(
        name: str, options: Mapping[str, Any], secret: str | None, clock: Clock, write: Callable[[CloudWrite], None]
    ) -> Cloud:
        from holdfast.clouds.azure.cloud import AzureCloud

        return AzureCloud(name, AzureConnection.from_options(options, secret), clock, write)


_KINDS = {"azure": _Azure}


class Clouds:
    """The registry. Share one between threads; open clients are kept, because budgets and connections are theirs."""

    def __init__(
        self, database: Database, vault: Vault, clock: Clock, write: Callable[[CloudWrite], None] | None = None
    ) -> None:
        """write: receives every change that is sent to a cloud; None = the audit log."""
        self._database = database
        self._vault = vault
        self._clock = clock
        self._write = write or audit_into(database)
        self._open: dict[str, tuple[datetime, Cloud]] = {}
        self._lock = threading.Lock()

    def add(self, name: str, kind: str, options: Mapping[str, Any], secret: Secret | None = None) -> Connected:
        """Connect a cloud; nothing is asked of it. Adding the same account under the same name again replaces its
        options and secret. Raises InvalidInput, and Conflict when the name stands for another account."""
        if kind not in _KINDS:
            raise InvalidInput(field="kind", problem=f"'{kind}' is not one of {', '.join(_KINDS)}")
        if not name or not all(letter.isalnum() or letter in "-_." for letter in name):
            raise InvalidInput(field="name", problem="a name has letters, digits, '-', '_' and '.' only")
        rules = _KINDS[kind]
        checked = rules.checked(options, secret.reveal() if secret is not None else None)
        sealed = self._vault.seal(secret, _about(name)) if secret is not None else None
        with self._database.write() as session:
            row = session.get(CloudRow, name)
            if row is not None and (row.kind != kind or rules.account(row.options) != rules.account(checked)):
                raise Conflict(
                    problem=f"The name {name} stands for another {row.kind} account already.",
                    way_out=f"Choose another name, or remove it first: holdfast cloud remove {name}",
                )
            if row is None:
                row = CloudRow(name=name, kind=kind)
                session.add(row)
            row.options, row.secret, row.added_at = checked, sealed, self._clock.now()
            session.flush()
            shown = _shown(row)
        with self._lock:
            self._open.pop(name, None)
        return shown

    def list(self) -> tuple[Connected, ...]:
        """By name."""
        with self._database.read() as session:
            return tuple(_shown(row) for row in session.scalars(select(CloudRow).order_by(CloudRow.name)))

    def get(self, name: str) -> Connected:
        """Raises NotFound."""
        with self._database.read() as session:
            return _shown(_row(session, name))

    def pick(self, name: str | None) -> Connected:
        """The named cloud; without a name the only one. Raises NotFound, NoCloud, and InvalidInput for one of many."""
        if name is not None:
            return self.get(name)
        known = self.list()
        if not known:
            raise NoCloud
        if len(known) > 1:
            names = ", ".join(one.name for one in known)
            raise InvalidInput(field="cloud", problem=f"there are several clouds, name one of {names}")
        return known[0]

    def remove(self, name: str) -> None:
        """Forget a cloud and its secret; nothing in the cloud changes. Raises NotFound. Whoever calls sees to it that
        no operation or retained resource still needs it."""
        with self._database.write() as session:
            session.delete(_row(session, name))
        with self._lock:
            self._open.pop(name, None)

    def open(self, name: str) -> Cloud:
        """The client of a cloud, the same one each time until its connection is replaced. Asks nothing of the cloud.

        Raises NotFound, and SecretUnreadable when the key of this home is another one.
        """
        with self._database.read() as session:
            row = _row(session, name)
        with self._lock:
            kept = self._open.get(name)
            if kept is not None and kept[0] == row.added_at:
                return kept[1]
            secret = self._vault.open(row.secret, _about(name)).reveal() if row.secret is not None else None
            # A client that was replaced is left to those that still use it; its connections end with it.
            cloud = _KINDS[row.kind].open(name, row.options, secret, self._clock, self._write)
            self._open[name] = (row.added_at, cloud)
            return cloud


def audit_into(database: Database) -> Callable[[CloudWrite], None]:
    """One audit line for each change sent to a cloud, apart from the step's own record: the sending did happen."""
    together = Together(database)

    def write(sent: CloudWrite) -> None:
        together.write(partial(_audit, sent=sent))

    return write


def _audit(session: Session, sent: CloudWrite) -> None:
    audit(
        session,
        sent.at,
        "holdfast",
        "cloud.write",
        subject=sent.path,
        operation=sent.operation,
        cloud=sent.cloud,
        method=sent.method,
        step=sent.key,
        status=sent.status,
        error=sent.error,
        client_request_id=sent.client_request_id,
        service_request_id=sent.service_request_id,
    )


def _about(name: str) -> str:
    return f"clouds/{name}/secret"


def _row(session: Session, name: str) -> CloudRow:
    row = session.get(CloudRow, name)
    if row is None:
        raise NotFound(kind="cloud", name=name, listed_by="holdfast cloud list")
    return row


def _shown(row: CloudRow) -> Connected:
    return Connected(row.name, row.kind, dict(row.options), row.secret is not None, row.added_at)

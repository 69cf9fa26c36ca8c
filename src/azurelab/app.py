"""The lab: the one place where clock, store, types, listeners and guests meet.

`Lab.start(home)` runs one in this process (tests, demo); `azurelab up` runs one in a process of its own.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import secrets
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from azurelab.arm.asgi import Asgi, Mount
from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Principal
from azurelab.arm.ids import parse_id
from azurelab.arm.operations import Operations
from azurelab.arm.protocol import Arm
from azurelab.arm.server import Server, free_socket
from azurelab.arm.store import Event, Store
from azurelab.arm.throttling import Throttle
from azurelab.guests.hypervisor import Hypervisor
from azurelab.identity import certificates
from azurelab.identity.applications import Applications
from azurelab.identity.tokens import Tokens
from azurelab.network import loopback
from azurelab.network.attachment import NicListener
from azurelab.resources.groups import make_group
from azurelab.resources.locks import Locks
from azurelab.rooms import open_rooms
from azurelab.world.clock import LabClock, TimeProfile, Timers
from azurelab.world.faults import Faults
from azurelab.world.market import Market
from azurelab.world.regions import Regions
from azurelab.world.roles import Roles

__all__ = ["Lab"]

RECORDED_SUBSCRIPTION = "00000000-0000-0000-0000-000000000000"
"""Also served, though never listed: recordings of real traffic carry this id."""


class Lab:
    """One local cloud. Made by `start`; ended by `close` (state stays in `home`).

    What effects and rooms use: store, clock, timers, time, regions, market, roles, locks, operations, arm, tokens,
    hypervisor, home, services (a room's own objects by name: `lab.services["disks"]`).
    """

    def __init__(self, home: Path, guests: str = "none") -> None:
        self.home = home
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.identity = _identity_of(home)
        self.subscription: str = self.identity["subscription"]
        self.tenant: str = self.identity["tenant"]
        self.client_id: str = self.identity["client_id"]
        self.client_secret: str = self.identity["client_secret"]
        self.clock = LabClock()
        self.store = Store(home / "state.sqlite3", self.clock.now)
        self.clock.restore(self.store)
        self.timers = Timers(self.clock)
        self.time = TimeProfile(self.store, self.clock)
        self.regions = Regions()
        self.roles = Roles(self.store)
        self.locks = Locks(self.store)
        self.market = Market(self.store, self.regions)
        self.faults = Faults(self.store)
        self.throttle = Throttle(self.store, self.clock)
        owner = Principal(self.client_id, self.identity["object_id"])
        self.tokens = Tokens(tenant=self.tenant, owner=owner, secret=bytes.fromhex(self.identity["signing_key"]))
        self.applications = Applications(self.store, owner, self.client_secret)
        self.certificates = certificates.ensure(home / "tls")
        self.loopback = self._reserve_loopback()
        self.guests_kind = guests
        self.hypervisor: Hypervisor | None = None
        self.services: dict[str, Any] = {}
        self.nic_listeners: list[NicListener] = []
        """Told when a card that a machine holds has changed (a public IP came or went)."""
        self.tag_listeners: list[Callable[[str], None]] = []
        """Told the id of a resource whose tags were changed through Microsoft.Resources/tags."""
        self.bugs: list[str] = []
        """Tracebacks of azurelab's own failures; tests assert that there are none."""
        self.operations = Operations(self)
        self._server: Server | None = None
        self.https_url = self.http_url = ""
        rooms = open_rooms(self)
        self.arm = Arm(self, rooms.types, rooms.routes, rooms.scoped)
        self.control = rooms.control
        self._mounts: list[Mount] = rooms.mounts
        self._rooms = rooms

    # -- life ---------------------------------------------------------------------------------------------------

    @classmethod
    def start(cls, home: Path | str, guests: str = "none", *, https_port: int = 0, http_port: int = 0) -> Self:
        """A running lab on this home; ports 0 = free ones. Guests: `none` or `qemu`."""
        lab = cls(Path(home), guests)
        try:
            lab.serve(https_port, http_port)
        except BaseException:
            lab.close()
            raise
        return lab

    def serve(self, https_port: int = 0, http_port: int = 0) -> None:
        https = free_socket(https_port)
        try:
            http = free_socket(http_port)
        except OSError:
            https.close()
            raise
        self.https_url = f"https://127.0.0.1:{_port(https)}"
        self.http_url = f"http://127.0.0.1:{_port(http)}"
        self._rooms.start()
        self.operations.recover()
        app = Asgi(self, self._mounts)
        self._server = Server(app, https, http, self.certificates.certificate, self.certificates.key)
        self._server.start()

    def close(self, *, stop_guests: bool = True) -> None:
        """Stop listening, end threads and guests. State stays; operations in flight resume at the next start."""
        if self._server is not None:
            self._server.stop()
            self._server = None
        self.operations.close()
        self.timers.close()
        self._rooms.stop(stop_guests=stop_guests)
        self.clock.keep(self.store)
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # -- for tests and tools ------------------------------------------------------------------------------------

    def events(self, after: int = 0) -> list[Event]:
        return self.store.events(after)

    def group(self, name: str, location: str = "westeurope", tags: dict[str, str] | None = None) -> str:
        """Make a resource group; its id."""
        return make_group(self, self.subscription, name, location, tags).id

    def env(self) -> dict[str, str]:
        """What `azurelab env` prints."""
        return {
            "AZURE_SUBSCRIPTION_ID": self.subscription,
            "AZURE_TENANT_ID": self.tenant,
            "AZURE_CLIENT_ID": self.client_id,
            "AZURE_CLIENT_SECRET": self.client_secret,
            "AZURE_AUTHORITY_HOST": self.https_url,
            "REQUESTS_CA_BUNDLE": str(self.certificates.bundle),
            "AZURELAB_URL": self.https_url,
            "AZURELAB_HTTP_URL": self.http_url,
        }

    # -- for the rooms ------------------------------------------------------------------------------------------

    def knows_subscription(self, subscription: str) -> bool:
        return subscription.lower() in (self.subscription, RECORDED_SUBSCRIPTION)

    def arm_get(self, resource_id: str, api_version: str) -> Any:
        """A resource as GET shows it, None when it is gone."""
        found = self.store.get(resource_id)
        rid = parse_id(resource_id)
        if found is None or rid is None:
            return None
        rtype = self.arm.types[found.type.lower()]
        nobody = Principal("", "")
        ctx = Context(
            self,
            rtype,
            rid,
            method="GET",
            api_version=api_version,
            body=None,
            query={},
            caller=nobody,
            headers={},
            base_url=self.https_url,
        )
        return self.arm.view(ctx, found)

    def bug(self, exc: Exception, trace: str) -> ArmError:
        """Record a failure of azurelab itself; Azure's words for it."""
        self.bugs.append(trace)
        sys.stderr.write(trace)
        with contextlib.suppress(Exception), self.store.transaction():  # the store may be what is broken
            self.store.log("internal-error", "", error=repr(exc))
        return ArmError(500, "InternalServerError", f"Encountered internal server error: {exc!r}")

    def _reserve_loopback(self) -> ipaddress.IPv4Network:
        number = loopback.reserve(self.home, self.identity.get("loopback"))
        if number != self.identity.get("loopback"):
            self.identity["loopback"] = number
            _write_identity(self.home, self.identity)
        return loopback.network_of(number)


def _port(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def _identity_of(home: Path) -> dict[str, Any]:
    """The home's own ids and secrets, made once."""
    path = home / "lab.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    made = {
        "subscription": str(uuid.uuid4()),
        "tenant": str(uuid.uuid4()),
        "client_id": str(uuid.uuid4()),
        "object_id": str(uuid.uuid4()),
        "client_secret": secrets.token_urlsafe(24),
        "signing_key": secrets.token_hex(32),
    }
    _write_identity(home, made)
    return made


def _write_identity(home: Path, identity: Mapping[str, Any]) -> None:
    temporary = home / f"lab.json.{os.getpid()}.{threading.get_ident()}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        json.dump(identity, file, indent=1)
    temporary.replace(home / "lab.json")

"""The real application over an in-memory cloud and the inline engine, with a client and a clock that a test moves."""

from __future__ import annotations

import base64
import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.cloud import SUBSCRIPTION, FakeCloud
from holdfast.api.app import make_app
from holdfast.clouds.registry import Clouds
from holdfast.core.clock import ManualClock
from holdfast.core.errors import NotFound
from holdfast.core.ids import InstallationId, OperationId
from holdfast.core.tags import Owner
from holdfast.engine import InlineEngine, OperationView
from holdfast.machines.services import Services
from holdfast.store import Base, Database, Vault
from holdfast.wiring import everything, house_of, registry

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # starlette would rather have httpx2, which is not among our dependencies
    from fastapi.testclient import TestClient

OWNER = Owner(InstallationId("hf-0123456789ab"), 1)
LOCAL_TOKEN = "hfl_of-this-test"
ENDPOINT = "https://127.0.0.1:9"  # nothing listens: the fake stands in for what would be asked there


@dataclass
class ApiRig:
    """`client` carries the home's own token; `as_(token)` is somebody else."""

    folder: Path
    cloud: FakeCloud = field(default_factory=FakeCloud)
    clock: ManualClock = field(default_factory=ManualClock)
    test_clock: bool = False

    def __post_init__(self) -> None:
        everything()
        self.cloud.clock = self.clock
        self.database = Database.open(f"sqlite:///{self.folder}/home.db", durable=False)
        Base.metadata.create_all(self.database.engine)
        self.clouds = Clouds(self.database, Vault.from_text(base64.b64encode(os.urandom(32)).decode()), self.clock)
        self.clouds.add("lab", "azure", {"subscription": SUBSCRIPTION, "endpoint": ENDPOINT})
        services = Services(self.database, self.clock, OWNER, self.open_cloud)
        self.engine = InlineEngine(self.database, registry(), clock=self.clock, services=services)
        self.house = house_of(self.folder, services, self.clouds, self.engine, LOCAL_TOKEN, test_clock=self.test_clock)
        self.app = make_app(self.house)
        self.client = self.as_(LOCAL_TOKEN)

    def open_cloud(self, name: str) -> FakeCloud:
        if name != self.cloud.name:
            raise NotFound(kind="cloud", name=name)
        return self.cloud

    def as_(self, token: str | None) -> TestClient:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return TestClient(self.app, headers=headers, raise_server_exceptions=False)

    def token(self, name: str, role: str, clouds: list[str] | None = None) -> TestClient:
        made = self.client.post("/v1/tokens", json={"name": name, "role": role, "clouds": clouds})
        return self.as_(made.json()["token"])

    def start(self, machine: str = "rg-1/db-1", **more: Any) -> dict[str, Any]:
        """Begin an import that a manual clock passes in a moment."""
        body = {"machine": machine, "options": {"prove_for_s": 5, "prove_timeout_s": 60, **more}}
        answer = self.client.post("/v1/imports", json=body)
        assert answer.status_code == 201, answer.text
        told: dict[str, Any] = answer.json()
        return told

    def run(self, operation: str) -> OperationView:
        return self.engine.run(OperationId(operation))

    def imported(self, machine: str = "rg-1/db-1", **more: Any) -> dict[str, Any]:
        begun = self.start(machine, **more)
        self.run(begun["operation"])
        return self.shown(begun["id"])

    def shown(self, import_id: str) -> dict[str, Any]:
        told: dict[str, Any] = self.client.get(f"/v1/imports/{import_id}").json()
        return told


def api_rigs(folder: Path) -> Iterator[ApiRig]:
    rig = ApiRig(folder)
    yield rig
    rig.database.close()

"""A home on an in-memory cloud: database, inline engine, service, and a clock that a test moves."""

from __future__ import annotations

import copy
import itertools
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.cloud import DISKS, FakeCloud
from fakes.shapes import disk_body, group_of
from holdfast.core.clock import ManualClock
from holdfast.core.errors import NotFound
from holdfast.core.ids import InstallationId, OperationId
from holdfast.core.tags import Owner
from holdfast.engine import Crash, InlineEngine, OperationView, Registry
from holdfast.imports.operations import KINDS, RECONCILERS
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource
from holdfast.imports.records import ImportRow, the_import
from holdfast.imports.service import ImportService, Started
from holdfast.imports.sweeping import WATCHES
from holdfast.machines import ledger
from holdfast.machines.services import Services
from holdfast.nodes.records import NodeRow
from holdfast.store import Base, Database

OWNER = Owner(InstallationId("hf-0123456789ab"), 1)

VARIANTS = [(network, disks) for network in NetworkSource for disks in DiskSource]


def options(network: NetworkSource, disks: DiskSource, **more: Any) -> ImportOptions:
    """Options that a test can run through in a moment of the manual clock."""
    return ImportOptions(network=network, disks=disks, prove_for_s=5, prove_timeout_s=60, **more)


@dataclass
class ImportRig:
    """`crash` makes the next engine die there; `reborn()` is the process after it."""

    folder: Path
    cloud: FakeCloud = field(default_factory=FakeCloud)
    clock: ManualClock = field(default_factory=ManualClock)

    def __post_init__(self) -> None:
        if isinstance(self.cloud, FakeCloud):
            self.cloud.clock = self.clock
        self.database = Database.open(f"sqlite:///{self.folder}/home.db", durable=False)
        Base.metadata.create_all(self.database.engine)
        self.services = Services(
            self.database, self.clock, OWNER, self._open, checks_clock=isinstance(self.cloud, FakeCloud)
        )
        self.start_engine()

    def _open(self, name: str) -> FakeCloud:
        if name != self.cloud.name:
            raise NotFound(kind="cloud", name=name)
        return self.cloud

    def start_engine(self, crash: Crash | None = None) -> None:
        registry = Registry(kinds=KINDS, reconcilers=RECONCILERS, watches=WATCHES)
        self.engine = InlineEngine(self.database, registry, clock=self.clock, services=self.services, crash=crash)
        self.service = ImportService(self.engine, self.services)

    def begin(self, machine: str, chosen: ImportOptions, node: dict[str, Any] | None = None) -> Started:
        plan = self.service.plan(self.cloud.name, machine, chosen, node)
        return self.service.start(plan, actor="test", fresh=True)

    def run_import(
        self, machine: str, chosen: ImportOptions, node: dict[str, Any] | None = None
    ) -> tuple[ImportRow, OperationView]:
        started = self.begin(machine, chosen, node)
        view = self.engine.run(started.operation)
        return self.row(started.import_id), view

    def sweep(self) -> None:
        """Let the minutes pass in which what landed late is looked for."""
        self.clock.advance(11 * 60)
        self.engine.tick()

    def run(self, operation: str) -> OperationView:
        return self.engine.run(OperationId(operation))

    def row(self, import_id: str) -> ImportRow:
        with self.database.read() as session:
            return the_import(session, import_id)

    def node(self, row: ImportRow) -> NodeRow:
        with self.database.read() as session:
            return session.get_one(NodeRow, row.node_id)

    def ledger(self, import_id: str) -> tuple[ledger.Entry, ...]:
        with self.database.read() as session:
            return ledger.entries(session, subject=import_id)

    def unrecorded(self) -> list[str]:
        """Resources that carry our tags and stand in no ledger row, or in one that says they are gone."""
        with self.database.read() as session:
            rows = ledger.entries(session)
        known = {entry.ref.lower() for entry in rows if entry.fate is not ledger.Fate.GONE}
        ours = [document.ref for document in self.cloud.find({"holdfast-owner": str(OWNER)})]
        return [ref for ref in ours if ref.lower() not in known and "/extensions/" not in ref]

    def attach_disk(self, machine: str, name: str, *, delete_option: str = "Delete") -> str:
        """Somebody attaches a data disk of their own to a machine, outside Holdfast. Returns its id."""
        ref = self.cloud.ref(group_of(machine), DISKS, name)
        self.cloud._put(ref, DISKS, disk_body(self.cloud.location, False, ()))
        found = self.cloud.read(machine)
        assert found is not None
        disks = found.get("properties.storageProfile.dataDisks", [])
        disk = {"lun": 9, "name": name, "createOption": "Attach", "managedDisk": {"id": ref},
                "deleteOption": delete_option}  # fmt: skip
        self.cloud.change(machine, "properties.storageProfile.dataDisks", [*disks, disk])
        self.cloud.change(ref, "managedBy", machine)
        return ref

    def copied(self, folder: Path) -> ImportRig:
        """This home, its cloud and its time once more, as they are now: what one test did before, many go on from."""
        folder.mkdir(parents=True)
        with (
            closing(sqlite3.connect(self.folder / "home.db")) as ours,
            closing(sqlite3.connect(folder / "home.db")) as theirs,
        ):
            ours.backup(theirs)
        cloud = copy.copy(self.cloud)
        for name, value in vars(cloud).items():
            if name not in ("clock", "_lock", "_numbers"):
                setattr(cloud, name, copy.deepcopy(value))
        cloud._lock, cloud._numbers = threading.RLock(), itertools.count(100)
        return ImportRig(folder, cloud=cloud, clock=ManualClock(self.clock.now()))


def rigs(folder: Path) -> Iterator[ImportRig]:
    rig = ImportRig(folder)
    yield rig
    rig.database.close()

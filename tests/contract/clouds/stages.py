"""Where the conformance suite plays: each implementation of `Cloud`, with a machine-maker and a switch for capacity."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from fakes.arm import FakeArm, StaticCredential
from fakes.call import FakeCall
from fakes.cloud import DISKS, MACHINES, SNAPSHOTS, SUBSCRIPTION, FakeCloud
from holdfast.clouds.azure.cloud import AzureCloud
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Cloud
from holdfast.core.clock import Clock, ManualClock
from holdfast.core.tags import OPERATION

OURS = "op-00112233445566aa"
THEIRS = "op-ffeeddccbbaa9988"
SIZE = "Standard_D2s_v5"


class Stage(ABC):
    """One cloud with one resource group. location: where everything is."""

    cloud: Cloud
    clock: Clock
    group: str  # its id
    location = "westeurope"

    def call(self, operation: str = OURS, **options: Any) -> FakeCall:
        return FakeCall(operation=operation, key=f"{operation}/step", clock=self.clock, **options)

    @abstractmethod
    def machine(self, name: str, *, data_disks: int = 1, delete_option: str = "Detach") -> str:
        """A running machine made from an image, with data disks, one card and a public address. Its id."""

    @abstractmethod
    def take_capacity(self, size: str, *, spot: bool) -> None: ...

    def ref(self, type_name: str, name: str) -> str:
        return f"{self.group}/providers/{type_name}/{name}"

    def disk(self, name: str, operation: str = OURS) -> Document:
        """An empty disk to be created."""
        body = {
            "location": self.location,
            "sku": {"name": "Premium_LRS"},
            "tags": {OPERATION: operation},
            "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 4},
        }
        return Document(self.ref(DISKS, name), DISKS, "2024-03-02", body)

    def snapshot(self, name: str, disk: str) -> Document:
        body = {
            "location": self.location,
            "sku": {"name": "Standard_LRS"},
            "tags": {OPERATION: OURS},
            "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": disk}, "incremental": True},
        }
        return Document(self.ref(SNAPSHOTS, name), SNAPSHOTS, "2024-03-02", body)

    def successor(self, name: str, os_disk: str, card: str, *, spot: bool = False, size: str = SIZE) -> Document:
        """A machine to be created from an existing OS disk and card."""
        disk = {"osType": "Linux", "createOption": "Attach", "managedDisk": {"id": os_disk}, "deleteOption": "Detach"}
        card_ref = {"id": card, "properties": {"primary": True, "deleteOption": "Detach"}}
        properties: dict[str, Any] = {
            "hardwareProfile": {"vmSize": size},
            "storageProfile": {"osDisk": disk, "dataDisks": []},
            "networkProfile": {"networkInterfaces": [card_ref]},
        }
        if spot:
            properties |= {"priority": "Spot", "evictionPolicy": "Deallocate", "billingProfile": {"maxPrice": -1}}
        body = {"location": self.location, "tags": {OPERATION: OURS}, "properties": properties}
        return Document(self.ref(MACHINES, name), MACHINES, "2024-07-01", body)

    @abstractmethod
    def close(self) -> None:
        """Give back what was opened."""


class InMemory(Stage):
    """The double itself."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.world = FakeCloud(clock=self.clock)
        self.cloud = self.world
        self.group = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg-1"

    def machine(self, name: str, *, data_disks: int = 1, delete_option: str = "Detach") -> str:
        return self.world.add_machine(name, "rg-1", size=SIZE, data_disks=data_disks, delete_option=delete_option)

    def take_capacity(self, size: str, *, spot: bool) -> None:
        self.world.capacity_out.add((size.lower(), "spot" if spot else "regular"))

    def close(self) -> None:
        """Nothing was opened."""


class OverTheWire(InMemory):
    """AzureCloud against ARM over HTTP, with the double behind it and operations that take a few questions."""

    def __init__(self) -> None:
        super().__init__()
        self._serving = FakeArm(self.world, polls=1, async_capacity=True).serving()
        arm = self._serving.__enter__()
        connection = AzureConnection(SUBSCRIPTION, endpoint=arm.url, timeout_s=5.0)
        self.azure = AzureCloud("lab", connection, self.clock, lambda write: None, StaticCredential())
        self.cloud = self.azure

    def close(self) -> None:
        self.azure.close()
        self._serving.__exit__(None, None, None)

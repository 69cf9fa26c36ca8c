"""Where the conformance suite plays: each implementation of `Cloud`, with a machine-maker and a switch for capacity."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from typing import Any

from azurelab.app import Lab
from fakes.arm import FakeArm, StaticCredential
from fakes.call import FakeCall
from fakes.cloud import DISKS, MACHINES, NICS, PUBLIC_IPS, SNAPSHOTS, SUBSCRIPTION, FakeCloud
from holdfast.clouds.azure.cloud import AzureCloud
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Cloud
from holdfast.core.clock import Clock, ManualClock, SystemClock
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


class OnAzurelab(Stage):
    """AzureCloud against azurelab with `none` guests: real identity, TLS and ARM. Each stage has its own group in a
    lab that the whole session shares."""

    _numbers = itertools.count(1)

    def __init__(self, lab: Lab, cloud: AzureCloud) -> None:
        self._lab = lab
        self.clock = SystemClock()
        self.group = lab.group(f"rg-{next(self._numbers)}", self.location)
        self.cloud = cloud
        self._taken: list[tuple[str, str]] = []
        self._subnet: str | None = None

    def machine(self, name: str, *, data_disks: int = 1, delete_option: str = "Detach") -> str:
        card = self._card(name)
        option = {"deleteOption": delete_option}
        data = [{"lun": lun, "createOption": "Empty", "diskSizeGB": 4, **option} for lun in range(data_disks)]
        image = {"publisher": "Debian", "offer": "debian-11", "sku": "11-backports-gen2", "version": "latest"}
        properties = {
            "hardwareProfile": {"vmSize": SIZE},
            "osProfile": {"computerName": name, "adminUsername": "ada", "adminPassword": "Correct-horse-1"},
            "storageProfile": {
                "imageReference": image,
                "osDisk": {"createOption": "FromImage", **option},
                "dataDisks": data,
            },
            "networkProfile": {"networkInterfaces": [{"id": card, "properties": {"primary": True, **option}}]},
        }
        return self._made(MACHINES, name, properties, "2024-07-01")

    def _card(self, name: str) -> str:
        if self._subnet is None:
            subnets = [{"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}]
            space = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": subnets}
            self._subnet = self._made("Microsoft.Network/virtualNetworks", "vnet", space) + "/subnets/default"
        address = self._made(PUBLIC_IPS, f"{name}-ip", {"publicIPAllocationMethod": "Static"}, sku="Standard")
        configuration = {"subnet": {"id": self._subnet}, "publicIPAddress": {"id": address}, "primary": True}
        return self._made(NICS, f"{name}-nic", {"ipConfigurations": [{"name": "ip", "properties": configuration}]})

    def _made(
        self, type_name: str, name: str, properties: dict[str, Any], version: str = "2024-05-01", sku: str | None = None
    ) -> str:
        """What a user makes: without any tag of ours."""
        tags = {OPERATION: THEIRS}
        body: dict[str, Any] = {"location": self.location, "tags": tags, "properties": properties}
        if sku is not None:
            body["sku"] = {"name": sku}
        made = self.cloud.ensure(self.call(THEIRS), Document(self.ref(type_name, name), type_name, version, body))
        self.cloud.unmark(self.call(THEIRS), made.ref, [OPERATION])
        return made.ref

    def take_capacity(self, size: str, *, spot: bool) -> None:
        priority = "spot" if spot else "regular"
        self._taken.append((size, priority))
        self._lab.market.set_capacity(location=self.location, size=size, priority=priority, left=0)

    def close(self) -> None:
        for size, priority in self._taken:
            self._lab.market.set_capacity(location=self.location, size=size, priority=priority, left=None)


def connection_of(lab: Lab) -> AzureConnection:
    """The lab as a user connects it: service principal, TLS, the lab's own CA."""
    return AzureConnection(
        lab.subscription,
        tenant=lab.tenant,
        client_id=lab.client_id,
        client_secret=lab.client_secret,
        endpoint=lab.https_url,
        ca_file=str(lab.certificates.bundle),
        prices_endpoint=lab.https_url,
    )


def connected(lab: Lab) -> AzureCloud:
    return AzureCloud("lab", connection_of(lab), SystemClock(), lambda write: None)

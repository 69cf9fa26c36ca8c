"""A lab with the Azure SDK's own clients on it, and the few resources that every compute test needs."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient

from azurelab.app import Lab

UBUNTU = {
    "publisher": "Canonical",
    "offer": "0001-com-ubuntu-server-jammy",
    "sku": "22_04-lts-gen2",
    "version": "latest",
}
REGION = "westeurope"
MIB = 1 << 20


@dataclass
class SdkLab:
    """`compute` and `network` are azure-mgmt clients over plain http; names made by `name` are new."""

    lab: Lab
    group: str = "rg"
    counter: Any = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.lab.group(self.group, REGION)
        self.connect()
        vnet = self.network.virtual_networks.begin_create_or_update(
            self.group,
            "vnet",
            {
                "location": REGION,
                "properties": {
                    "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
                    "subnets": [{"name": "s", "properties": {"addressPrefix": "10.0.0.0/20"}}],
                },
            },
        ).result()
        self.subnet_id = vnet.subnets[0].id

    @classmethod
    def start(cls, home: Path) -> SdkLab:
        return cls(Lab.start(home))

    def connect(self) -> None:
        def policy() -> AzureKeyCredentialPolicy:
            return AzureKeyCredentialPolicy(AzureKeyCredential("token"), "Authorization", prefix="Bearer")

        def client(kind: Any) -> Any:
            return kind(
                object(),
                self.lab.subscription,
                base_url=self.lab.http_url,
                authentication_policy=policy(),
                polling_interval=0.05,
                retry_total=0,
            )

        self.compute = client(ComputeManagementClient)
        self.network = client(NetworkManagementClient)

    def restart(self) -> None:
        """Close the lab and start another on its home."""
        home = self.lab.home
        self.lab.close()
        self.lab = Lab.start(home)
        self.connect()

    def name(self, stem: str) -> str:
        return f"{stem}{next(self.counter)}"

    def id_of(self, kind: str, name: str) -> str:
        """`kind` with its provider: Microsoft.Compute/disks."""
        return f"/subscriptions/{self.lab.subscription}/resourceGroups/{self.group}/providers/{kind}/{name}"

    def nic(self, *, public: bool = False) -> str:
        name = self.name("nic")
        config: dict[str, Any] = {"subnet": {"id": self.subnet_id}}
        if public:
            address = self.network.public_ip_addresses.begin_create_or_update(
                self.group,
                name + "-ip",
                {
                    "location": REGION,
                    "sku": {"name": "Standard"},
                    "properties": {"publicIPAllocationMethod": "Static"},
                },
            ).result()
            config["publicIPAddress"] = {"id": address.id}
        made = self.network.network_interfaces.begin_create_or_update(
            self.group,
            name,
            {"location": REGION, "properties": {"ipConfigurations": [{"name": "c", "properties": config}]}},
        ).result()
        return str(made.id)

    def vm_body(self, nic_id: str | None = None, **changes: Any) -> dict[str, Any]:
        """A small Linux machine; `changes` go into properties, `zones`, `tags` and `identity` beside them."""
        body: dict[str, Any] = {
            "location": REGION,
            "properties": {
                "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
                "storageProfile": {
                    "imageReference": dict(UBUNTU),
                    "osDisk": {"createOption": "FromImage"},
                    "dataDisks": [],
                },
                "osProfile": {"computerName": "host", "adminUsername": "me", "adminPassword": "Secret!pass1"},
                "networkProfile": {"networkInterfaces": [{"id": nic_id or self.nic()}]},
            },
        }
        for word, value in changes.items():
            if word in ("zones", "tags", "identity", "location"):
                body[word] = value
            elif value is None:
                body["properties"].pop(word)
            else:
                body["properties"][word] = value
        return body

    def vm(self, name: str | None = None, *, data_gib: tuple[int, ...] = (), **changes: Any) -> Any:
        body = self.vm_body(**changes)
        body["properties"]["storageProfile"]["dataDisks"] += [
            {"lun": lun, "createOption": "Empty", "diskSizeGB": gib} for lun, gib in enumerate(data_gib)
        ]
        return self.compute.virtual_machines.begin_create_or_update(self.group, name or self.name("vm"), body).result()

    def attached_vm(self, os_disk_id: str, name: str | None = None, **changes: Any) -> Any:
        storage = {"osDisk": {"createOption": "Attach", "osType": "Linux", "managedDisk": {"id": os_disk_id}}}
        body = self.vm_body(osProfile=None, storageProfile=storage, **changes)
        return self.compute.virtual_machines.begin_create_or_update(self.group, name or self.name("vm"), body).result()

    def disk(self, name: str | None = None, *, gib: int = 4, **changes: Any) -> Any:
        body: dict[str, Any] = {
            "location": REGION,
            "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": gib},
            **changes,
        }
        return self.compute.disks.begin_create_or_update(self.group, name or self.name("disk"), body).result()

    def copy(self, source_id: str, name: str | None = None, **changes: Any) -> Any:
        body = {
            "location": REGION,
            "properties": {"creationData": {"createOption": "Copy", "sourceResourceId": source_id}},
            **changes,
        }
        return self.compute.disks.begin_create_or_update(self.group, name or self.name("disk"), body).result()

    def snapshot(self, source_id: str, name: str | None = None, *, incremental: bool = True) -> Any:
        body = {
            "location": REGION,
            "properties": {
                "incremental": incremental,
                "creationData": {"createOption": "Copy", "sourceResourceId": source_id},
            },
        }
        return self.compute.snapshots.begin_create_or_update(self.group, name or self.name("snap"), body).result()

    def power(self, vm_name: str) -> str:
        statuses = self.compute.virtual_machines.instance_view(self.group, vm_name).statuses
        return next(s.code for s in statuses if s.code.startswith("PowerState/")).removeprefix("PowerState/")

    # -- bytes, through the control routes --------------------------------------------------------------------------

    def write(self, disk_id: str, offset: int, data: bytes) -> None:
        url = f"{self.lab.http_url}/azurelab/disks/write"
        answer = httpx.put(url, params={"id": disk_id, "offset": offset}, content=data)
        assert answer.status_code == 204, answer.text

    def clear(self, disk_id: str, offset: int, length: int) -> None:
        url = f"{self.lab.http_url}/azurelab/disks/clear"
        answer = httpx.put(url, params={"id": disk_id, "offset": offset, "length": length})
        assert answer.status_code == 204, answer.text

    def read(self, disk_id: str, offset: int, length: int) -> bytes:
        url = f"{self.lab.http_url}/azurelab/disks/read"
        answer = httpx.get(url, params={"id": disk_id, "offset": offset, "length": length})
        assert answer.status_code == 200, answer.text
        return answer.content

    def digest(self, disk_id: str) -> str:
        answer = httpx.get(f"{self.lab.http_url}/azurelab/disks/digest", params={"id": disk_id}, timeout=120)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["sha256"])

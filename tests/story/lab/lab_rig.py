"""A home on azurelab, in this process: the client that drives Azure, the inline engine, and the lab's own event log."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from azurelab.app import Lab
from azurelab.arm.store import Event
from holdfast.clouds.azure.arm import CloudWrite
from holdfast.clouds.azure.cloud import AzureCloud
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.core.clock import ManualClock
from holdfast.machines import ledger
from story.imports.import_rig import ImportRig

_groups = itertools.count(1)
LOCATION = "westeurope"
COMPUTE, NETWORK = "2024-07-01", "2024-05-01"


class Town:
    """One lab, one clock and one client of it for many tests, each of which gets a resource group of its own."""

    def __init__(self, lab: Lab, http: httpx.Client) -> None:
        self.lab = lab
        self.http = http
        self.clock = ManualClock(datetime.now(UTC))
        self.writes: list[CloudWrite] = []
        self.cloud = self._connected()

    @classmethod
    def build(cls, folder: Path, guests: str = "none") -> Town:
        lab = Lab.start(folder, guests=guests)
        client = httpx.Client(base_url=lab.http_url, headers={"Authorization": "Bearer test"}, timeout=60)
        return cls(lab, client)

    def close(self) -> None:
        self.cloud.close()
        self.http.close()
        self.lab.close()

    def _connected(self) -> AzureCloud:
        lab = self.lab
        connection = AzureConnection(
            lab.subscription,
            tenant=lab.tenant,
            client_id=lab.client_id,
            client_secret=lab.client_secret,
            endpoint=lab.https_url,
            ca_file=str(lab.certificates.bundle),
            prices_endpoint=lab.https_url,
        )
        return AzureCloud("lab", connection, self.clock, self.writes.append)

    def group(self) -> str:
        name = f"rg-{next(_groups)}"
        self.lab.group(name, LOCATION)
        return f"/subscriptions/{self.lab.subscription}/resourceGroups/{name}"

    def put(self, ref: str, body: dict[str, Any], version: str) -> None:
        """PUT and wait."""
        self._finish(self.http.put(ref, params={"api-version": version}, json={"location": LOCATION, **body}))

    def post(self, ref: str, version: str = COMPUTE) -> None:
        self._finish(self.http.post(ref, params={"api-version": version}))

    def get(self, ref: str, version: str = COMPUTE, **params: str) -> dict[str, Any] | None:
        answer = self.http.get(ref, params={"api-version": version, **params})
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def _finish(self, answer: httpx.Response) -> None:
        assert answer.status_code < 300, answer.text
        url = answer.headers.get("azure-asyncoperation")
        for _ in range(1000):
            if url is None:
                return
            told = self.http.get(url.replace(self.lab.https_url, self.lab.http_url)).json()
            if told["status"] == "Succeeded":
                return
            assert told["status"] == "InProgress", told
        raise AssertionError(f"{url} does not end")

    def machine(
        self, group: str, name: str = "db-1", *, data_disks: int = 2, running: bool = True, unmanaged: bool = False
    ) -> str:
        """A machine that a careless portal user made: parts deleted with it, tags, an address, different caching."""
        subnets = [{"name": "default", "properties": {"addressPrefix": "10.0.0.0/24"}}]
        vnet = f"{group}/providers/Microsoft.Network/virtualNetworks/vnet"
        self.put(
            vnet, {"properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}, "subnets": subnets}}, NETWORK
        )
        address = f"{group}/providers/Microsoft.Network/publicIPAddresses/{name}-ip"
        standard = {"sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}}
        self.put(address, standard, NETWORK)
        card = f"{group}/providers/Microsoft.Network/networkInterfaces/{name}-nic"
        configuration = {"subnet": {"id": f"{vnet}/subnets/default"}, "publicIPAddress": {"id": address}}
        self.put(card, {"properties": {"ipConfigurations": [{"name": "ip", "properties": configuration}]}}, NETWORK)
        image = {"publisher": "Debian", "offer": "debian-11", "sku": "11-backports-gen2", "version": "latest"}
        gone_with_it = {"deleteOption": "Delete"}
        data = [
            {
                "lun": 2 * n,
                "createOption": "Empty",
                "diskSizeGB": 4,
                "caching": ("None", "ReadOnly")[n % 2],
                **gone_with_it,
            }
            for n in range(data_disks)
        ]
        os_disk: dict[str, Any] = {"createOption": "FromImage", "caching": "ReadWrite", **gone_with_it}
        if unmanaged:
            for number, disk in enumerate((os_disk, *data)):
                disk["vhd"] = {"uri": f"https://store.blob.core.windows.net/vhds/{name}-{number}.vhd"}
                disk["name"] = f"{name}-{number}"
                del disk["deleteOption"]
        machine = f"{group}/providers/Microsoft.Compute/virtualMachines/{name}"
        properties = {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "osProfile": {
                "computerName": name,
                "adminUsername": "ada",
                "adminPassword": "Correct-horse-1",
                "linuxConfiguration": {"provisionVMAgent": True},
            },
            "storageProfile": {
                "imageReference": image,
                "osDisk": os_disk,
                "dataDisks": data,
            },
            "networkProfile": {"networkInterfaces": [{"id": card, "properties": {"primary": True, **gone_with_it}}]},
        }
        self.put(machine, {"tags": {"team": "db"}, "properties": properties}, COMPUTE)
        for number, disk in enumerate(() if unmanaged else self.disks_of(machine)):
            self.write(disk, 1_048_576 * number, bytes([number + 1]) * 4096)
        if not running:
            self.post(f"{machine}/deallocate")
        return machine

    def disks_of(self, machine: str) -> list[str]:
        found = self.get(machine)
        assert found is not None
        storage = found["properties"]["storageProfile"]
        return [disk["managedDisk"]["id"] for disk in (storage["osDisk"], *storage["dataDisks"])]

    def write(self, disk: str, offset: int, data: bytes) -> None:
        """What a guest would write to an attached disk."""
        answer = self.http.put("/azurelab/disks/write", params={"id": disk, "offset": offset}, content=data)
        assert answer.status_code < 300, answer.text

    def read(self, disk: str, offset: int, length: int) -> bytes:
        answer = self.http.get("/azurelab/disks/read", params={"id": disk, "offset": offset, "length": length})
        assert answer.status_code == 200, answer.text
        return answer.content

    def content(self, disks: list[str]) -> list[bytes]:
        """The bytes of the places that `machine` wrote to, and of their neighbours."""
        return [self.read(disk, 0, 4 * 1_048_576) for disk in disks]

    def state_of(self, machine: str) -> dict[str, Any]:
        """All that "exactly as before" means: documents without what changes by itself, power, bytes."""
        found = self.get(machine, **{"$expand": "instanceView"})
        assert found is not None, f"{machine} is gone"
        statuses = [status["code"] for status in found["properties"].pop("instanceView")["statuses"]]
        disks = self.disks_of(machine)
        cards = [card["id"] for card in found["properties"]["networkProfile"]["networkInterfaces"]]
        nics = [self.get(card, NETWORK) for card in cards]
        refs = [
            configuration["properties"]["publicIPAddress"]["id"]
            for nic in nics
            if nic
            for configuration in nic["properties"]["ipConfigurations"]
        ]
        return {
            "machine": _steady(found),
            "power": [code for code in statuses if code.startswith("PowerState/")],
            "disks": [_steady(self.get(disk, "2024-03-02")) for disk in disks],
            "nics": [_steady(nic) for nic in nics],
            "addresses": [_steady(self.get(ref, NETWORK)) for ref in refs],
            "bytes": self.content(disks),
        }


# What differs after a machine object was made again (announced in every such plan), and what changes by itself.
_CHANGES = frozenset({
    "etag", "vmId", "timeCreated", "osProfile", "imageReference", "provisioningState", "createOption", "diskState",
    "LastOwnershipUpdateTime", "instanceView", "storageAccountType", "diskSizeGB", "exactVersion", "resources",
})  # fmt: skip


def _steady(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _steady(inner) for key, inner in value.items() if key not in _CHANGES and inner not in (None, {}, [])
        }
    if isinstance(value, list):
        return [_steady(inner) for inner in value]
    return value.lower() if isinstance(value, str) and value.lower().startswith("/subscriptions/") else value


class LabRig(ImportRig):
    """A holdfast home of its own on the town's lab, with one machine in a group of its own."""

    def __init__(self, folder: Path, town: Town, *, running: bool = True) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.town = town
        super().__init__(folder, cloud=town.cloud, clock=town.clock)  # type: ignore[arg-type]
        self.group = town.group()
        self.machine = town.machine(self.group, running=running)
        self.before = town.state_of(self.machine)
        self.born = town.lab.events()[-1].seq
        self.there = self.resources()
        self._written = len(town.writes)

    def close(self) -> None:
        self.database.close()

    def writes(self) -> list[CloudWrite]:
        """Changes that were sent since the machine was made."""
        return self.town.writes[self._written :]

    def resources(self) -> set[str]:
        """Ids (lower case) of all resources of the group."""
        listed = self.town.get(f"{self.group}/resources", "2024-11-01")
        assert listed is not None
        return {entry["id"].lower() for entry in listed["value"]}

    def events(self) -> list[Event]:
        """What happened in the group since the machine was made."""
        group = self.group.lower() + "/"
        return [event for event in self.town.lab.events(self.born) if event.resource.lower().startswith(group)]

    def untracked(self) -> set[str]:
        """Resources of the group that were not there before and that no ledger row stands for."""
        with self.database.read() as session:
            rows = ledger.entries(session)
        known = {entry.ref.lower() for entry in rows if entry.fate is not ledger.Fate.GONE}
        extensions = {ref for ref in self.resources() if "/extensions/" in ref}
        return self.resources() - self.there - known - extensions

    def twins(self) -> list[str]:
        """Moments of the event log at which two machines of the group ran: both would have the same data."""
        running: set[str] = {self.machine.lower()} if "PowerState/running" in self.before["power"] else set()
        found = []
        for event in self.events():
            ref = event.resource.lower()
            if event.kind == "power":
                if event.facts["power"] in ("starting", "running"):
                    running.add(ref)
                elif event.facts["power"] in ("stopped", "deallocated"):
                    running.discard(ref)
            elif event.kind == "deleted":
                running.discard(ref)
            if len(running) > 1:
                found.append(f"{event.seq}: {sorted(running)}")
        return found

    def deleted_unrecorded(self) -> list[str]:
        """What was deleted and stood in no ledger row with a document to make it again from."""
        with self.database.read() as session:
            rows = ledger.entries(session)
        known = {entry.ref.lower() for entry in rows if entry.document.body.get("location")}
        gone = [event.resource for event in self.events() if event.kind == "deleted"]
        return [ref for ref in gone if ref.lower() not in known and "/extensions/" not in ref]

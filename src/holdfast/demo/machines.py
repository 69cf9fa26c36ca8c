"""The machines of the demo: made as any user of Azure makes them, and looked into from outside over HTTP."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import httpx

from holdfast.demo.programs import DemoFailed, Lab, wait_until

__all__ = ["Guest", "Look", "make_group", "make_machine"]

COMPUTE, DISKS, NETWORK = "2024-07-01", "2024-03-02", "2024-05-01"
IMAGE = {"publisher": "Debian", "offer": "debian-11", "sku": "11-backports-gen2", "version": "latest"}


@dataclass(frozen=True)
class Look:
    """What can be seen of a machine from outside, at one moment. Digests by lun."""

    ref: str
    vm_id: str
    size: str
    priority: str
    private_ip: str
    public_ip: str
    host_name: str
    boots: int
    journal_last: dict[int, int]
    digests: dict[int, str]
    disks: tuple[str, ...]


def make_group(lab: Lab) -> str:
    group = lab.id_of("/resourceGroups/demo")
    lab.put(group, "2024-11-01", {})
    vnet = {
        "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
        "subnets": [{"name": "default", "properties": {"addressPrefix": "10.0.0.0/20"}}],
    }
    lab.put(f"{group}/providers/Microsoft.Network/virtualNetworks/vnet", NETWORK, {"properties": vnet})
    return group


def make_machine(lab: Lab, group: str, name: str) -> str:
    """An OS disk and two data disks, a public address; a careless portal user's delete options. Returns its id."""
    network = f"{group}/providers/Microsoft.Network"
    address = f"{network}/publicIPAddresses/{name}-ip"
    static = {"sku": {"name": "Standard"}, "properties": {"publicIPAllocationMethod": "Static"}}
    lab.put(address, NETWORK, static)
    card = f"{network}/networkInterfaces/{name}-nic"
    subnet = {"id": f"{network}/virtualNetworks/vnet/subnets/default"}
    configuration = {"name": "ip", "properties": {"subnet": subnet, "publicIPAddress": {"id": address}}}
    lab.put(card, NETWORK, {"properties": {"ipConfigurations": [configuration]}})
    gone_with_it = {"deleteOption": "Delete"}
    data = [{"lun": lun, "createOption": "Empty", "diskSizeGB": 1, **gone_with_it} for lun in (0, 1)]
    properties = {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "osProfile": {
            "computerName": f"{name}-host",
            "adminUsername": "ada",
            "adminPassword": "Correct-horse-1",
            "linuxConfiguration": {"provisionVMAgent": True},
        },
        "storageProfile": {
            "imageReference": IMAGE,
            "osDisk": {"createOption": "FromImage", **gone_with_it},
            "dataDisks": data,
        },
        "networkProfile": {"networkInterfaces": [{"id": card, "properties": {"primary": True, **gone_with_it}}]},
    }
    machine = f"{group}/providers/Microsoft.Compute/virtualMachines/{name}"
    lab.put(machine, COMPUTE, {"tags": {"team": "demo"}, "properties": properties})
    return machine


class Guest:
    """One machine, by its ARM id; its public address is asked for anew, because it may change."""

    def __init__(self, lab: Lab, ref: str) -> None:
        self._lab = lab
        self.ref = ref

    def address(self) -> str:
        machine = self._must(self.ref, COMPUTE)
        card = self._must(machine["properties"]["networkProfile"]["networkInterfaces"][0]["id"], NETWORK)
        reference = card["properties"]["ipConfigurations"][0]["properties"]["publicIPAddress"]["id"]
        return str(self._must(reference, NETWORK)["properties"]["ipAddress"])

    def wait_until_it_serves(self, bound_s: float = 120) -> None:
        wait_until(f"{self.ref.rsplit('/', 1)[-1]} answering on port 8080", bound_s, lambda: self.health() and True)

    def health(self) -> dict[str, Any] | None:
        try:
            told: dict[str, Any] = httpx.get(f"http://{self.address()}:8080/health", timeout=5).json()
        except (httpx.HTTPError, ValueError):
            return None
        return told if told.get("status") == "ok" else None

    def record(self, lun: int, text: str) -> None:
        """Durable on the disk before it returns."""
        answer = httpx.post(f"http://{self.address()}:8080/records", params={"lun": lun}, content=text, timeout=20)
        if answer.status_code != 201:
            raise DemoFailed(f"the guest did not take a record: {answer.status_code} {answer.text}")

    def journal(self, lun: int) -> list[tuple[int, int, float]]:
        """(sequence, boot, time) of every second that the guest lived through, as it stands on the disk."""
        answer = httpx.get(f"http://{self.address()}:8080/journal", params={"lun": lun}, timeout=20)
        return [(int(s), int(b), float(t)) for s, b, t in (line.split() for line in answer.text.splitlines())]

    def look(self) -> Look:
        machine = self._must(self.ref, COMPUTE)
        properties = machine["properties"]
        card = self._must(properties["networkProfile"]["networkInterfaces"][0]["id"], NETWORK)
        storage = properties["storageProfile"]
        deadline = time.monotonic() + 60
        while (health := self.health()) is None:
            if time.monotonic() > deadline:
                raise DemoFailed(f"{self.ref} does not answer")
            time.sleep(0.2)
        disks = {disk["lun"]: disk for disk in health["disks"]}
        return Look(
            ref=self.ref,
            vm_id=properties["vmId"],
            size=properties["hardwareProfile"]["vmSize"],
            priority=properties.get("priority", "Regular"),
            private_ip=card["properties"]["ipConfigurations"][0]["properties"]["privateIPAddress"],
            public_ip=self.address(),
            host_name=health["host_name"],
            boots=int(health["boots"]),
            journal_last={lun: int(disk["journal"]["last"]) for lun, disk in disks.items()},
            digests={lun: str(disk["digest"]) for lun, disk in disks.items()},
            disks=tuple(
                disk["managedDisk"]["id"].rsplit("/", 1)[-1] for disk in (storage["osDisk"], *storage["dataDisks"])
            ),
        )

    def _must(self, ref: str, version: str) -> dict[str, Any]:
        found = self._lab.get(ref, version)
        if found is None:
            raise DemoFailed(f"{ref} is gone")
        return found

"""Azure-shaped bodies that fakes begin with, and how they are looked into."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from holdfast.clouds.documents import Document

__all__ = ["SIZES", "cards_of", "disk_body", "give_principal", "group_of", "ip_configuration", "machine_body", "merge",
           "parts_of", "size_document"]  # fmt: skip


def machine_body(
    location: str,
    name: str,
    size: str,
    priority: str,
    disks: Sequence[str],
    card: str,
    delete_option: str,
    tags: Mapping[str, str],
) -> dict[str, Any]:
    """A machine as it was made from an image. disks: ids, the OS disk first, then by lun."""
    image = {"publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"}
    os_disk = {
        "osType": "Linux",
        "name": disks[0].rsplit("/", 1)[-1],
        "createOption": "FromImage",
        "caching": "ReadWrite",
        "managedDisk": {"id": disks[0]},
        "deleteOption": delete_option,
    }
    data_disks = [
        {
            "lun": lun,
            "name": disk.rsplit("/", 1)[-1],
            "createOption": "Attach",
            "caching": "None",
            "managedDisk": {"id": disk},
            "deleteOption": delete_option,
        }
        for lun, disk in enumerate(disks[1:])
    ]
    cards = [{"id": card, "properties": {"primary": True, "deleteOption": delete_option}}]
    return {
        "location": location,
        "tags": dict(tags),
        "properties": {
            "hardwareProfile": {"vmSize": size},
            "priority": priority,
            "osProfile": {"computerName": name, "adminUsername": "ada"},
            "storageProfile": {"imageReference": image, "osDisk": os_disk, "dataDisks": data_disks},
            "networkProfile": {"networkInterfaces": cards},
        },
    }


def ip_configuration(vnet: str) -> dict[str, Any]:
    return {
        "name": "ipconfig1",
        "properties": {
            "primary": True,
            "privateIPAllocationMethod": "Dynamic",
            "subnet": {"id": f"{vnet}/subnets/default"},
        },
    }


def give_principal(body: dict[str, Any]) -> None:
    """A system-assigned identity gets its principal with the resource."""
    identity = body.get("identity")
    if identity and "systemassigned" in str(identity.get("type", "")).lower():
        identity["principalId"] = str(uuid.uuid4())


def disk_body(location: str, is_os: bool, zones: Sequence[str]) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "creationData": {"createOption": "FromImage" if is_os else "Empty"},
        "diskSizeGB": 30 if is_os else 64,
        "networkAccessPolicy": "AllowAll",
        "encryption": {"type": "EncryptionAtRestWithPlatformKey"},
    }
    if is_os:
        properties.update(osType="Linux", hyperVGeneration="V2")
    body: dict[str, Any] = {"location": location, "sku": {"name": "Premium_LRS"}, "properties": properties}
    return {**body, "zones": list(zones)} if zones else body


SIZES = (
    ("Standard_D2s_v5", 2, 8),
    ("Standard_D2as_v5", 2, 8),
    ("Standard_D2ds_v5", 2, 8),
    ("Standard_D4s_v5", 4, 16),
    ("Standard_E2s_v5", 2, 16),
    ("Standard_B2s", 2, 4),
)


def size_document(name: str, vcpus: int, gib: int, location: str) -> dict[str, Any]:
    """A resource SKU as Azure lists it."""
    capabilities = {
        "vCPUs": str(vcpus),
        "vCPUsAvailable": str(vcpus),
        "vCPUsPerCore": "2",
        "MemoryGB": str(gib),
        "HyperVGenerations": "V1,V2",
        "CpuArchitectureType": "x64",
        "LowPriorityCapable": "False" if name.startswith("Standard_B") else "True",
        "MaxResourceVolumeMB": "76800" if "ds_" in name else "0",
        "PremiumIO": "True",
        "MaxDataDiskCount": str(2 * vcpus),
        "MaxNetworkInterfaces": "2",
        "AcceleratedNetworkingEnabled": "True",
        "EncryptionAtHostSupported": "True",
        "EphemeralOSDiskSupported": "False",
    }
    return {
        "resourceType": "virtualMachines",
        "name": name,
        "tier": "Standard",
        "size": name.removeprefix("Standard_"),
        "family": "standardDSv5Family",
        "locations": [location],
        "locationInfo": [{"location": location, "zones": ["1", "2", "3"], "zoneDetails": []}],
        "capabilities": [{"name": key, "value": value} for key, value in capabilities.items()],
        "restrictions": [],
    }


def cards_of(vm: Document) -> list[dict[str, Any]]:
    cards = list(vm.get("properties.networkProfile.networkInterfaces", []))
    return sorted(cards, key=lambda card: not (card.get("properties") or {}).get("primary"))


def parts_of(body: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(id, delete option) of a machine's disks and cards."""
    properties = body["properties"]
    storage = properties["storageProfile"]
    disks = [storage["osDisk"], *(storage.get("dataDisks") or [])]
    cards = (properties.get("networkProfile") or {}).get("networkInterfaces") or []
    found = [(d["managedDisk"]["id"], d.get("deleteOption") or "Detach") for d in disks if d.get("managedDisk")]
    return found + [(c["id"], (c.get("properties") or {}).get("deleteOption") or "Detach") for c in cards]


def merge(into: dict[str, Any], patch: Mapping[str, Any]) -> None:
    """Azure's PATCH: objects merge, lists and values replace; `tags` replaces the whole map."""
    for key, value in patch.items():
        if key != "tags" and isinstance(value, Mapping) and isinstance(into.get(key), dict):
            merge(into[key], value)
        else:
            into[key] = deepcopy(value)


def group_of(ref: str) -> str:
    return ref.split("/")[4]

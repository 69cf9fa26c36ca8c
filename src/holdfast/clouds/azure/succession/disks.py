"""Snapshots of a machine's disks, and new disks made from them, as documents to PUT."""

from __future__ import annotations

from typing import Any

from holdfast.clouds.azure.succession.names import in_group, merged
from holdfast.clouds.documents import Document

__all__ = ["DISKS", "SNAPSHOTS", "disk_from_snapshot", "snapshot_of"]

SNAPSHOTS = "Microsoft.Compute/snapshots"
DISKS = "Microsoft.Compute/disks"
SNAPSHOT_VERSION = "2024-03-02"
DISK_VERSION = "2024-03-02"

# What a restored disk repeats of the original. Performance settings exist for Ultra and PremiumV2 only.
_REPEATED = (
    "osType",
    "hyperVGeneration",
    "purchasePlan",
    "supportedCapabilities",
    "encryption",
    "networkAccessPolicy",
    "diskAccessId",
    "publicNetworkAccess",
    "dataAccessAuthMode",
    "securityProfile",
    "supportsHibernation",
    "burstingEnabled",
    "tier",
    "maxShares",
    "optimizedForFrequentAttach",
)
_PROVISIONED = ("diskIOPSReadWrite", "diskMBpsReadWrite", "diskIOPSReadOnly", "diskMBpsReadOnly")
_PROVISIONED_SKUS = ("ultrassd_lrs", "premiumv2_lrs")


def snapshot_of(disk: Document, group: str, name: str, tags: dict[str, str]) -> Document:
    """An incremental snapshot: only what changed since the last of the same disk is stored (azure.md 6a)."""
    properties: dict[str, Any] = {
        "creationData": {"createOption": "Copy", "sourceResourceId": disk.ref},
        "incremental": True,
        "networkAccessPolicy": disk.get("properties.networkAccessPolicy", "AllowAll"),
    }
    if disk.get("properties.diskAccessId"):
        properties["diskAccessId"] = disk.get("properties.diskAccessId")
    if (encryption := disk.get("properties.encryption")) and encryption.get("diskEncryptionSetId"):
        properties["encryption"] = encryption
    body = {"location": disk.body["location"], "tags": merged(tags), "sku": {"name": "Standard_LRS"}}
    return Document(
        ref=in_group(disk.ref, group, SNAPSHOTS, name),
        type=SNAPSHOTS,
        api_version=SNAPSHOT_VERSION,
        body={**body, "properties": properties},
    )


def disk_from_snapshot(disk: Document, snapshot: str, group: str, name: str, tags: dict[str, str]) -> Document:
    """A disk like `disk`, same SKU, zone, encryption and security, filled from the snapshot."""
    was = disk.get("properties", {})
    properties: dict[str, Any] = {key: was[key] for key in _REPEATED if was.get(key) is not None}
    if properties.get("maxShares") == 1:
        del properties["maxShares"]  # 1 is the default and Azure does not take it for every SKU
    sku = str(disk.get("sku.name", "Standard_LRS"))
    if sku.lower() in _PROVISIONED_SKUS:
        properties.update({key: was[key] for key in _PROVISIONED if was.get(key) is not None})
    creation: dict[str, Any] = {"createOption": "Copy", "sourceResourceId": snapshot}
    if (sector := disk.get("properties.creationData.logicalSectorSize")) is not None:
        creation["logicalSectorSize"] = sector
    properties["creationData"] = creation
    if was.get("diskSizeGB") is not None:
        properties["diskSizeGB"] = was["diskSizeGB"]
    body: dict[str, Any] = {
        "location": disk.body["location"],
        "tags": merged(disk.tags, tags),
        "sku": {"name": sku},
        "properties": properties,
    }
    for key in ("zones", "extendedLocation"):
        if disk.body.get(key):
            body[key] = disk.body[key]
    return Document(ref=in_group(disk.ref, group, DISKS, name), type=DISKS, api_version=DISK_VERSION, body=body)

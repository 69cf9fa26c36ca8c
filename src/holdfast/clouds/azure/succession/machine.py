"""The machine itself: the successor, the successor at one market, and the original made again from its own parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from holdfast.clouds.azure.succession.names import in_group, merged
from holdfast.clouds.documents import Document

__all__ = ["MACHINES", "at_market", "detach_parts", "parts_of", "recreated", "restore_options", "successor_machine"]

MACHINES = "Microsoft.Compute/virtualMachines"
MACHINE_VERSION = "2024-07-01"

# What a successor repeats of the original's properties. Not repeated: osProfile and imageReference (Azure refuses
# them beside an attached OS disk), vmId, instanceView; priority, evictionPolicy, billingProfile come with the market.
_REPEATED = (
    "securityProfile",
    "diagnosticsProfile",
    "licenseType",
    "additionalCapabilities",
    "proximityPlacementGroup",
    "extensionsTimeBudget",
    "scheduledEventsProfile",
    "applicationProfile",
    "userData",
)


def successor_machine(
    original: Document,
    group: str,
    name: str,
    disks: Mapping[int | None, str],
    nics: list[str],
    tags: Mapping[str, str],
) -> Document:
    """The successor without a market. `disks` maps lun (None = OS disk) to a disk's id; nics: the primary card first.

    Everything it is made of is detached, not deleted, when the machine goes: parts outlive machines.
    """
    was = original.get("properties", {})
    storage = was.get("storageProfile", {})
    os_disk = storage.get("osDisk", {})
    properties: dict[str, Any] = {key: deepcopy(was[key]) for key in _REPEATED if was.get(key) is not None}
    properties["storageProfile"] = {
        "osDisk": _attached(os_disk, disks[None], os_type=os_disk.get("osType", "Linux")),
        "dataDisks": [_attached(disk, disks[disk["lun"]], lun=disk["lun"]) for disk in storage.get("dataDisks") or []],
    }
    if storage.get("diskControllerType"):
        properties["storageProfile"]["diskControllerType"] = storage["diskControllerType"]
    properties["networkProfile"] = {
        "networkInterfaces": [
            {"id": ref, "properties": {"primary": index == 0, "deleteOption": "Detach"}}
            for index, ref in enumerate(nics)
        ]
    }
    body: dict[str, Any] = {
        "location": original.body["location"],
        "tags": merged(original.tags, tags),
        "properties": properties,
    }
    for key in ("plan", "extendedLocation"):
        if original.body.get(key):
            body[key] = original.body[key]
    if identity := _identity(original.body.get("identity")):
        body["identity"] = identity
    return Document(
        ref=in_group(original.ref, group, MACHINES, name), type=MACHINES, api_version=MACHINE_VERSION, body=body
    )


def at_market(machine: Document, size: str, zone: str | None, spot: bool) -> Document:
    """The machine at one market. Spot machines are deallocated on eviction, at no maximum price: disks and NIC stay."""
    body = deepcopy(machine.body)
    properties = body["properties"]
    properties["hardwareProfile"] = {**(properties.get("hardwareProfile") or {}), "vmSize": size}
    if spot:
        properties.update(priority="Spot", evictionPolicy="Deallocate", billingProfile={"maxPrice": -1})
    else:
        properties["priority"] = "Regular"
        properties.pop("evictionPolicy", None)
        properties.pop("billingProfile", None)
    if zone is None:
        body.pop("zones", None)
    else:
        body["zones"] = [zone]
    return replace(machine, body=body)


def recreated(original: Document, replaced_disks: Mapping[str, str] | None = None) -> Document:
    """The original's document made fit to create it again from its own disks and cards, under its own id.

    `replaced_disks` maps disk ids (lower case) to others, for an undo to the moment of import. Delete options, caching,
    luns, tags and priority are as they were read; osProfile, imageReference and the read-only fields are left out.
    """
    body = {
        key: deepcopy(original.body[key])
        for key in ("location", "tags", "plan", "zones", "extendedLocation")
        if original.body.get(key)
    }
    if identity := _identity(original.body.get("identity")):
        body["identity"] = identity
    properties = deepcopy(original.get("properties", {}))
    for gone in ("vmId", "instanceView", "provisioningState", "timeCreated", "osProfile", "resources"):
        properties.pop(gone, None)
    storage = properties["storageProfile"]
    storage.pop("imageReference", None)
    for disk in (storage["osDisk"], *(storage.get("dataDisks") or [])):
        ref = disk["managedDisk"]["id"]
        ref = (replaced_disks or {}).get(ref.lower(), ref)
        disk["createOption"] = "Attach"
        disk["managedDisk"] = {"id": ref}
        disk["name"] = ref.rsplit("/", 1)[-1]
        for gone in ("diskSizeGB", "image", "toBeDetached"):
            disk.pop(gone, None)
    for gone in ("exactVersion",):
        storage.pop(gone, None)
    body["properties"] = properties
    return replace(original, body=body, etag=None, identity=None, read_at=None)


def detach_parts(original: Document) -> dict[str, Any] | None:
    """The PATCH that makes every disk and card outlive the machine; None if they do already."""
    return _options_patch(original, lambda _ref, _was: "Detach")


def restore_options(original: Document, now: Document) -> dict[str, Any] | None:
    """The PATCH that gives every part the delete option that it had; None if they have them.

    It is composed from the machine as it is now, because Azure replaces lists: a disk that somebody attached meanwhile
    must stay in.
    """
    wanted = parts_of(original)
    return _options_patch(now, lambda ref, was: wanted.get(ref, was))


def _options_patch(machine: Document, option: Callable[[str, str], str]) -> dict[str, Any] | None:
    """Delete options of all parts by `option(id, as it is)`, as a PATCH body; None where that changes nothing."""
    properties = machine.get("properties", {})
    storage, changed = properties["storageProfile"], False

    def set_on(place: dict[str, Any], ref: str) -> None:
        nonlocal changed
        was = place.get("deleteOption") or "Detach"
        wanted = option(ref.lower(), was)
        changed = changed or wanted != was
        place["deleteOption"] = wanted

    os_disk = deepcopy(storage["osDisk"])
    data_disks = deepcopy(storage.get("dataDisks") or [])
    nics = deepcopy((properties.get("networkProfile") or {}).get("networkInterfaces") or [])
    for disk in (os_disk, *data_disks):
        set_on(disk, str((disk.get("managedDisk") or {}).get("id", "")))
    for nic in nics:
        set_on(nic.setdefault("properties", {}), str(nic["id"]))
    if not changed:
        return None
    return {
        "properties": {
            "storageProfile": {"osDisk": os_disk, "dataDisks": data_disks},
            "networkProfile": {"networkInterfaces": nics},
        }
    }


def parts_of(machine: Document) -> dict[str, str]:
    """Ids of all disks and cards of a machine (lower case) with their delete options, Detach where none is shown."""
    storage = machine.get("properties.storageProfile", {})
    found = {}
    for disk in (storage.get("osDisk") or {}, *(storage.get("dataDisks") or [])):
        if ref := (disk.get("managedDisk") or {}).get("id"):
            found[ref.lower()] = disk.get("deleteOption") or "Detach"
    for card in machine.get("properties.networkProfile.networkInterfaces", []):
        found[card["id"].lower()] = (card.get("properties") or {}).get("deleteOption") or "Detach"
    return found


def _attached(
    was: Mapping[str, Any], ref: str, *, lun: int | None = None, os_type: str | None = None
) -> dict[str, Any]:
    disk: dict[str, Any] = {
        "createOption": "Attach",
        "deleteOption": "Detach",
        "managedDisk": {"id": ref},
        "name": ref.rsplit("/", 1)[-1],
    }
    if lun is not None:
        disk["lun"] = lun
    if os_type is not None:
        disk["osType"] = os_type
    for key in ("caching", "writeAcceleratorEnabled"):
        if was.get(key) is not None:
            disk[key] = was[key]
    return disk


def _identity(identity: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The identity block as a request: assigned identities by id only, no principal ids."""
    if not identity or identity.get("type") in (None, "None"):
        return None
    out: dict[str, Any] = {"type": identity["type"]}
    if assigned := identity.get("userAssignedIdentities"):
        out["userAssignedIdentities"] = {ref: {} for ref in assigned}
    return out

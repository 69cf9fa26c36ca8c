"""Read a machine's traits from Azure's documents, or from a node's JSON before there is a machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.sizes.size import Size
from holdfast.market.deciding.sizes.traits import MachineTraits

__all__ = ["traits_from_node", "traits_of"]

Json = Mapping[str, Any]


def traits_of(vm: Json, disks: Sequence[Json], nics: Sequence[Json], own: Size) -> MachineTraits:
    """The VM's GET answer, those of its disks (OS disk among them) and interfaces, and its size as the cloud tells it.

    `own` supplies what no document says: the class of temp disk that the guest has, its GPUs and vCPUs. Absent
    hyperVGeneration = V1 (https://learn.microsoft.com/rest/api/compute/disks/get). An unmanaged OS disk has no
    document; its generation is V1, the only one that unmanaged disks can have.
    """
    properties = vm.get("properties") or {}
    storage = properties.get("storageProfile") or {}
    os_disk, data_disks = storage.get("osDisk") or {}, storage.get("dataDisks") or []
    documents = {_low(d.get("id", "")): d for d in disks}
    os_document = documents.get(_managed_id(os_disk), {})
    os_properties = os_document.get("properties") or {}
    abilities = os_properties.get("supportedCapabilities") or {}
    controller = storage.get("diskControllerType") or ("NVMe" if own.controllers == {"NVMe"} else "SCSI")
    supported = {w.strip() for w in (abilities.get("diskControllerTypes") or "SCSI").split(",")} | {controller}
    skus = {_sku(documents.get(_managed_id(d), {}), d) for d in (os_disk, *data_disks)}
    security = properties.get("securityProfile") or {}
    uefi = security.get("uefiSettings") or {}
    zones = vm.get("zones") or []
    return MachineTraits(
        name=vm.get("name") or "",
        location=vm.get("location") or "",
        own_size=(properties.get("hardwareProfile") or {}).get("vmSize") or own.name,
        os=_low(os_disk.get("osType") or os_properties.get("osType") or "linux"),
        vcpus=own.vcpus,
        memory_gib=own.memory_gib,
        architecture=abilities.get("architecture") or own.architecture,
        generation=os_properties.get("hyperVGeneration") or "V1",
        controller=controller,
        controllers_supported=frozenset(supported),
        temp_disk=own.temp_disk,
        page_file_on_temp=None,  # only the guest knows
        swap_on_temp=None,
        premium_disks=any(s.startswith("premium_") for s in skus),
        ultra_or_premium_v2_disks=bool(skus & {"ultrassd_lrs", "premiumv2_lrs"}),
        data_disks=len(data_disks),
        highest_lun=max((int(d["lun"]) for d in data_disks), default=-1),
        provisioned_iops=sum(int(_of(documents, d, "diskIOPSReadWrite")) for d in (os_disk, *data_disks)),
        provisioned_bytes_per_s=sum(
            int(_of(documents, d, "diskMBpsReadWrite") * 1_000_000) for d in (os_disk, *data_disks)
        ),
        host_caching=any(_low(d.get("caching") or "none") != "none" for d in (os_disk, *data_disks)),
        write_accelerator_disks=sum(bool(d.get("writeAcceleratorEnabled")) for d in (os_disk, *data_disks)),
        zone=str(zones[0]) if zones else None,
        zone_redundant=bool(skus) and all(s.endswith("_zrs") for s in skus),
        nics=max(1, len((properties.get("networkProfile") or {}).get("networkInterfaces") or nics)),
        accelerated_networking=any((n.get("properties") or {}).get("enableAcceleratedNetworking") for n in nics),
        security_type=security.get("securityType") or "Standard",
        vtpm=bool(uefi.get("vTpmEnabled")),
        confidential_type=own.confidential_type,
        encryption_at_host=bool(security.get("encryptionAtHost")),
        ephemeral_os_disk=bool(os_disk.get("diffDiskSettings")),
        gpus=own.gpus,
        rdma=False,  # Azure does not say whether a machine uses it; the wish does
        burstable=own.burstable,
        availability_set=bool(properties.get("availabilitySet")),
        proximity_group=bool(properties.get("proximityPlacementGroup")),
        dedicated_host=bool(properties.get("host") or properties.get("hostGroup")),
    )


def traits_from_node(node: Json, own: Size | None = None) -> MachineTraits:
    """What a stateful node's JSON (the `statefulNode` wrapper is optional) asks of a size, as far as it says so.

    What only an image could tell (generation, class of temp disk without an on-demand size) stays None and refuses
    nothing. Give `own` = the first on-demand size, where the cloud knows it.
    """
    node = node.get("statefulNode") or (node.get("statefulNodeImport") or {}).get("node") or node
    compute = node.get("compute")
    if not isinstance(compute, Mapping):
        raise InvalidInput(field="compute", problem="the specification has no compute section")
    launch = compute.get("launchSpecification") or {}
    os_disk, data_disks = launch.get("osDisk") or {}, launch.get("dataDisks") or []
    types = {_low(d.get("type") or "standard_lrs") for d in (os_disk, *data_disks)}
    security = launch.get("security") or {}
    kind = security.get("securityType") or "Standard"
    interfaces = (launch.get("network") or {}).get("networkInterfaces") or []
    zones = [str(z) for z in compute.get("zones") or []]
    return MachineTraits(
        name=node.get("name") or "",
        location=node.get("region") or "",
        own_size=own.name if own else "",
        os=_low(compute.get("os") or "linux"),
        vcpus=own.vcpus if own else 0,
        memory_gib=own.memory_gib if own else 0.0,
        architecture=own.architecture if own else "x64",
        generation="V2" if kind != "Standard" else None,
        controller="NVMe" if own and own.controllers == {"NVMe"} else "SCSI",
        controllers_supported=frozenset({"SCSI", "NVMe"}),
        temp_disk=own.temp_disk if own else None,
        premium_disks=any(t.startswith("premium_") for t in types),
        ultra_or_premium_v2_disks=bool(types & {"ultrassd_lrs", "premiumv2_lrs"}),
        data_disks=len(data_disks),
        highest_lun=max((int(d["lun"]) for d in data_disks), default=-1),
        zone=zones[0] if len(zones) == 1 else None,
        zone_redundant=len(zones) != 1,  # disks that do not exist yet are made where the machine goes
        nics=max(1, len(interfaces)),
        security_type=kind,
        vtpm=bool(security.get("vTpmEnabled")),
        confidential_type=own.confidential_type if own else None,
        encryption_at_host=bool(security.get("encryptionAtHost")),
        gpus=own.gpus if own else 0,
        burstable=own.burstable if own else False,
        proximity_group=bool(launch.get("proximityPlacementGroups")),
    )


def _managed_id(disk: Json) -> str:
    return _low((disk.get("managedDisk") or {}).get("id") or "")


def _sku(document: Json, attached: Json) -> str:
    """The disk's own document is right; a VM's model repeats the type only while the VM runs."""
    name = (document.get("sku") or {}).get("name") or (attached.get("managedDisk") or {}).get("storageAccountType")
    return _low(name or "standard_lrs")


def _of(documents: Mapping[str, Json], disk: Json, name: str) -> float:
    return float((documents.get(_managed_id(disk), {}).get("properties") or {}).get(name) or 0)


def _low(text: str) -> str:
    return text.lower()

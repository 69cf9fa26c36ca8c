"""Azure's documents are read into sizes and traits; what Azure leaves out stays unknown."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.sizes import Size, TempDisk, size_from_azure_sku, sizes_from_azure_skus, traits_of
from holdfast.market.deciding.sizes.azure_traits import traits_from_node

SKU: dict[str, Any] = {
    "resourceType": "virtualMachines",
    "name": "Standard_D4ds_v5",
    "family": "standardDDSv5Family",
    "locations": ["westeurope"],
    "locationInfo": [
        {
            "location": "westeurope",
            "zones": ["1", "2"],
            "zoneDetails": [{"Name": ["2"], "capabilities": [{"name": "UltraSSDAvailable", "value": "True"}]}],
        }
    ],
    "capabilities": [
        {"name": "vCPUs", "value": "4"},
        {"name": "MemoryGB", "value": "16"},
        {"name": "MaxResourceVolumeMB", "value": "153600"},
        {"name": "PremiumIO", "value": "True"},
    ],
    "restrictions": [
        {
            "type": "Zone",
            "values": ["westeurope"],
            "restrictionInfo": {"locations": ["westeurope"], "zones": ["1"]},
            "reasonCode": "NotAvailableForSubscription",
        },
        {
            "type": "Location",
            "values": ["eastus"],
            "restrictionInfo": {"locations": ["eastus"]},
            "reasonCode": "QuotaId",
        },
    ],
}


def test_a_sku_is_read_with_zones_restrictions_and_strings():
    size = size_from_azure_sku(SKU, "West Europe")

    assert (size.vcpus, size.memory_gib, size.storage_gib) == (4, 16.0, 150.0)
    assert size.temp_disk is TempDisk.SCSI
    assert size.zones == {"1", "2"}
    assert size.zone_capabilities == {"2": {"UltraSSDAvailable": "True"}}
    assert [(r.reason, set(r.zones)) for r in size.restrictions] == [("NotAvailableForSubscription", {"1"})]


def test_a_capability_that_was_not_sent_is_neither_true_nor_false():
    size = size_from_azure_sku(SKU)

    assert size.flag("PremiumIO") is True
    assert size.flag("AcceleratedNetworkingEnabled") is None
    assert size.number("MaxDataDiskCount") is None
    assert size.words("HyperVGenerations") is None


def test_a_constrained_size_counts_the_cores_that_can_be_used():
    size = Size("Standard_M8-2ms", "f", "x", capabilities={"vCPUs": "8", "vCPUsAvailable": "2"})

    assert size.vcpus == 2


@pytest.mark.parametrize("written", ["09/03/2024", "2024-09-03T00:00:00Z", "09/03/2024 00:00:00"])
def test_a_retirement_date_is_read_in_each_form_that_azure_writes(written: str):
    assert Size("s", "f", "x", capabilities={"RetirementDateUtc": written}).retires_on == date(2024, 9, 3)


def test_other_resource_types_and_regions_are_left_out():
    answer = {"value": [SKU, {**SKU, "resourceType": "disks"}, {**SKU, "locations": ["eastus"]}]}

    assert [s.name for s in sizes_from_azure_skus(answer, "westeurope")] == ["Standard_D4ds_v5"]
    assert len(sizes_from_azure_skus(answer["value"])) == 2
    with pytest.raises(InvalidInput):
        sizes_from_azure_skus({"error": "no"})


OS_DISK = "/subscriptions/S/resourceGroups/g/providers/Microsoft.Compute/disks/os"
DATA_DISK = "/subscriptions/S/resourceGroups/g/providers/Microsoft.Compute/disks/data"
VM: dict[str, Any] = {
    "name": "db-1",
    "location": "westeurope",
    "zones": ["2"],
    "properties": {
        "hardwareProfile": {"vmSize": "Standard_D4ds_v5"},
        "storageProfile": {
            "osDisk": {"osType": "Windows", "caching": "ReadWrite", "managedDisk": {"id": OS_DISK.upper()}},
            "dataDisks": [{"lun": 7, "managedDisk": {"id": DATA_DISK}, "writeAcceleratorEnabled": False}],
        },
        "networkProfile": {"networkInterfaces": [{"id": "a"}, {"id": "b"}]},
        "securityProfile": {
            "securityType": "TrustedLaunch",
            "encryptionAtHost": True,
            "uefiSettings": {"vTpmEnabled": True},
        },
        "availabilitySet": None,
    },
}
DISKS = [
    {
        "id": OS_DISK,
        "sku": {"name": "StandardSSD_LRS"},
        "properties": {
            "hyperVGeneration": "V2",
            "diskIOPSReadWrite": 500,
            "diskMBpsReadWrite": 60,
            "supportedCapabilities": {"architecture": "x64", "diskControllerTypes": "SCSI, NVMe"},
        },
    },
    {"id": DATA_DISK, "sku": {"name": "PremiumV2_LRS"}, "properties": {"diskIOPSReadWrite": 3000}},
]


def test_traits_are_read_from_the_machine_its_disks_and_its_interfaces():
    traits = traits_of(VM, DISKS, [{"properties": {"enableAcceleratedNetworking": True}}], size_from_azure_sku(SKU))

    assert (traits.os, traits.generation, traits.zone, traits.nics) == ("windows", "V2", "2", 2)
    assert traits.controllers_supported == {"SCSI", "NVMe"}
    assert (traits.data_disks, traits.highest_lun) == (1, 7)
    assert traits.ultra_or_premium_v2_disks
    assert not traits.premium_disks
    assert (traits.provisioned_iops, traits.provisioned_bytes_per_s) == (3500, 60_000_000)
    assert traits.host_caching
    assert traits.accelerated_networking
    assert (traits.security_type, traits.vtpm, traits.encryption_at_host) == ("TrustedLaunch", True, True)
    assert traits.temp_disk is TempDisk.SCSI
    assert not traits.zone_redundant
    assert not traits.availability_set
    assert traits.page_file_on_temp is None


def test_a_disk_that_names_no_generation_is_generation_one_and_scsi():
    bare = [
        {"id": OS_DISK, "sku": {"name": "Premium_ZRS"}, "properties": {}},
        {**DISKS[1], "sku": {"name": "Premium_ZRS"}},
    ]

    traits = traits_of(VM, bare, [], size_from_azure_sku(SKU))

    assert traits.generation == "V1"
    assert traits.controllers_supported == {"SCSI"}
    assert traits.zone_redundant
    assert traits.premium_disks


def test_a_node_says_what_it_says_and_the_rest_refuses_nothing():
    node = {"statefulNode": {"region": "westeurope", "compute": {"os": "Linux", "launchSpecification": {}}}}

    traits = traits_from_node(node)

    assert traits.location == "westeurope"
    assert traits.generation is None
    assert traits.temp_disk is None
    with pytest.raises(InvalidInput):
        traits_from_node({"name": "x"})

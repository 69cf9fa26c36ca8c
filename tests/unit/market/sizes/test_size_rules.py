"""Every rule: one machine that a plain size serves, and one change on either side that makes it refuse."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from holdfast.market.deciding.sizes import MachineTraits, Priority, Quota, Size, SizeWish, TempDisk, qualify
from holdfast.market.deciding.sizes.funnel import Qualified, Refused
from holdfast.market.deciding.sizes.rules import RULES
from holdfast.market.deciding.sizes.size import Restriction

TODAY = date(2026, 1, 5)
PLAIN = {
    "vCPUs": "4",
    "vCPUsAvailable": "4",
    "MemoryGB": "16",
    "HyperVGenerations": "V1,V2",
    "LowPriorityCapable": "True",
    "PremiumIO": "True",
    "MaxDataDiskCount": "8",
    "MaxNetworkInterfaces": "2",
    "MaxResourceVolumeMB": "0",
    "AcceleratedNetworkingEnabled": "True",
    "EncryptionAtHostSupported": "True",
    "UncachedDiskIOPS": "6400",
    "CachedDiskBytes": "1000000",
}


def size(name: str = "Standard_D4s_v5", **changes: str | None) -> Size:
    """The plain size with capabilities changed; None takes one away."""
    capabilities = {k: v for k, v in {**PLAIN, **changes}.items() if v is not None}
    return Size(name, "standardDSv5Family", "westeurope", frozenset({"1", "2", "3"}), capabilities)


MACHINE = MachineTraits(
    name="db-1", own_size="Standard_D4s_v5", vcpus=4, memory_gib=16, zone="1", page_file_on_temp=None
)
WISH = SizeWish(min_cpu=4, max_cpu=4, min_memory_gib=16, max_memory_gib=16)


def judge(one: Size, machine: MachineTraits = MACHINE, wish: SizeWish = WISH, **asked: Any) -> Qualified | Refused:
    funnel = qualify(machine, [one], wish, today=TODAY, **asked)
    return (funnel.qualified + funnel.refused)[0]


def codes(verdict: Qualified | Refused) -> list[str]:
    return [r.code for r in verdict.reasons] if isinstance(verdict, Refused) else []


def test_a_plain_size_serves_a_plain_machine_in_its_zone():
    verdict = judge(size())

    assert isinstance(verdict, Qualified)
    assert verdict.zones == ("1",)
    assert not verdict.regional
    assert verdict.notes == ()


REFUSED_BY_SIZE = [
    ("size.spot", {"LowPriorityCapable": "False"}),
    ("size.spot", {"LowPriorityCapable": None}),
    ("size.vcpus", {"vCPUsAvailable": "2"}),
    ("size.memory", {"MemoryGB": "8"}),
    ("size.generation", {"HyperVGenerations": "V1"}),
    ("size.generation", {"HyperVGenerations": None}),
    ("size.architecture", {"CpuArchitectureType": "Arm64"}),
    ("size.disk_controller", {"DiskControllerTypes": "NVMe"}),
    ("size.confidential", {"ConfidentialComputingType": "SNP"}),
    ("size.accelerators", {"GPUs": "1"}),
    ("size.temp_disk", {"MaxResourceVolumeMB": "65536"}),
    ("size.temp_disk", {"NvmeDiskSizeInMiB": "65536"}),
    ("size.temp_disk", {"MaxResourceVolumeMB": None}),
    ("size.lifetime", {"RetirementDateUtc": "09/03/2024"}),
    ("size.lifetime", {"RetirementDateUtc": "2026-01-20T00:00:00Z"}),
]


@pytest.mark.parametrize(("code", "change"), REFUSED_BY_SIZE, ids=str)
def test_a_size_that_lacks_something_is_refused_by_that_rule_alone(code: str, change: dict[str, str | None]):
    verdict = judge(size(**change))

    assert codes(verdict) == [code]
    assert isinstance(verdict, Refused)
    assert verdict.reasons[0].reason
    assert verdict.reasons[0].remedy


REFUSED_BY_MACHINE = [
    ("size.premium_storage", {"PremiumIO": "False"}, {"premium_disks": True}),
    ("size.premium_storage", {"PremiumIO": None}, {"premium_disks": True}),
    ("size.ultra_disks", {}, {"ultra_or_premium_v2_disks": True}),
    ("size.data_disks", {"MaxDataDiskCount": "2"}, {"data_disks": 3, "highest_lun": 2}),
    ("size.data_disks", {}, {"data_disks": 1, "highest_lun": 8}),
    ("size.data_disks", {"MaxDataDiskCount": None}, {"data_disks": 1, "highest_lun": 0}),
    ("size.write_accelerator", {}, {"write_accelerator_disks": 1}),
    ("size.nics", {}, {"nics": 3}),
    ("size.nics", {"MaxNetworkInterfaces": None}, {"nics": 2}),
    (
        "size.accelerated_networking",
        {"AcceleratedNetworkingEnabled": "False"},
        {"accelerated_networking": True},
    ),
    ("size.accelerated_networking", {"AcceleratedNetworkingEnabled": None}, {"accelerated_networking": True}),
    ("size.trusted_launch", {"TrustedLaunchDisabled": "True"}, {"security_type": "TrustedLaunch"}),
    ("size.confidential", {}, {"security_type": "ConfidentialVM", "vtpm": True, "confidential_type": "SNP"}),
    (
        "size.confidential",
        {"ConfidentialComputingType": "TDX"},
        {"security_type": "ConfidentialVM", "vtpm": True, "confidential_type": "SNP"},
    ),
    (
        "size.confidential",
        {"ConfidentialComputingType": "SNP"},
        {"security_type": "ConfidentialVM", "vtpm": False, "confidential_type": "SNP"},
    ),
    ("size.encryption_at_host", {"EncryptionAtHostSupported": "False"}, {"encryption_at_host": True}),
    ("size.encryption_at_host", {"EncryptionAtHostSupported": None}, {"encryption_at_host": True}),
    ("size.ephemeral_os_disk", {}, {"ephemeral_os_disk": True}),
    ("size.accelerators", {}, {"gpus": 1}),
    ("size.accelerators", {}, {"rdma": True}),
    ("size.placement", {}, {"availability_set": True}),
    ("size.placement", {}, {"proximity_group": True}),
    ("size.placement", {}, {"dedicated_host": True}),
    ("size.zone", {}, {"zone": "4"}),
    ("size.temp_disk", {}, {"temp_disk": TempDisk.SCSI}),
    ("size.architecture", {}, {"architecture": "Arm64"}),
]


@pytest.mark.parametrize(("code", "change", "traits"), REFUSED_BY_MACHINE, ids=str)
def test_a_machine_that_needs_more_is_refused_by_that_rule_alone(
    code: str, change: dict[str, str | None], traits: dict[str, Any]
):
    verdict = judge(size(**change), replace(MACHINE, **traits))

    assert codes(verdict) == [code]


CONSENT = [
    ({"MaxResourceVolumeMB": "65536"}, {}, {"allow_other_temp_disk": True}),
    (
        {"AcceleratedNetworkingEnabled": "False"},
        {"accelerated_networking": True},
        {"allow_accelerated_networking_off": True},
    ),
    ({}, {"availability_set": True}, {"drop_placement": True}),
    ({"UncachedDiskIOPS": "3200"}, {"provisioned_iops": 5000}, {}),
    ({"DiskControllerTypes": "NVMe"}, {"controllers_supported": frozenset({"SCSI", "NVMe"})}, {}),
]


@pytest.mark.parametrize(
    ("change", "traits", "consent"),
    CONSENT,
    ids=["temp-disk", "accelerated-networking", "placement", "disk-performance", "nvme"],  # a set's text varies by run
)
def test_what_the_user_agreed_to_becomes_a_note(
    change: dict[str, str | None], traits: dict[str, Any], consent: dict[str, Any]
):
    verdict = judge(size(**change), replace(MACHINE, **traits), replace(WISH, **consent))

    assert isinstance(verdict, Qualified)
    assert len(verdict.notes) == 1


def test_nvme_needs_generation_two_a_driver_and_linux():
    nvme = size(DiskControllerTypes="NVMe")
    ready = replace(MACHINE, controllers_supported=frozenset({"SCSI", "NVMe"}), nvme_driver=True)

    assert isinstance(judge(nvme, ready), Qualified)
    assert codes(judge(nvme, replace(ready, os="windows"))) == ["size.disk_controller"]
    assert codes(judge(nvme, replace(ready, generation="V1"))) == ["size.disk_controller"]
    assert codes(judge(nvme, replace(ready, nvme_driver=False))) == ["size.disk_controller"]


def test_absent_controller_types_and_architecture_read_as_scsi_and_x64():
    assert size().controllers == {"SCSI"}
    assert size().architecture == "x64"


def test_a_page_file_on_the_temp_disk_refuses_windows_sizes_without_one_even_with_consent():
    machine = replace(MACHINE, os="windows", temp_disk=TempDisk.SCSI, page_file_on_temp=True)
    wish = replace(WISH, allow_other_temp_disk=True)

    assert codes(judge(size(), machine, wish)) == ["size.page_file"]
    assert codes(judge(size(), replace(machine, page_file_on_temp=False), wish)) == []


def test_a_scsi_temp_disk_is_served_by_a_size_that_has_nvme_disks_as_well():
    both = size(MaxResourceVolumeMB="65536", NvmeDiskSizeInMiB="65536")

    assert codes(judge(both, replace(MACHINE, temp_disk=TempDisk.SCSI))) == []
    assert codes(judge(both, replace(MACHINE, temp_disk=TempDisk.NVME))) == ["size.temp_disk"]


def test_a_location_restriction_drops_the_size_and_a_zone_restriction_only_those_zones():
    everywhere = replace(MACHINE, zone_redundant=True)
    located = replace(size(), restrictions=(Restriction("NotAvailableForSubscription"),))
    zoned = replace(size(), restrictions=(Restriction("NotAvailableForSubscription", frozenset({"1", "3"})),))

    kept = judge(zoned, everywhere)

    assert codes(judge(located, everywhere)) == ["size.restricted"]
    assert isinstance(kept, Qualified)
    assert kept.zones == ("2",)
    assert codes(judge(zoned, MACHINE)) == ["size.restricted"]


def test_a_size_restricted_in_all_zones_stays_deployable_without_a_zone():
    zoned = replace(size(), restrictions=(Restriction("QuotaId", frozenset({"1", "2", "3"})),))

    kept = judge(zoned, replace(MACHINE, zone=None))

    assert isinstance(kept, Qualified)
    assert kept.regional
    assert kept.zones == ()


def test_ultra_disks_keep_only_the_zones_that_take_them():
    ultra = replace(size(), zone_capabilities={"2": {"UltraSSDAvailable": "True"}})
    machine = replace(MACHINE, ultra_or_premium_v2_disks=True)

    kept = judge(ultra, replace(machine, zone="2"))

    assert isinstance(kept, Qualified)
    assert codes(judge(ultra, machine)) == ["size.ultra_disks"]
    assert codes(judge(ultra, replace(machine, zone=None))) == ["size.ultra_disks"]


def test_disks_of_one_zone_reach_another_only_by_the_snapshot_path():
    wish = replace(WISH, zones=("2", "3"))

    assert codes(judge(size(), MACHINE, wish)) == ["size.zone"]
    copied = judge(size(), MACHINE, replace(wish, across_zones=True))
    assert isinstance(copied, Qualified)
    assert copied.zones == ("2", "3")


def test_a_burstable_size_needs_to_be_asked_for():
    burstable = size("Standard_B4ms")

    assert codes(judge(burstable)) == ["size.lifetime"]
    assert codes(judge(burstable, wish=replace(WISH, allow_burstable=True))) == []
    assert codes(judge(burstable, wish=SizeWish(spot_sizes=("standard_b4MS",)))) == []


def test_quota_counts_spot_and_on_demand_apart():
    short_of_spot = Quota(spot_free=3, regional_free=100, family_free={"standarddsv5family": 100})
    short_of_family = Quota(spot_free=100, regional_free=100, family_free={"standarddsv5family": 3})

    assert codes(judge(size(), quota=short_of_spot)) == ["size.quota"]
    assert codes(judge(size(), quota=short_of_family)) == []
    assert codes(judge(size(), quota=short_of_spot, priority=Priority.ON_DEMAND)) == []
    assert codes(judge(size(), quota=short_of_family, priority=Priority.ON_DEMAND)) == ["size.quota"]


def test_spot_needs_a_spot_price_once_a_price_list_is_known():
    assert codes(judge(size(), spot_priced=None)) == []
    assert codes(judge(size(), spot_priced={"Standard_E4s_v5"})) == ["size.spot"]
    assert codes(judge(size(), spot_priced={"STANDARD_D4S_V5"})) == []


def test_a_reservation_asks_on_demand_sizes_only():
    wish = replace(WISH, capacity_reservation=True)

    assert codes(judge(size(), wish=wish)) == []
    assert codes(judge(size(), wish=wish, priority=Priority.ON_DEMAND)) == ["size.capacity_reservation"]


def test_another_processor_maker_is_a_note():
    verdict = judge(size("Standard_D4as_v5"))

    assert isinstance(verdict, Qualified)
    assert "AMD instead of Intel" in verdict.notes[0]


def test_every_rule_has_its_own_code_and_is_refusing_somewhere_in_this_file():
    tried = {case[0] for case in REFUSED_BY_SIZE} | {case[0] for case in REFUSED_BY_MACHINE}
    by_hand = {
        "size.restricted",
        "size.storage",  # the funnel's tests
        "size.excluded",  # the funnel's tests
        "size.quota",
        "size.capacity_reservation",
        "size.page_file",
        "size.disk_performance",
    }

    assert len({r.code for r in RULES}) == len(RULES)
    assert {r.code for r in RULES} == tried | by_hand


def test_disk_performance_refuses_where_the_user_asks_for_it():
    machine = replace(MACHINE, provisioned_iops=7000)

    assert codes(judge(size(), machine, replace(WISH, require_disk_performance=True))) == ["size.disk_performance"]


def test_a_standard_machine_on_a_confidential_size_may_stay_on_its_kind():
    machine = replace(MACHINE, confidential_type="SNP")

    assert codes(judge(size(ConfidentialComputingType="SNP"), machine)) == []
    assert codes(judge(size(ConfidentialComputingType="TDX"), machine)) == ["size.confidential"]

"""The sizes that regions offer: generated from facts per family, with the capabilities that Resource SKUs carries.

Facts: vendor's size pages and recorded SKU answers. As in Azure, a capability that does not apply may be absent, which
is not the same as False. `price` = USD per hour for Linux on demand of the family's 2-vCPU size in eastus, mid 2026.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Family", "Size", "all_sizes", "families", "find_size"]


@dataclass(frozen=True, slots=True)
class Family:
    """A line of sizes that differ in vCPUs only.

    `pattern` makes the name from the vCPUs; `memory_gb` and `temp_mb` are per vCPU (temp: SCSI resource disk),
    `nvme_mib` per vCPU (local NVMe). `generations` V1, V2 or both; `controllers` empty = not told (SCSI).
    """

    quota: str
    pattern: str
    vcpus: tuple[int, ...]
    memory_gb: float
    price: float
    generations: str = "V1,V2"
    arch: str = "x64"
    temp_mb: int = 0
    nvme_mib: int = 0
    premium: bool = True
    controllers: str = ""
    accelerated: bool = True
    spot: bool = True
    disks_2: int = 4
    iops_2: int = 3750
    mbps_2: int = 85
    ultra: bool = True
    encryption: bool = True
    trusted: bool = True
    confidential: str = ""
    gpus: int = 0
    burstable: bool = False
    per_core: int = 2


@dataclass(frozen=True, slots=True)
class Size:
    """One size. `name` is Azure's spelling (Standard_D2s_v5)."""

    name: str
    family: Family
    vcpus: int
    vcpus_available: int
    memory_gb: float
    temp_mb: int
    nvme_mib: int
    max_data_disks: int
    max_nics: int
    uncached_iops: int
    uncached_mbps: int
    price: float
    parent: str = ""

    @property
    def architecture(self) -> str:
        return self.family.arch

    @property
    def generations(self) -> tuple[str, ...]:
        return tuple(self.family.generations.split(","))

    @property
    def spot(self) -> bool:
        return self.family.spot

    @property
    def premium(self) -> bool:
        return self.family.premium

    def capabilities(self) -> dict[str, str]:
        """Names and values as Resource SKUs gives them."""
        f = self.family
        cached = f.premium and (self.temp_mb > 0 or not f.controllers)
        found = {
            "MaxResourceVolumeMB": str(self.temp_mb),
            "OSVhdSizeMB": "1047552",
            "vCPUs": str(self.vcpus),
            "MemoryPreservingMaintenanceSupported": "True",
            "HyperVGenerations": f.generations,
            "MemoryGB": f"{self.memory_gb:g}",
            "MaxDataDiskCount": str(self.max_data_disks),
            "CpuArchitectureType": f.arch,
            "LowPriorityCapable": str(f.spot),
            "PremiumIO": str(f.premium),
            "VMDeploymentTypes": "IaaS",
            "vCPUsAvailable": str(self.vcpus_available),
            "vCPUsPerCore": str(f.per_core),
            "UncachedDiskIOPS": str(self.uncached_iops),
            "UncachedDiskBytesPerSecond": str(self.uncached_mbps * 1_000_000),
            "EphemeralOSDiskSupported": str(f.premium and (self.temp_mb > 0 or self.nvme_mib > 0)),
            "EncryptionAtHostSupported": str(f.encryption),
            "CapacityReservationSupported": str(not f.burstable),
            "AcceleratedNetworkingEnabled": str(f.accelerated),
            "RdmaEnabled": "False",
            "MaxNetworkInterfaces": str(self.max_nics),
        }
        if cached:
            found["CachedDiskBytes"] = str(self.vcpus * 26_843_545_600)
        if f.ultra:
            found["UltraSSDAvailable"] = "True"
        if f.controllers:
            found["DiskControllerTypes"] = f.controllers
        if self.nvme_mib:
            found["NvmeDiskSizeInMiB"] = str(self.nvme_mib)
            found["SupportedEphemeralOSDiskPlacements"] = "NvmeDisk"
        elif self.temp_mb and f.premium:
            found["SupportedEphemeralOSDiskPlacements"] = "ResourceDisk,CacheDisk"
        if not f.trusted:
            found["TrustedLaunchDisabled"] = "True"
        if f.confidential:
            found["ConfidentialComputingType"] = f.confidential
        if f.gpus:
            found["GPUs"] = str(f.gpus)
        if self.parent:
            found["ParentSize"] = self.parent
        return found


_PLAIN = {"premium": False, "ultra": False, "encryption": False, "generations": "V1", "per_core": 1}
_OLD: dict[str, dict[str, Any]] = {
    # lines that do not follow their vCPUs; what differs from Family's defaults
    "standardDSv2Family": {"ultra": False, "per_core": 1},
    "standardDv2Family": _PLAIN,
    "standardBSFamily": {"burstable": True, "spot": False, "accelerated": False, "per_core": 1},
    "standardAv2Family": {**_PLAIN, "accelerated": False},
    "standardA0_A7Family": {**_PLAIN, "accelerated": False, "spot": False},
    "basicAFamily": {**_PLAIN, "accelerated": False, "spot": False},
    "standardDFamily": {**_PLAIN, "accelerated": False},
    "standardDSFamily": {**_PLAIN, "accelerated": False, "premium": True},
    "standardFFamily": _PLAIN,
    "standardFSFamily": {"ultra": False, "per_core": 1},
    "standardLSv2Family": {"ultra": True},
    "standardDCSv2Family": {"generations": "V2", "ultra": False, "per_core": 1},
    "standardMSFamily": {"accelerated": True},
    "standardNCFamily": {**_PLAIN, "accelerated": False, "gpus": 1},
    "standardNVFamily": {**_PLAIN, "accelerated": False, "gpus": 1},
    "standardNVSv3Family": {"ultra": False, "gpus": 1},
    "standardHFamily": {**_PLAIN, "accelerated": False},
}


@cache
def _single_line(quota: str) -> Family:
    return Family(quota, "", (), 0, 0, **_OLD[quota])


# Constrained sizes: the parent's memory, disks and price with fewer vCPUs
_CONSTRAINED = (("E4-2", "E4"), ("E8-2", "E8"), ("E8-4", "E8"), ("E16-4", "E16"), ("E16-8", "E16"), ("E32-16", "E32"))
_CONSTRAINED_LINES = ("s_v3", "s_v4", "ds_v4", "as_v4", "s_v5", "ds_v5", "as_v5", "ads_v5")


def _rows(file: str) -> list[dict[str, str]]:
    text = resources.files("azurelab.world").joinpath(file).read_text(encoding="utf-8")
    return list(csv.DictReader(line for line in text.splitlines() if not line.startswith("#")))


def _value(name: str, text: str) -> object:
    kind = Family.__dataclass_fields__[name].type
    if kind == "bool":
        return text == "yes"
    if kind == "int":
        return int(text)
    if kind == "float":
        return float(text)
    if name == "vcpus":
        return tuple(int(n) for n in text.split())
    return text


@cache
def families() -> tuple[Family, ...]:
    return tuple(Family(**{k: _value(k, v) for k, v in row.items() if v}) for row in _rows("size_families.csv"))  # type: ignore[arg-type]


def _nics(vcpus: int) -> int:
    return 2 if vcpus <= 4 else 4 if vcpus <= 8 else 8


def _line(f: Family) -> Iterator[Size]:
    for n in f.vcpus:
        memory = f.memory_gb * n
        if f.pattern.startswith("E{}") and n == 64 and f.memory_gb == 8 and f.arch == "x64" and "v3" in f.pattern:
            memory = 432  # the one exception of the v3 line
        if f.pattern.startswith("E{}") and n >= 96 and "v5" in f.pattern:
            memory = 672
        yield Size(
            name="Standard_" + f.pattern.format(n),
            family=f,
            vcpus=n,
            vcpus_available=n,
            memory_gb=memory,
            temp_mb=f.temp_mb * n,
            nvme_mib=f.nvme_mib * n,
            max_data_disks=min(64 if f.controllers == "NVMe" and n >= 96 else 32, f.disks_2 * n // 2),
            max_nics=_nics(n),
            uncached_iops=min(f.iops_2 * n // 2, 80000),
            uncached_mbps=min(f.mbps_2 * n // 2, 2600),
            price=round(f.price * n / 2, 4),
        )


@cache
def all_sizes() -> dict[str, Size]:
    """Every size by its name in lower case."""
    found: dict[str, Size] = {}
    for family in families():
        for size in _line(family):
            found[size.name.lower()] = size
    for row in _rows("size_singles.csv"):
        n = int(row["vcpus"])
        size = Size(
            name=row["name"] if row["name"].startswith("Basic_") else "Standard_" + row["name"],
            family=_single_line(row["family"]),
            vcpus=n,
            vcpus_available=n,
            memory_gb=float(row["memory_gb"]),
            temp_mb=int(row["temp_mb"]),
            nvme_mib=0,
            max_data_disks=int(row["data_disks"]),
            max_nics=int(row["nics"]),
            uncached_iops=1600 * n,
            uncached_mbps=24 * n,
            price=float(row["usd_per_hour"]),
        )
        found[size.name.lower()] = size
    for line in _CONSTRAINED_LINES:
        for child, parent in _CONSTRAINED:
            of = found.get(f"standard_{parent}{line}".lower())
            if of is not None:
                name, available = f"Standard_{child}{line}", int(child.split("-")[1])
                found[name.lower()] = replace(of, name=name, vcpus_available=available, parent=of.name)
    return found


def find_size(name: str) -> Size | None:
    """By name, without case."""
    return all_sizes().get(name.lower())

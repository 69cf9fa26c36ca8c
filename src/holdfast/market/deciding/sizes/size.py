"""A size as the cloud describes it. A capability that the cloud did not send is unknown, which is not False or 0."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from functools import cached_property, lru_cache
from types import MappingProxyType

__all__ = ["Restriction", "Size", "TempDisk", "cpu_maker"]


class TempDisk(StrEnum):
    """The class of a size's local disk. It decides what a guest finds on D: or /mnt after a move."""

    NONE = "none"
    SCSI = "scsi"  # formatted by the platform: D: or /mnt
    NVME = "nvme"  # raw and empty after every move
    BOTH = "scsi+nvme"


@dataclass(frozen=True)
class Restriction:
    """One restriction entry. `zones` empty = the whole location. `reason` is the cloud's word (QuotaId, …)."""

    reason: str
    zones: frozenset[str] = frozenset()

    @property
    def whole_location(self) -> bool:
        return not self.zones


@dataclass(frozen=True)
class Size:
    """One size in one location.

    `capabilities` holds the cloud's strings verbatim; read them through `flag`, `number` and `words`, which answer
    None for what was not sent. `zones` empty = offered without zones only. `zone_capabilities` = what holds in
    single zones only.
    """

    name: str
    family: str
    location: str
    zones: frozenset[str] = frozenset()
    capabilities: Mapping[str, str] = field(default_factory=dict)
    zone_capabilities: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    restrictions: tuple[Restriction, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "capabilities", MappingProxyType(dict(self.capabilities)))

    def flag(self, name: str) -> bool | None:
        """True or False as sent, None when the cloud sent nothing."""
        value = self.capabilities.get(name)
        return None if value is None or value == "" else value.strip().lower() == "true"

    def number(self, name: str) -> float | None:
        value = self.capabilities.get(name)
        return None if value is None or value == "" else float(value)

    def words(self, name: str) -> frozenset[str] | None:
        """A comma-separated list, such as HyperVGenerations."""
        value = self.capabilities.get(name)
        return None if value is None or value == "" else frozenset(w.strip() for w in value.split(",") if w.strip())

    @cached_property
    def vcpus(self) -> int:
        """Of a constrained size (M8-2ms) the cores that can be used; 0 only if the cloud sent neither number."""
        available = self.number("vCPUsAvailable")
        return int(available if available is not None else self.number("vCPUs") or 0)

    @cached_property
    def memory_gib(self) -> float:
        return self.number("MemoryGB") or 0.0

    @cached_property
    def scsi_temp_gib(self) -> float | None:
        megabytes = self.number("MaxResourceVolumeMB")
        return None if megabytes is None else megabytes / 1024

    @cached_property
    def nvme_temp_gib(self) -> float:
        """Absent = none: Azure sends the name only for sizes that have such disks."""
        return (self.number("NvmeDiskSizeInMiB") or 0.0) / 1024

    @cached_property
    def storage_gib(self) -> float:
        """Local storage in total."""
        return (self.scsi_temp_gib or 0.0) + self.nvme_temp_gib

    @cached_property
    def temp_disk(self) -> TempDisk:
        if self.nvme_temp_gib > 0:
            return TempDisk.BOTH if (self.scsi_temp_gib or 0) > 0 else TempDisk.NVME
        return TempDisk.SCSI if (self.scsi_temp_gib or 0) > 0 else TempDisk.NONE

    @cached_property
    def architecture(self) -> str:
        """Absent = x64: the capability is younger than Arm sizes' absence."""
        return self.capabilities.get("CpuArchitectureType") or "x64"

    @cached_property
    def controllers(self) -> frozenset[str]:
        """Absent = SCSI (the capability came with NVMe)."""
        return self.words("DiskControllerTypes") or frozenset({"SCSI"})

    @cached_property
    def gpus(self) -> int:
        return int(self.number("GPUs") or 0)

    @property
    def confidential_type(self) -> str | None:
        """SNP or TDX; absent = not a size for confidential machines."""
        return self.capabilities.get("ConfidentialComputingType") or None

    @cached_property
    def burstable(self) -> bool:
        return re.match(r"(Standard|Basic)_B\d", self.name) is not None

    @cached_property
    def retires_on(self) -> date | None:
        """Azure writes 09/03/2024 in some answers and 2024-09-03T00:00:00Z in others."""
        text = self.capabilities.get("RetirementDateUtc")
        if not text:
            return None
        if "/" in text:
            return datetime.strptime(text.split()[0], "%m/%d/%Y").date()
        return date.fromisoformat(text[:10])

    @cached_property
    def kind(self) -> str:
        """What Azure's size pages call the family, from its first letter."""
        letters = re.sub(r"^(Standard|Basic|Internal)_", "", self.name)
        head = re.match(r"[A-Z]+", letters)
        return _KINDS.get(head[0] if head else "", "general purpose")


_KINDS = {
    "A": "general purpose",
    "B": "burstable",
    "D": "general purpose",
    "DS": "general purpose",
    "DC": "confidential",
    "E": "memory optimised",
    "EC": "confidential",
    "F": "compute optimised",
    "FX": "compute optimised",
    "FS": "compute optimised",
    "G": "memory optimised",
    "GS": "memory optimised",
    "H": "high performance",
    "HB": "high performance",
    "HC": "high performance",
    "HX": "high performance",
    "L": "storage optimised",
    "M": "memory optimised",
    "NC": "GPU",
    "NCC": "GPU",
    "ND": "GPU",
    "NG": "GPU",
    "NP": "FPGA",
    "NV": "GPU",
}


@lru_cache(maxsize=4096)
def cpu_maker(size_name: str) -> str:
    """AMD, Arm or Intel, from the additive letters of Azure's naming scheme (a = AMD, p = Arm).

    https://learn.microsoft.com/azure/virtual-machines/vm-naming-conventions
    """
    letters = re.match(r"^(?:Standard|Basic)_([A-Z]+)\d+(?:-\d+)?([a-z]*)", size_name)
    additive = letters[2] if letters else ""
    if "p" in additive:
        return "Arm"
    return "AMD" if "a" in additive else "Intel"

"""What the user asks for: named sizes, or ranges of attributes; and what the user agreed to give up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.sizes.size import Size

__all__ = ["SizeWish", "same_attributes", "wish_from_vm_sizes"]


@dataclass(frozen=True)
class SizeWish:
    """Named sizes win over ranges: with `spot_sizes` (or `od_sizes` for on-demand) the ranges are not looked at.

    Memory and storage in GiB, both ends included; storage is the size's local disk. `zones` empty = stay with the
    machine's own zone. The last block is consent: each field switches one default refusal off.
    """

    spot_sizes: tuple[str, ...] = ()
    od_sizes: tuple[str, ...] = ()
    min_cpu: int | None = None
    max_cpu: int | None = None
    min_memory_gib: float | None = None
    max_memory_gib: float | None = None
    min_storage_gib: float | None = None
    max_storage_gib: float | None = None
    excluded: tuple[str, ...] = ()
    preferred: tuple[str, ...] = ()
    zones: tuple[str, ...] = ()
    gpus: int | None = None  # None: as many as the machine has
    capacity_reservation: bool = False

    across_zones: bool = False  # disks may be copied to another zone by snapshot, at that path's downtime
    allow_burstable: bool = False
    allow_other_temp_disk: bool = False
    allow_accelerated_networking_off: bool = False
    drop_placement: bool = False  # leave availability set, placement group or dedicated host
    require_disk_performance: bool = False

    @cached_property
    def named(self) -> frozenset[str]:
        """Every size that is asked for by name, in lower case."""
        return frozenset(name.lower() for name in (*self.spot_sizes, *self.od_sizes))

    @cached_property
    def excluded_names(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.excluded)

    @cached_property
    def preferred_names(self) -> frozenset[str]:
        return frozenset(name.lower() for name in self.preferred)

    @property
    def by_attributes(self) -> bool:
        return not self.spot_sizes


def same_attributes(own: Size) -> SizeWish:
    """The import's default: every size that shares the attributes of the original's size.

    vCPU and memory equal; the hard rules, which apply to every wish, do the rest. A burstable machine may stay
    burstable.
    """
    return SizeWish(
        min_cpu=own.vcpus,
        max_cpu=own.vcpus,
        min_memory_gib=own.memory_gib,
        max_memory_gib=own.memory_gib,
        od_sizes=(own.name,),
        allow_burstable=own.burstable,
    )


_RANGES = {
    "minCpu": "min_cpu",
    "maxCpu": "max_cpu",
    "minMemory": "min_memory_gib",
    "maxMemory": "max_memory_gib",
    "minStorage": "min_storage_gib",
    "maxStorage": "max_storage_gib",
    "MaxStorage": "max_storage_gib",  # the description's spelling; Python, Go and Terraform send the other
}


def wish_from_vm_sizes(vm_sizes: Mapping[str, Any], zones: tuple[str, ...] = ()) -> SizeWish:
    """Read `compute.vmSizes` of a node's JSON. Unknown fields are refused with their path."""
    known = {"odSizes", "spotSizes", "spotSizeAttributes", "excludedVmSizes", "preferredSpotSizes"}
    for key in vm_sizes:
        if key not in known:
            raise InvalidInput(field=f"compute.vmSizes.{key}", problem="this field is not known")
    ranges: dict[str, Any] = {}
    for key, value in (vm_sizes.get("spotSizeAttributes") or {}).items():
        path = f"compute.vmSizes.spotSizeAttributes.{key}"
        if key not in _RANGES:
            raise InvalidInput(field=path, problem="this field is not known")
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
            raise InvalidInput(field=path, problem=f"expected a number that is not negative, got {value!r}")
        ranges[_RANGES[key]] = value
    for low, high in (("min_cpu", "max_cpu"), ("min_memory_gib", "max_memory_gib")):
        if low in ranges and high in ranges and ranges[low] > ranges[high]:
            raise InvalidInput(field="compute.vmSizes.spotSizeAttributes", problem=f"{low} is greater than {high}")
    wish = SizeWish(
        spot_sizes=tuple(vm_sizes.get("spotSizes") or ()),
        od_sizes=tuple(vm_sizes.get("odSizes") or ()),
        excluded=tuple(vm_sizes.get("excludedVmSizes") or ()),
        preferred=tuple(vm_sizes.get("preferredSpotSizes") or ()),
        zones=zones,
        **ranges,
    )
    if wish.spot_sizes:
        strangers = sorted(set(map(str.lower, wish.preferred)) - set(map(str.lower, wish.spot_sizes)))
        if strangers:
            raise InvalidInput(
                field="compute.vmSizes.preferredSpotSizes", problem=f"not among spotSizes: {', '.join(strangers)}"
            )
    return wish

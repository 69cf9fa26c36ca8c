"""compute: operating system, sizes and zones (page 3.2)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from holdfast.nodes.spec.base import Section
from holdfast.nodes.spec.launch import LaunchSpecification

__all__ = ["Compute", "SizeAttributes", "VmSizes"]

Zone = Literal["1", "2", "3"]


class SizeAttributes(Section):
    """Ranges over vCPUs and GiB, both ends inclusive. `MaxStorage` is how Spot's description spells maxStorage."""

    min_cpu: Annotated[int, Field(ge=1)] | None = None
    max_cpu: Annotated[int, Field(ge=1)] | None = None
    min_memory: Annotated[float, Field(ge=0)] | None = None
    max_memory: Annotated[float, Field(ge=0)] | None = None
    min_storage: Annotated[float, Field(ge=0)] | None = None
    max_storage: Annotated[float, Field(ge=0)] | None = Field(
        default=None, validation_alias=AliasChoices("maxStorage", "MaxStorage"), serialization_alias="maxStorage"
    )


class VmSizes(Section):
    """Lower-case Azure size names. Neither spotSizes nor spotSizeAttributes: sizes like the original's (page 5.5)."""

    od_sizes: list[str] | None = None
    spot_sizes: list[str] | None = None
    spot_size_attributes: SizeAttributes | None = None
    excluded_vm_sizes: list[str] | None = None
    preferred_spot_sizes: list[str] | None = None


class Compute(Section):
    os: Literal["Linux", "Windows"] | None = None
    vm_sizes: VmSizes | None = None
    zones: list[Zone] | None = None
    preferred_zone: Zone | None = None
    launch_specification: LaunchSpecification | None = None
    load_balancers_config: dict[str, Any] | None = None  # the Java client has it here

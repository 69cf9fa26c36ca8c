"""The api-version that each resource type is read and written with. A document stays at the one it was read with."""

from __future__ import annotations

from holdfast.clouds.azure.ids import parse_id_or_none
from holdfast.core.errors import InvalidInput

__all__ = [
    "LOCKS",
    "PERMISSIONS",
    "PRICES",
    "PROVIDERS",
    "ROLE_ASSIGNMENTS",
    "SKUS",
    "SUBSCRIPTIONS",
    "TAGS",
    "USAGES",
    "version_for",
    "version_of_type",
]

# The newest versions whose schemas are published as stable: the newer, the less a GET leaves out.
_VERSIONS = {
    "microsoft.compute/virtualmachines": "2026-03-01",
    "microsoft.compute/virtualmachines/extensions": "2026-03-01",
    "microsoft.compute/images": "2026-03-01",
    "microsoft.compute/availabilitysets": "2026-03-01",
    "microsoft.compute/proximityplacementgroups": "2026-03-01",
    "microsoft.compute/capacityreservationgroups": "2026-03-01",
    "microsoft.compute/capacityreservationgroups/capacityreservations": "2026-03-01",
    "microsoft.compute/disks": "2026-03-02",
    "microsoft.compute/snapshots": "2026-03-02",
    "microsoft.compute/diskencryptionsets": "2026-03-02",
    "microsoft.compute/galleries": "2025-12-03",
    "microsoft.compute/galleries/images": "2025-12-03",
    "microsoft.compute/galleries/images/versions": "2025-12-03",
    "microsoft.network/networkinterfaces": "2025-07-01",
    "microsoft.network/publicipaddresses": "2025-07-01",
    "microsoft.network/virtualnetworks": "2025-07-01",
    "microsoft.network/virtualnetworks/subnets": "2025-07-01",
    "microsoft.network/networksecuritygroups": "2025-07-01",
    "microsoft.network/applicationsecuritygroups": "2025-07-01",
    "microsoft.network/loadbalancers": "2025-07-01",
}

SUBSCRIPTIONS = "2022-12-01"
PROVIDERS = "2021-04-01"
TAGS = "2021-04-01"  # Microsoft.Resources/tags/default
PERMISSIONS = "2022-04-01"
ROLE_ASSIGNMENTS = "2022-04-01"
LOCKS = "2020-05-01"
SKUS = "2021-07-01"
USAGES = "2026-03-01"  # of Microsoft.Compute
PRICES = "2023-01-01-preview"


def version_of_type(type_name: str) -> str:
    """Raises InvalidInput for a type that this client does not know."""
    version = _VERSIONS.get(type_name.lower())
    if version is None:
        raise InvalidInput(field="type", problem=f"no api-version is known for {type_name}")
    return version


def version_for(ref: str) -> str:
    """The api-version for a resource's id, or for the id of a resource group."""
    found = parse_id_or_none(ref)
    if found is not None:
        return version_of_type(found.type)
    if ref.count("/") == 4 and "/resourcegroups/" in ref.lower():
        return PROVIDERS
    raise InvalidInput(field="ref", problem=f"'{ref}' is not the id of an Azure resource")

"""One rule per file. The order is the order of the funnel: what the market sells, what was asked, what disks need.

To add a rule: a file with one `@rule`, a line here, a twin in `tests/unit/market/sizes`.
"""

from holdfast.market.deciding.sizes.judging import Rule
from holdfast.market.deciding.sizes.rules.accelerated_networking import accelerated_networking
from holdfast.market.deciding.sizes.rules.accelerators import accelerators
from holdfast.market.deciding.sizes.rules.architecture import architecture
from holdfast.market.deciding.sizes.rules.capacity_reservation import capacity_reservation
from holdfast.market.deciding.sizes.rules.confidential import confidential
from holdfast.market.deciding.sizes.rules.data_disks import data_disks
from holdfast.market.deciding.sizes.rules.disk_controller import disk_controller
from holdfast.market.deciding.sizes.rules.disk_performance import disk_performance
from holdfast.market.deciding.sizes.rules.encryption_at_host import encryption_at_host
from holdfast.market.deciding.sizes.rules.ephemeral_os_disk import ephemeral_os_disk
from holdfast.market.deciding.sizes.rules.excluded import excluded
from holdfast.market.deciding.sizes.rules.generation import generation
from holdfast.market.deciding.sizes.rules.lifetime import lifetime
from holdfast.market.deciding.sizes.rules.memory import memory
from holdfast.market.deciding.sizes.rules.nics import nics
from holdfast.market.deciding.sizes.rules.page_file import page_file
from holdfast.market.deciding.sizes.rules.placement import placement
from holdfast.market.deciding.sizes.rules.premium_storage import premium_storage
from holdfast.market.deciding.sizes.rules.quota import quota
from holdfast.market.deciding.sizes.rules.restrictions import restrictions
from holdfast.market.deciding.sizes.rules.spot_allowed import spot_allowed
from holdfast.market.deciding.sizes.rules.storage import storage
from holdfast.market.deciding.sizes.rules.temp_disk import temp_disk
from holdfast.market.deciding.sizes.rules.trusted_launch import trusted_launch
from holdfast.market.deciding.sizes.rules.ultra_disks import ultra_disks
from holdfast.market.deciding.sizes.rules.vcpus import vcpus
from holdfast.market.deciding.sizes.rules.write_accelerator import write_accelerator
from holdfast.market.deciding.sizes.rules.zones import reachable_zones, zones

__all__ = ["RULES", "reachable_zones"]

RULES: tuple[Rule, ...] = (
    spot_allowed,
    excluded,
    restrictions,
    zones,
    vcpus,
    memory,
    storage,
    accelerators,
    lifetime,
    generation,
    architecture,
    disk_controller,
    premium_storage,
    ultra_disks,
    data_disks,
    disk_performance,
    write_accelerator,
    nics,
    accelerated_networking,
    trusted_launch,
    confidential,
    encryption_at_host,
    ephemeral_os_disk,
    capacity_reservation,
    quota,
    placement,
    temp_disk,
    page_file,
)

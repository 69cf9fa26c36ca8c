"""What a machine asks of a size: facts that follow its disks, network and security from one size to the next."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.market.deciding.sizes.size import TempDisk

__all__ = ["MachineTraits"]


@dataclass(frozen=True)
class MachineTraits:
    """Cloud-neutral; `azure_traits.traits_of` fills it from Azure's documents.

    None stands for "nobody knows", and a rule that needs the answer says so. `zone` is where zone-pinned disks lie
    (None: a machine without a zone); `zone_redundant` means that every disk can be attached in any zone.
    """

    name: str = ""
    location: str = ""
    own_size: str = ""
    os: str = "linux"  # linux | windows
    vcpus: int = 0
    memory_gib: float = 0.0
    architecture: str = "x64"  # x64 | Arm64, of the OS disk
    generation: str | None = "V2"  # V1 | V2, of the OS disk; None: no disk yet, any
    controller: str = "SCSI"  # what the guest boots from today
    controllers_supported: frozenset[str] = frozenset({"SCSI"})  # what the OS disk says that it can boot from
    nvme_driver: bool | None = None  # in the guest's initramfs
    temp_disk: TempDisk | None = TempDisk.NONE  # None: no machine yet, any class
    page_file_on_temp: bool | None = False
    swap_on_temp: bool | None = False
    premium_disks: bool = False
    ultra_or_premium_v2_disks: bool = False
    data_disks: int = 0
    highest_lun: int = -1
    provisioned_iops: int = 0
    provisioned_bytes_per_s: int = 0
    host_caching: bool = False
    write_accelerator_disks: int = 0
    zone: str | None = None
    zone_redundant: bool = False
    nics: int = 1
    accelerated_networking: bool = False
    security_type: str = "Standard"  # Standard | TrustedLaunch | ConfidentialVM
    vtpm: bool = False
    confidential_type: str | None = None  # SNP | TDX
    encryption_at_host: bool = False
    ephemeral_os_disk: bool = False
    gpus: int = 0
    rdma: bool = False
    burstable: bool = False
    availability_set: bool = False
    proximity_group: bool = False
    dedicated_host: bool = False

"""Which Azure actions an import needs, by variant. The plan names those that the credential lacks."""

from __future__ import annotations

from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource

__all__ = ["needed_actions"]

_ALWAYS = (
    "Microsoft.Compute/virtualMachines/read",
    "Microsoft.Compute/virtualMachines/write",
    "Microsoft.Compute/virtualMachines/delete",
    "Microsoft.Compute/virtualMachines/start/action",
    "Microsoft.Compute/virtualMachines/powerOff/action",
    "Microsoft.Compute/virtualMachines/deallocate/action",
    "Microsoft.Compute/disks/read",
    "Microsoft.Compute/disks/beginGetAccess/action",
    "Microsoft.Compute/disks/delete",
    "Microsoft.Compute/snapshots/read",
    "Microsoft.Compute/snapshots/write",
    "Microsoft.Compute/snapshots/delete",
    "Microsoft.Network/networkInterfaces/read",
    "Microsoft.Network/networkInterfaces/join/action",
    "Microsoft.Network/publicIPAddresses/read",
    "Microsoft.Resources/tags/write",
)
_NEW_DISKS = ("Microsoft.Compute/disks/write",)
_NEW_NETWORK = (
    "Microsoft.Network/networkInterfaces/write",
    "Microsoft.Network/networkInterfaces/delete",
    "Microsoft.Network/virtualNetworks/subnets/join/action",
)
_NEW_ADDRESS = (
    "Microsoft.Network/publicIPAddresses/write",
    "Microsoft.Network/publicIPAddresses/delete",
    "Microsoft.Network/publicIPAddresses/join/action",
)
_POOLS = ("Microsoft.Network/loadBalancers/backendAddressPools/join/action",)


def needed_actions(options: ImportOptions, *, has_address: bool, has_pools: bool) -> tuple[str, ...]:
    """In the order in which they are listed to people."""
    needed = list(_ALWAYS)
    if options.disks is DiskSource.SNAPSHOT:
        needed += _NEW_DISKS
    if options.network is NetworkSource.NEW:
        needed += _NEW_NETWORK
        if has_address:
            needed += _NEW_ADDRESS
    if has_pools:
        needed += [*_POOLS, "Microsoft.Network/networkInterfaces/write"]
    return tuple(dict.fromkeys(needed))

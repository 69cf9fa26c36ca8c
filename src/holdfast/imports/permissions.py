"""Which Azure actions an import needs, by variant and machine. The plan names those that the credential lacks."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.azure.succession import blobs_of
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.clouds.protocols import Facts
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource

__all__ = ["needed_actions"]

_MACHINE = "Microsoft.Compute/virtualMachines"
_ALWAYS = (
    f"{_MACHINE}/read",
    f"{_MACHINE}/write",
    f"{_MACHINE}/delete",
    f"{_MACHINE}/start/action",
    f"{_MACHINE}/powerOff/action",
    f"{_MACHINE}/deallocate/action",
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


def needed_actions(options: ImportOptions, facts: Facts) -> tuple[str, ...]:
    """In the order in which they are listed to people; the ways back included."""
    return tuple(dict.fromkeys((*_ALWAYS, *_by_variant(options, facts), *_by_machine(options, facts))))


def _by_variant(options: ImportOptions, facts: Facts) -> Iterator[str]:
    if options.disks is DiskSource.SNAPSHOT:
        yield "Microsoft.Compute/disks/write"
    if options.network is NetworkSource.NEW:
        yield from _NEW_NETWORK
        if facts.public_ips:
            yield from _NEW_ADDRESS
        if any(nic.get("properties.networkSecurityGroup.id") for nic in facts.nics):
            yield "Microsoft.Network/networkSecurityGroups/join/action"
        if any(_configurations(nic.body, "applicationSecurityGroups") for nic in facts.nics):
            yield "Microsoft.Network/applicationSecurityGroups/joinIpConfiguration/action"


def _by_machine(options: ImportOptions, facts: Facts) -> Iterator[str]:
    if options.convert_unmanaged_disks and blobs_of(facts):
        yield f"{_MACHINE}/convertToManagedDisks/action"
    joined = [ref.lower() for nic in facts.nics for ref in pools_of(nic)]
    if joined:
        yield "Microsoft.Network/networkInterfaces/write"
    if any("/backendaddresspools/" in ref and "/loadbalancers/" in ref for ref in joined):
        yield "Microsoft.Network/loadBalancers/backendAddressPools/join/action"
    if any("/inboundnatrules/" in ref for ref in joined):
        yield "Microsoft.Network/loadBalancers/inboundNatRules/join/action"
    if any("/applicationgateways/" in ref for ref in joined):
        yield "Microsoft.Network/applicationGateways/backendAddressPools/join/action"
    if (options.object_goes and facts.extensions) or options.recreate_extensions:
        yield f"{_MACHINE}/extensions/write"
    if (facts.machine.body.get("identity") or {}).get("userAssignedIdentities"):
        yield "Microsoft.ManagedIdentity/userAssignedIdentities/assign/action"


def _configurations(body: dict[str, object], key: str) -> bool:
    properties = body.get("properties")
    configurations = properties.get("ipConfigurations", []) if isinstance(properties, dict) else []
    return any(one.get("properties", {}).get(key) for one in configurations)

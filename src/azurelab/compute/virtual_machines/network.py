"""A machine's network cards, as the network profile of a PUT or PATCH says. Runs in `prepare`, under the lock."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import bad_request, conflict, invalid_parameter
from azurelab.compute.disk_sources import absolute_id
from azurelab.compute.virtual_machines.rules import Shape
from azurelab.network.attachment import attach, check_free, detach

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["card_ids", "settle_network"]


def card_ids(properties: dict[str, Any]) -> list[str]:
    cards = (properties.get("networkProfile") or {}).get("networkInterfaces") or []
    return [str(c["id"]) for c in cards if isinstance(c, dict) and c.get("id")]


def settle_network(ctx: Context, shape: Shape) -> None:
    """Check the cards, give back those that left, take those that came."""
    properties = ctx.resource.properties
    profile = properties.get("networkProfile")
    listed = profile.get("networkInterfaces") if isinstance(profile, dict) else None
    if ctx.before is None and isinstance(profile, dict) and profile.get("networkInterfaceConfigurations"):
        raise bad_request(
            "InvalidParameter",
            "This lab makes no network interfaces from networkInterfaceConfigurations; create them first.",
            "networkProfile.networkInterfaceConfigurations",
        )
    if not isinstance(listed, list) or not listed:
        raise invalid_parameter("networkProfile", "Required parameter 'networkProfile' is missing (null).")
    for card in listed:
        if not isinstance(card, dict) or not card.get("id"):
            raise invalid_parameter(
                "networkInterface.id", "Required parameter 'networkInterface.id' is missing (null)."
            )
        card["id"] = absolute_id(str(card["id"]))
    ids = [str(card["id"]) for card in listed]
    if len({i.lower() for i in ids}) != len(ids):
        raise invalid_parameter("networkInterfaces", "A network interface is listed twice.")
    if len(ids) > shape.max_nics:
        raise bad_request(
            "NetworkInterfaceCountExceeded",
            f"The number of network interfaces for virtual machine {ctx.id.name} exceeds the maximum allowed for the "
            f"virtual machine size {shape.name}. The number of network interfaces is {len(ids)} and the maximum "
            f"allowed is {shape.max_nics}.",
        )
    primary = _primary(ids, listed)
    for nic_id in ids:
        nic = check_free(ctx, nic_id, ctx.resource.id)
        if nic.location != ctx.resource.location:
            raise bad_request("BadRequest", f"Network interface {nic.id} is not in the region of the VM.")
    had = card_ids(ctx.before.properties) if ctx.before is not None else []
    if ctx.before is not None and {i.lower() for i in had} != {i.lower() for i in ids}:
        _change(ctx, had, ids)
    for nic_id in ids:
        attach(ctx, nic_id, ctx.resource.id, primary=nic_id == primary)


def _primary(ids: list[str], listed: list[dict[str, Any]]) -> str:
    marked = [str(c["id"]) for c in listed if (c.get("properties") or {}).get("primary")]
    if len(marked) > 1 or (len(ids) > 1 and not marked):
        raise bad_request(
            "VirtualMachineMustHaveOnePrimaryNetworkInterface",
            f"Virtual machine must have one network interface set as the primary; {len(marked)} are marked.",
        )
    return marked[0] if marked else ids[0]


def _change(ctx: Context, had: list[str], ids: list[str]) -> None:
    """Cards come and go only while the machine is deallocated; one always remains."""
    assert ctx.before is not None
    if ctx.before.hidden.get("power") not in ("deallocated", None):
        raise conflict(
            "AddingOrDeletingNetworkInterfacesOnARunningVirtualMachineNotSupported",
            f"Secondary network interfaces cannot be added or removed from a running virtual machine. The virtual "
            f"machine {ctx.id.name} must be deallocated first.",
        )
    kept = {i.lower() for i in had} & {i.lower() for i in ids}
    if not kept:
        raise conflict(
            "OperationNotAllowed",
            f"The only network interface of virtual machine {ctx.id.name} cannot be taken away while the virtual "
            f"machine exists.",
        )
    for nic_id in had:
        if nic_id.lower() not in {i.lower() for i in ids}:
            detach(ctx, nic_id, ctx.resource.id)

"""How machines hold network cards. Used by compute's effects; every function repeats safely.

check_free(ctx, nic_id, vm_id)    raises what Azure answers when a card cannot be taken
attach(ctx, nic_id, vm_id, …)     the card names its machine
bring_up(ctx, vm_id)              the machine runs: hardware addresses, dynamic public addresses
take_down(ctx, vm_id)             deallocated: dynamic public addresses go back; the private ones stay
detach(ctx, nic_id, vm_id)        the card is free (VM deleted, or taken out of a deallocated VM)
cards(store, vm_id)               what a hypervisor needs to know, primary first
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.store import Resource, Store
from azurelab.network.addresses import mac_of
from azurelab.network.interfaces import NIC_TYPE, configurations, network_guid
from azurelab.network.public_ips import give_address, is_dynamic, take_address
from azurelab.network.virtual_networks import prefixes_of

__all__ = ["Card", "NicListener", "attach", "bring_up", "cards", "check_free", "detach", "take_down"]

NicListener = Callable[[str, str], None]
"""(card's id, machine's id): a card that a machine holds has changed; `lab.nic_listeners` are called after commit."""


@dataclass(frozen=True)
class Card:
    """One card. `mac` is 00-0D-3A-…; `public_ip` an address of 127.0.0.0/8 that is assigned now, or None."""

    nic_id: str
    mac: str
    private_ip: str
    prefix_length: int
    public_ip: str | None
    primary: bool
    subnet_id: str


def check_free(ctx: Context, nic_id: str, vm_id: str) -> Resource:
    """The card, if it exists, lies in no other machine. ArmError as Azure's VM PUT answers."""
    nic = ctx.store.get(nic_id)
    if nic is None or nic.type != NIC_TYPE:
        raise ArmError(
            400,
            "InvalidParameter" if nic is not None else "NetworkInterfaceNotFound",
            f"Network interface {nic_id} was not found. Please make sure that the referenced resource exists, and that "
            f"both resources are in the same region.",
            target="networkInterface",
        )
    holder = (nic.properties.get("virtualMachine") or {}).get("id")
    if holder and holder.lower() != vm_id.lower():
        raise ArmError(
            400,
            "NicInUse",
            f"Network Interface {nic.id} is used by existing resource {holder}. In order to delete the network "
            f"interface, it must be dissociated from the resource. To learn more, see aka.ms/deletenic.",
        )
    return nic


def attach(ctx: Context, nic_id: str, vm_id: str, *, primary: bool) -> None:
    """The card belongs to the machine from now on (checked first)."""
    nic = check_free(ctx, nic_id, vm_id)
    had = (nic.properties.get("virtualMachine") or {}).get("id")
    with ctx.edit(nic.id) as r:
        r.properties["macAddress"] = _mac(ctx, nic)
        r.properties["virtualMachine"] = {"id": vm_id}
        r.properties["primary"] = primary
    if not had:
        ctx.log("attached", nic.id, to=vm_id, what="nic")


def detach(ctx: Context, nic_id: str, vm_id: str) -> None:
    """Free again, with its private and hardware address. Another machine's card is left alone."""
    nic = ctx.store.get(nic_id)
    if nic is None or ((nic.properties.get("virtualMachine") or {}).get("id") or "").lower() != vm_id.lower():
        return
    _down(ctx, nic)
    with ctx.edit(nic.id) as r:
        for word in ("virtualMachine", "primary"):
            r.properties.pop(word, None)
    ctx.log("detached", nic.id, of=vm_id, what="nic")


def bring_up(ctx: Context, vm_id: str) -> None:
    """Before a machine's guest starts."""
    for nic in ctx.store.referring(vm_id, NIC_TYPE):
        mac = _mac(ctx, nic)
        if not nic.hidden.get("up") or nic.properties.get("macAddress") != mac:
            with ctx.edit(nic.id) as r:
                r.hidden["up"] = True
                r.properties["macAddress"] = mac
        for config in configurations(nic):
            pip_id = (config["properties"].get("publicIPAddress") or {}).get("id")
            found = ctx.store.get(pip_id) if pip_id else None
            if found is not None and not found.properties.get("ipAddress"):
                with ctx.edit(found.id) as pip:
                    give_address(ctx, pip)


def take_down(ctx: Context, vm_id: str) -> None:
    """After a machine was deallocated (or evicted so)."""
    for nic in ctx.store.referring(vm_id, NIC_TYPE):
        _down(ctx, nic)


def _mac(ctx: Context, nic: Resource) -> str:
    return mac_of(network_guid(ctx.store, nic), configurations(nic)[0]["properties"]["privateIPAddress"])


def _down(ctx: Context, nic: Resource) -> None:
    if nic.hidden.get("up"):
        with ctx.edit(nic.id) as r:
            r.hidden.pop("up", None)
    for config in configurations(nic):
        pip_id = (config["properties"].get("publicIPAddress") or {}).get("id")
        found = ctx.store.get(pip_id) if pip_id else None
        if found is not None and is_dynamic(found) and found.properties.get("ipAddress"):
            with ctx.edit(found.id) as pip:
                take_address(ctx, pip)


def cards(store: Store, vm_id: str) -> list[Card]:
    """The machine's cards, each with its primary configuration; the primary card first."""
    found = []
    for nic in store.referring(vm_id, NIC_TYPE):
        if (nic.properties.get("virtualMachine") or {}).get("id", "").lower() != vm_id.lower():
            continue
        config = next((c for c in configurations(nic) if c["properties"].get("primary")), configurations(nic)[0])
        p = config["properties"]
        subnet = store.get(p["subnet"]["id"])
        pip_id = (p.get("publicIPAddress") or {}).get("id")
        pip = store.get(pip_id) if pip_id else None
        found.append(
            Card(
                nic_id=nic.id,
                mac=nic.properties.get("macAddress") or mac_of(network_guid(store, nic), p["privateIPAddress"]),
                private_ip=p["privateIPAddress"],
                prefix_length=prefixes_of(subnet)[0].prefixlen if subnet is not None else 24,
                public_ip=pip.properties.get("ipAddress") if pip is not None else None,
                primary=bool(nic.properties.get("primary")),
                subnet_id=p["subnet"]["id"],
            )
        )
    return sorted(found, key=lambda c: not c.primary)

"""Microsoft.Network/networkInterfaces: cards with private addresses of their subnet and, if wished, public ones.

A private address stays with its card while the card lives in that subnet, dynamic or static. A card that a machine
holds cannot be deleted or taken by another machine; `attachment` is how machines hold cards.

Ignored: enableIPForwarding and enableAcceleratedNetworking are kept, but change no packet.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource, Store
from azurelab.arm.types import NETWORK, Etags, Lro, ResourceType, Verb
from azurelab.network.addresses import first_free_private, is_usable, mac_of, suffix_of
from azurelab.network.effective import ACTIONS
from azurelab.network.errors import NetworkError
from azurelab.network.fields import CARD
from azurelab.network.parts import format_error, reference, referenced
from azurelab.network.public_ips import give_address, is_dynamic, take_address, user_of
from azurelab.network.spelling import SPELLING
from azurelab.network.virtual_networks import prefixes_of

__all__ = ["NIC_TYPE", "TYPES", "configurations", "network_guid", "private_addresses"]

NIC_TYPE = "Microsoft.Network/networkInterfaces"


def configurations(nic: Resource) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = nic.properties.get("ipConfigurations") or []
    return found


def private_addresses(store: Store, subnet_id: str, *, but: str = "") -> dict[str, str]:
    """address → id of the IP configuration that holds it, of everybody in the subnet but the resource `but` (key)."""
    key = subnet_id.lower()
    taken: dict[str, str] = {}
    for holder in store.referring(subnet_id):
        if holder.key == but:
            continue
        for word in ("ipConfigurations", "frontendIPConfigurations"):
            for config in holder.properties.get(word) or ():
                p = config["properties"]
                if (p.get("subnet") or {}).get("id", "").lower() == key and p.get("privateIPAddress"):
                    taken[p["privateIPAddress"]] = config["id"]
    return taken


def network_guid(store: Store, nic: Resource) -> str:
    """resourceGuid of the virtual network that the card's first configuration lies in."""
    first = configurations(nic)[0]["properties"]["subnet"]["id"]
    vnet = store.get(first.rsplit("/subnets/", 1)[0])
    return str(vnet.properties["resourceGuid"]) if vnet is not None else ""


def _prepare(ctx: Context) -> None:
    nic, before = ctx.resource, ctx.before
    p = nic.properties
    given = p.get("ipConfigurations")
    if not given:
        raise NetworkError(
            400,
            "NetworkInterfaceMustHaveIpConfiguration",  # (unverified)
            f"Network interface {nic.id} must have one or more IP configurations.",
        )
    old = {c["name"].lower(): c for c in configurations(before)} if before is not None else {}
    names: set[str] = set()
    taken_now: set[str] = set()
    done = []
    for at, config in enumerate(given):
        if not isinstance(config, dict) or not isinstance(config.get("name"), str):
            raise format_error(f"Resource name is missing in ipConfigurations of {nic.id}.", "ipConfigurations")
        if config["name"].lower() in names:
            raise NetworkError(
                400, "DuplicateResourceName", f"Resource {nic.id} has two child resources named {config['name']}."
            )
        names.add(config["name"].lower())
        done.append(_configuration(ctx, nic, config, old.get(config["name"].lower()), at, taken_now))
    if sum(1 for c in done if c["properties"].get("primary")) != 1:
        for at, config in enumerate(done):
            config["properties"]["primary"] = at == 0
    p["ipConfigurations"] = done
    _check_networks(ctx, nic, before)
    nsg = reference(p, "networkSecurityGroup")
    if nsg is not None:
        referenced(ctx, nsg, nic.id)
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    dns = p["dnsSettings"] = dict(p.get("dnsSettings") or {})
    dns.setdefault("dnsServers", [])
    dns.setdefault("appliedDnsServers", [])
    dns["internalDomainNameSuffix"] = suffix_of(network_guid(ctx.store, nic))
    if dns.get("internalDnsNameLabel"):
        dns["internalFqdn"] = f"{dns['internalDnsNameLabel']}.{dns['internalDomainNameSuffix']}"
    for word in ("enableAcceleratedNetworking", "enableIPForwarding", "disableTcpStateTracking"):
        p.setdefault(word, False)
    p.setdefault("hostedWorkloads", [])
    p.setdefault("tapConfigurations", [])
    p.setdefault("nicType", "Standard")
    p.setdefault("vnetEncryptionSupported", False)
    p.setdefault("allowPort25Out", True)
    p.setdefault("defaultOutboundConnectivityEnabled", False)
    for word in ("auxiliaryMode", "auxiliarySku"):
        p.setdefault(word, "None")
    if p.get("virtualMachine"):
        p["macAddress"] = mac_of(network_guid(ctx.store, nic), done[0]["properties"]["privateIPAddress"])


def _configuration(
    ctx: Context, nic: Resource, config: dict[str, Any], old: dict[str, Any] | None, at: int, taken_now: set[str]
) -> dict[str, Any]:
    """One IP configuration, complete: its private address, checked references, its id."""
    config_id = f"{nic.id}/ipConfigurations/{config['name']}"
    p = dict(config.get("properties") or {})
    subnet_id = reference(p, "subnet")
    if subnet_id is None:
        raise NetworkError(400, "SubnetNotSpecified", f"Subnet must be specified for IP configuration {config_id}.")
    subnet = referenced(ctx, subnet_id, nic.id)
    p["subnet"] = {"id": subnet.id if p["subnet"].get("id") is None else p["subnet"]["id"]}
    p.setdefault("privateIPAllocationMethod", "Dynamic")
    p.setdefault("privateIPAddressVersion", "IPv4")
    p["provisioningState"] = "Succeeded"
    p["privateIPAddress"] = _private_address(ctx, nic, subnet, p, old, config_id, taken_now)
    taken_now.add(p["privateIPAddress"])
    pip_id = reference(p, "publicIPAddress")
    if pip_id is None:
        p.pop("publicIPAddress", None)
    else:
        pip = referenced(ctx, pip_id, nic.id)
        holder = user_of(ctx.store, pip.id)
        if holder is not None and holder.lower() != config_id.lower():
            raise NetworkError(
                400,
                "PublicIPAddressInUse",
                f"Resource {config_id} is referencing public IP address {pip.id} that is already allocated to resource "
                f"{holder}.",
            )
        p["publicIPAddress"] = {k: v for k, v in p["publicIPAddress"].items() if k in ("id", "properties")}
        option = (p["publicIPAddress"].pop("properties", None) or {}).get("deleteOption")
        if option is not None:
            p["publicIPAddress"]["properties"] = {"deleteOption": option}
    for word in ("loadBalancerBackendAddressPools", "loadBalancerInboundNatRules", "applicationSecurityGroups"):
        items = p.get(word)
        if items is None:
            p.pop(word, None)
            continue
        p[word] = [{"id": referenced(ctx, str((i or {}).get("id")), nic.id).id} for i in items]
        if not items:
            p.pop(word)
    if at == 0:
        p.setdefault("primary", True)
    p.setdefault("primary", False)
    return {
        "name": config["name"],
        "id": config_id,
        "type": "Microsoft.Network/networkInterfaces/ipConfigurations",
        "properties": p,
    }


def _private_address(
    ctx: Context,
    nic: Resource,
    subnet: Resource,
    p: dict[str, Any],
    old: dict[str, Any] | None,
    config_id: str,
    taken_now: set[str],
) -> str:
    prefixes = [n for n in prefixes_of(subnet) if f"IPv{n.version}" == p["privateIPAddressVersion"]]
    wanted = p.get("privateIPAddress")
    static = str(p["privateIPAllocationMethod"]).lower() == "static"
    held = None
    if old is not None and old["properties"]["subnet"]["id"].lower() == subnet.key:
        held = old["properties"].get("privateIPAddress")
    if wanted is None or (not static and held is not None):
        # What a card has in this subnet it keeps, also when it changes between dynamic and static.
        wanted = held if held is not None else None
        if wanted is not None:
            return str(wanted)
    taken = private_addresses(ctx.store, subnet.id, but=nic.key)
    if wanted is None or not static:
        free = first_free_private(prefixes, taken.keys() | taken_now)
        if free is None:
            raise NetworkError(
                400,
                "SubnetIsFull",
                f"Subnet {subnet.name} with address prefix {prefixes[0] if prefixes else ''} does not have enough "
                f"capacity for 1 IP addresses.",
            )
        return free
    text = str(wanted)
    usable = [u for u in (is_usable(n, text) for n in prefixes) if u is not None]
    if not usable:
        raise NetworkError(
            400,
            "PrivateIPAddressNotInSubnet",
            f"Private static IP address {text} does not belong to the range of subnet prefix "
            f"{', '.join(map(str, prefixes))}.",
        )
    if not usable[0]:
        raise NetworkError(
            400,
            "PrivateIPAddressInReservedRange",
            f"Private static IP address {text} falls within reserved IP range of subnet prefix {prefixes[0]}.",
        )
    if text in taken or text in taken_now:
        raise NetworkError(
            400,
            "PrivateIPAddressIsAllocated",
            f"IP configuration {config_id} is using the private IP address {text} which is already allocated to "
            f"resource {taken.get(text, config_id)}.",
        )
    return text


def _check_networks(ctx: Context, nic: Resource, before: Resource | None) -> None:
    """All configurations in one network; and a card that a machine holds stays in it."""

    def networks(r: Resource) -> set[str]:
        return {c["properties"]["subnet"]["id"].lower().rsplit("/subnets/", 1)[0] for c in configurations(r)}

    mine = networks(nic)
    if len(mine) > 1:
        raise NetworkError(
            400,
            "SubnetsNotInSameVnet",
            f"All subnets referenced by resource {nic.id} must belong to the same virtual network.",
        )
    if before is not None and before.properties.get("virtualMachine") and networks(before) != mine:
        raise NetworkError(
            400,
            "SubnetsNotInSameVnet",
            f"Virtual network of network interface {nic.id} cannot be changed while it is used by "
            f"{before.properties['virtualMachine']['id']}.",
        )


def _finish(ctx: Context) -> None:
    """Public addresses that came or went; the machine hears of it."""
    nic = ctx.resource
    now = _public_of(nic)
    for pip_id in set(ctx.memo.get("public", ())) - now:
        pip = ctx.store.get(pip_id)
        if pip is not None and is_dynamic(pip):
            with ctx.edit(pip_id) as freed:
                take_address(ctx, freed)
    if nic.hidden.get("up"):
        for pip_id in now:
            with ctx.edit(pip_id) as pip:
                give_address(ctx, pip)
    machine = (nic.properties.get("virtualMachine") or {}).get("id")
    if machine:
        for listener in ctx.lab.nic_listeners:
            ctx.store.after_commit(lambda listener=listener: listener(nic.id, machine))  # type: ignore[misc]


def _public_of(nic: Resource) -> set[str]:
    return {
        c["properties"]["publicIPAddress"]["id"].lower()
        for c in configurations(nic)
        if c["properties"].get("publicIPAddress")
    }


def _prepare_put(ctx: Context) -> None:
    _prepare(ctx)
    if ctx.before is not None:
        ctx.memo["public"] = sorted(_public_of(ctx.before))


def _refuse_used(ctx: Context) -> None:
    nic = ctx.resource
    holder = (nic.properties.get("virtualMachine") or nic.properties.get("privateEndpoint") or {}).get("id")
    if holder:
        raise NetworkError(
            400,
            "NicInUse",
            f"Network Interface {nic.id} is used by existing resource {holder}. In order to delete the network "
            f"interface, it must be dissociated from the resource. To learn more, see aka.ms/deletenic.",
        )


def _after_delete(ctx: Context) -> None:
    """Dynamic public addresses go back; a public IP that was marked Delete here goes with the card."""
    nic = ctx.found
    if nic is None:
        return
    for config in configurations(nic):
        pip_ref = config["properties"].get("publicIPAddress")
        if not pip_ref or ctx.store.get(pip_ref["id"]) is None:
            continue
        option = str((pip_ref.get("properties") or {}).get("deleteOption", "Detach")).lower()
        if option == "delete" and ctx.memo.get("cascade"):
            ctx.remove(pip_ref["id"])
            continue
        with ctx.edit(pip_ref["id"]) as pip:
            if is_dynamic(pip):
                take_address(ctx, pip)


def _view(ctx: Context, nic: Resource) -> dict[str, Any]:
    etag = ctx.lab.arm.etag(NICS, nic)
    return {
        **nic.doc,
        "properties": {
            **nic.properties,
            "ipConfigurations": [{**c, "etag": etag} for c in configurations(nic)],
        },
    }


def _refs(nic: Resource) -> Iterator[str]:
    for config in configurations(nic):
        p = config["properties"]
        for word in ("subnet", "publicIPAddress"):
            if isinstance(p.get(word), dict):
                yield p[word]["id"]
        for word in ("loadBalancerBackendAddressPools", "loadBalancerInboundNatRules", "applicationSecurityGroups"):
            for item in p.get(word) or ():
                yield item["id"]
    for word in ("networkSecurityGroup", "virtualMachine"):
        if isinstance(nic.properties.get(word), dict):
            yield nic.properties[word]["id"]


NICS = ResourceType(
    name=NIC_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=2, quick=True, prepare=_prepare_put, finish=_finish, state="Succeeded"),
    patch=Verb(existing=200, quick=True, prepare=_prepare_put, finish=_finish),
    delete=Verb(
        existing=202, lro=Lro.BOTH, seconds=10, quick=True, prepare=_refuse_used, finish=_after_delete, empty=True
    ),
    actions=ACTIONS,
    etags=Etags.WEAK,
    readonly=(
        "properties.resourceGuid",
        "properties.provisioningState",
        "properties.virtualMachine",
        "properties.macAddress",
        "properties.primary",
        "properties.hostedWorkloads",
        "properties.privateEndpoint",
    ),
    fields=CARD,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    view=_view,
    refs=_refs,
    delete_order=30,
)

TYPES = (NICS,)

"""Microsoft.Network/publicIPAddresses: loopback addresses of the lab's own network, so that "it survived" can be
proven by connecting. Static ones stay while the resource lives; dynamic ones come with a running machine and go with
its deallocation. publicIPPrefixes are kept as data."""

from __future__ import annotations

import uuid
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource, Store
from azurelab.arm.types import NETWORK, Etags, Field, Lro, ResourceType, Verb
from azurelab.network.addresses import FIRST_PUBLIC, LAST_PUBLIC, next_public
from azurelab.network.errors import NetworkError
from azurelab.network.fields import PUBLIC_IP
from azurelab.network.parts import shown_reference
from azurelab.network.spelling import SPELLING

__all__ = ["PIP_TYPE", "TYPES", "give_address", "take_address", "user_of"]

PIP_TYPE = "Microsoft.Network/publicIPAddresses"
PREFIX_TYPE = "Microsoft.Network/publicIPPrefixes"
_POINTER = "network.public-pointer"


def user_of(store: Store, pip_id: str) -> str | None:
    """The id of the IP configuration (of a card or a frontend) that holds the address."""
    key = pip_id.lower()
    for holder in store.referring(pip_id):
        for word in ("ipConfigurations", "frontendIPConfigurations"):
            for config in holder.properties.get(word) or ():
                found = config["properties"].get("publicIPAddress")
                if isinstance(found, dict) and str(found.get("id", "")).lower() == key:
                    return str(config["id"])
    return None


def give_address(ctx: Context, pip: Resource) -> None:
    """Set `ipAddress` on a private copy, if it has none."""
    if pip.properties.get("ipAddress"):
        return
    taken = {r.properties.get("ipAddress") for r in ctx.store.of_type(PIP_TYPE)}
    found = next_public(ctx.lab.loopback, int(ctx.store.setting(_POINTER, FIRST_PUBLIC)), {t for t in taken if t})
    if found is None:
        raise NetworkError(
            400, "PublicIPCountLimitReached", "Cannot create more than 1778 public IP addresses for this subscription."
        )
    pip.properties["ipAddress"], position = found
    ctx.store.set_setting(_POINTER, position)
    ctx.log("address-given", pip.id, address=pip.properties["ipAddress"])


def take_address(ctx: Context, pip: Resource) -> None:
    """The address goes back (a dynamic one, on deallocation or dissociation)."""
    address = pip.properties.pop("ipAddress", None)
    if address is not None:
        ctx.log("address-taken", pip.id, address=address)


def is_dynamic(pip: Resource) -> bool:
    return str(pip.properties.get("publicIPAllocationMethod", "Dynamic")).lower() == "dynamic"


def _prepare(ctx: Context) -> None:
    pip = ctx.resource
    p = pip.properties
    sku = pip.doc.get("sku") or (ctx.before.doc.get("sku") if ctx.before is not None else None) or {"name": "Basic"}
    pip.doc["sku"] = sku = {"tier": "Regional", **sku}
    standard = str(sku.get("name", "")).lower() == "standard"
    if ctx.before is not None and str(ctx.before.doc["sku"]["name"]).lower() != str(sku["name"]).lower():
        raise NetworkError(
            400, "SkuCannotBeChangedOnUpdate", f"Sku for resource {pip.id} cannot be changed on an update."
        )
    p.setdefault("publicIPAddressVersion", "IPv4")
    p["publicIPAllocationMethod"] = p.get("publicIPAllocationMethod") or ("Static" if standard else "Dynamic")
    if standard and is_dynamic(pip):
        raise NetworkError(
            400,
            "PublicIPAddressSkuAllocationMethodMismatch",  # the words are Azure's, the code is (unverified)
            f"Standard SKU publicIPAddress {pip.id} must use Static allocation method.",
        )
    p.setdefault("idleTimeoutInMinutes", 4)
    p.setdefault("ipTags", [])
    p.setdefault("ddosSettings", {}).setdefault("protectionMode", "VirtualNetworkInherited")
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    _name_it(ctx, pip)


def _name_it(ctx: Context, pip: Resource) -> None:
    dns = pip.properties.get("dnsSettings")
    if not isinstance(dns, dict) or not dns.get("domainNameLabel"):
        return
    dns["fqdn"] = f"{dns['domainNameLabel']}.{pip.location}.cloudapp.azure.com".lower()
    for other in ctx.store.of_type(PIP_TYPE):
        if other.key != pip.key and (other.properties.get("dnsSettings") or {}).get("fqdn") == dns["fqdn"]:
            raise NetworkError(400, "DnsRecordInUse", f"DNS record {dns['fqdn']} is already used by another public IP.")


def _finish(ctx: Context) -> None:
    """Static: an address from the beginning. Dynamic: one while its holder is up, kept over the change to Static."""
    with ctx.edit() as pip:
        holder = user_of(ctx.store, pip.id)
        if not is_dynamic(pip) or (holder is not None and _is_up(ctx, holder)):
            give_address(ctx, pip)


def _is_up(ctx: Context, config_id: str) -> bool:
    nic = ctx.store.get(config_id.rsplit("/", 2)[0])
    return nic is not None and bool(nic.hidden.get("up") or "loadbalancers" in nic.key)


def _view(ctx: Context, pip: Resource) -> dict[str, Any]:
    holder = user_of(ctx.store, pip.id)
    if holder is None:
        return pip.doc
    owner = ctx.store.get(holder.rsplit("/", 2)[0])
    word = holder.rsplit("/", 2)[1]
    parts = owner.properties.get(word) or () if owner is not None else ()
    part = next((p for p in parts if str(p["id"]).lower() == holder.lower()), {"id": holder})
    shown = shown_reference(ctx, owner, part, "ipConfiguration") if owner is not None else {"id": holder}
    return {**pip.doc, "properties": {**pip.properties, "ipConfiguration": shown}}


def _refuse_used(ctx: Context) -> None:
    holder = user_of(ctx.store, ctx.id.text)
    if holder is not None:
        raise NetworkError(
            400,
            "PublicIPAddressCannotBeDeleted",
            f"Public IP address {ctx.resource.id} can not be deleted since it is still allocated to resource {holder}. "
            f"In order to delete the public IP, disassociate/detach the Public IP address from the resource.  To learn "
            f"how to do this, see aka.ms/deletepublicip.",
        )


PUBLIC_IPS = ResourceType(
    name=PIP_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=3, quick=True, prepare=_prepare, finish=_finish, state="Updating"),
    patch=Verb(existing=200, quick=True, prepare=_prepare, finish=_finish),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=10, quick=True, prepare=_refuse_used, empty=True),
    etags=Etags.WEAK,
    readonly=(
        "properties.resourceGuid",
        "properties.provisioningState",
        "properties.ipAddress",
        "properties.ipConfiguration",
    ),
    fields=PUBLIC_IP,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    view=_view,
    delete_order=60,
)


def _prepare_prefix(ctx: Context) -> None:
    prefix = ctx.resource
    p = prefix.properties
    prefix.doc["sku"] = {"tier": "Regional", **(prefix.doc.get("sku") or {"name": "Standard"})}
    p.setdefault("prefixLength", 28)
    p.setdefault("publicIPAddressVersion", "IPv4")
    p.setdefault("ipTags", [])
    p.setdefault("resourceGuid", str(uuid.uuid4()))


def _finish_prefix(ctx: Context) -> None:
    """A block of the upper half of the lab's loopback network."""
    with ctx.edit() as prefix:
        if prefix.properties.get("ipPrefix"):
            return
        length = int(prefix.properties["prefixLength"])
        size = 1 << (32 - length)
        taken = [r.hidden.get("block", (0, 0)) for r in ctx.store.of_type(PREFIX_TYPE) if r.key != prefix.key]
        start = LAST_PUBLIC + 1
        while any(a < start + size and start < b for a, b in taken):
            start += size
        if start + size > 4096:
            raise NetworkError(
                400, "PublicIPPrefixOutOfIpAddressesForAccount", "This lab has no free block of public addresses left."
            )
        prefix.hidden["block"] = [start, start + size]
        prefix.properties["ipPrefix"] = f"{ctx.lab.loopback[start]}/{length}"


PREFIXES = ResourceType(
    name=PREFIX_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=3, quick=True, prepare=_prepare_prefix, finish=_finish_prefix, state="Updating"),
    patch=Verb(existing=200, quick=True, prepare=_prepare_prefix),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=3, quick=True, empty=True),
    etags=Etags.WEAK,
    readonly=("properties.resourceGuid", "properties.provisioningState", "properties.ipPrefix"),
    fields=(Field(path="properties.prefixLength", kind=int),),
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    delete_order=61,
)

TYPES = (PUBLIC_IPS, PREFIXES)

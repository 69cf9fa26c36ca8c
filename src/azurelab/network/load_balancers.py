"""Microsoft.Network/loadBalancers, pools and NAT rules: kept as data, with the back-references that Azure shows.

Pools know their members from the cards that name them; nothing is balanced.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource, clone
from azurelab.arm.types import NETWORK, Etags, Field, Lro, ResourceType, Verb
from azurelab.network.addresses import first_free_private
from azurelab.network.errors import NetworkError
from azurelab.network.fields import BALANCER, NAT_RULE, POOL
from azurelab.network.interfaces import configurations, private_addresses
from azurelab.network.parts import absorb, decorate, embedded, reference, referenced
from azurelab.network.public_ips import give_address, user_of
from azurelab.network.spelling import SPELLING
from azurelab.network.virtual_networks import prefixes_of

__all__ = ["LB_TYPE", "TYPES", "frontend_refs", "frontends", "give_public"]

LB_TYPE = "Microsoft.Network/loadBalancers"
POOL_TYPE = "Microsoft.Network/loadBalancers/backendAddressPools"
NAT_TYPE = "Microsoft.Network/loadBalancers/inboundNatRules"
_BACK = ("loadBalancingRules", "inboundNatRules", "inboundNatPools", "outboundRules")
_LISTS = ("loadBalancingRules", "probes", "outboundRules", "inboundNatPools")


def frontends(ctx: Context, owner: Resource) -> list[dict[str, Any]]:
    """Frontends with checked references; a private one gets an address of its subnet."""
    done = decorate(owner, "frontendIPConfigurations", owner.properties.get("frontendIPConfigurations"))
    old = {c["name"]: c for c in (ctx.before.properties.get("frontendIPConfigurations") or ())} if ctx.before else {}
    for entry in done:
        p = entry["properties"]
        for word in _BACK:  # clients send back what they got; these are shown from the rules themselves
            p.pop(word, None)
        pip_id = reference(p, "publicIPAddress")
        if pip_id is not None:
            pip = referenced(ctx, pip_id, owner.id)
            holder = user_of(ctx.store, pip.id)
            if holder is not None and holder.lower() != entry["id"].lower():
                raise NetworkError(
                    400,
                    "PublicIPAddressInUse",
                    f"Resource {entry['id']} is referencing public IP address {pip.id} that is already allocated to "
                    f"resource {holder}.",
                )
        subnet_id = reference(p, "subnet")
        if subnet_id is not None:
            subnet = referenced(ctx, subnet_id, owner.id)
            if not p.get("privateIPAddress"):
                taken = private_addresses(ctx.store, subnet.id, but=owner.key)
                held = old.get(entry["name"], {"properties": {}})["properties"].get("privateIPAddress")
                p["privateIPAddress"] = held or first_free_private(prefixes_of(subnet), taken)
            p.setdefault("privateIPAddressVersion", "IPv4")
        p.setdefault("privateIPAllocationMethod", "Dynamic")
    return done


def give_public(ctx: Context) -> None:
    for entry in ctx.resource.properties.get("frontendIPConfigurations") or ():
        pip_id = (entry["properties"].get("publicIPAddress") or {}).get("id")
        if pip_id and ctx.store.get(pip_id) is not None:
            with ctx.edit(pip_id) as pip:
                give_address(ctx, pip)


def _complete_nat(ctx: Context, rule: Resource, before: Resource | None) -> None:
    p = rule.properties
    p.setdefault("backendPort", p.get("frontendPort", 0))
    for word in ("enableFloatingIP", "enableDestinationServiceEndpoint", "enableTcpReset", "allowBackendPortConflict"):
        p.setdefault(word, False)
    p.setdefault("idleTimeoutInMinutes", 4)
    p.setdefault("protocol", "Tcp")


def _complete_pool(ctx: Context, pool: Resource, before: Resource | None) -> None:
    p = pool.properties
    for word in ("backendIPConfigurations", "loadBalancingRules", "outboundRules", "inboundNatRules"):
        p.pop(word, None)  # shown from what names the pool
    p["loadBalancerBackendAddresses"] = [
        {**clone(a), "properties": dict(a.get("properties") or {})}
        for a in p.get("loadBalancerBackendAddresses") or ()
        if isinstance(a, dict) and not (a.get("properties") or {}).get("networkInterfaceIPConfiguration")
    ]


def _pool_may_go(ctx: Context, pool: Resource) -> None:
    users = ctx.store.referring(pool.id)
    if users:
        raise NetworkError(
            400,
            "InUseBackendAddressPoolCannotBeDeleted",
            f"Backend address pool {pool.id} is in use by {users[0].id} and cannot be deleted.",
        )


def _prepare(ctx: Context) -> None:
    lb = ctx.resource
    p = lb.properties
    lb.doc["sku"] = {"tier": "Regional", **(lb.doc.get("sku") or {"name": "Basic"})}
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    p["frontendIPConfigurations"] = frontends(ctx, lb)
    absorb(ctx, "backendAddressPools", POOL_TYPE, _complete_pool, _pool_may_go)
    absorb(ctx, "inboundNatRules", NAT_TYPE, _complete_nat, lambda c, r: None)
    for word in _LISTS:
        p[word] = decorate(lb, word, p.get(word))
        for entry in p[word]:
            _complete_entry(word, entry["properties"])
    _check_own_references(ctx, lb)


def _complete_entry(word: str, p: dict[str, Any]) -> None:
    """The defaults that Azure shows in rules and probes."""
    if word == "probes":
        p.pop("loadBalancingRules", None)
        p.setdefault("intervalInSeconds", 15)
        p.setdefault("numberOfProbes", 2)
        p.setdefault("probeThreshold", 1)
        return
    p.setdefault("enableTcpReset", False)
    p.setdefault("idleTimeoutInMinutes", 4)
    if word == "outboundRules":
        p.setdefault("allocatedOutboundPorts", 0)
        return
    for name in ("enableFloatingIP", "enableDestinationServiceEndpoint", "allowBackendPortConflict"):
        p.setdefault(name, False)
    if word == "loadBalancingRules":
        p.setdefault("loadDistribution", "Default")
        p.setdefault("disableOutboundSnat", False)
        pool = p.get("backendAddressPool")
        if pool is not None:
            p.setdefault("backendAddressPools", [dict(pool)])


def _named_by(p: dict[str, Any]) -> Iterator[str]:
    """Ids of the balancer's own parts that a rule names."""
    for word in ("frontendIPConfiguration", "backendAddressPool", "probe"):
        if reference(p, word) is not None:
            yield str(p[word]["id"])
    for word in ("frontendIPConfigurations", "backendAddressPools"):
        for item in p.get(word) or ():
            if isinstance(item, dict) and item.get("id"):
                yield str(item["id"])


def _check_own_references(ctx: Context, lb: Resource) -> None:
    """Rules name parts that the balancer has; InvalidResourceReference."""
    own = {e["id"].lower() for word in ("frontendIPConfigurations", "probes") for e in lb.properties.get(word) or ()}
    own |= {r.key for r in ctx.store.children(lb.id, POOL_TYPE)}
    for word in ("loadBalancingRules", "outboundRules", "inboundNatPools"):
        for entry in lb.properties[word]:
            for wanted in _named_by(entry["properties"]):
                if wanted.lower() not in own:
                    raise NetworkError(
                        400,
                        "InvalidResourceReference",
                        f"Resource {wanted} referenced by resource {entry['id']} was not found. Please make sure that "
                        f"the referenced resource exists, and that both resources are in the same region.",
                    )


def _members(ctx: Context, pool: Resource) -> list[dict[str, str]]:
    return [
        {"id": config["id"]}
        for nic in ctx.store.referring(pool.id)
        for config in configurations(nic)
        if any(
            str(i["id"]).lower() == pool.key
            for word in ("loadBalancerBackendAddressPools", "loadBalancerInboundNatRules")
            for i in config["properties"].get(word) or ()
        )
    ]


def _view_pool(ctx: Context, pool: Resource) -> dict[str, Any]:
    members = _members(ctx, pool)
    lb = ctx.store.get(pool.id.rsplit("/backendAddressPools/", 1)[0])
    words = ("loadBalancingRules", "outboundRules")
    back = _named_in(pool.id, {word: lb.properties.get(word) or [] for word in words}) if lb is not None else {}
    if members:
        back["backendIPConfigurations"] = members
        named = pool.properties.get("loadBalancerBackendAddresses") or []
        back["loadBalancerBackendAddresses"] = [*named, *(_address_of(pool, m["id"]) for m in members)]
    return {**pool.doc, "properties": {**pool.properties, **back}} if back else pool.doc


def _address_of(pool: Resource, config_id: str) -> dict[str, Any]:
    """A card's configuration as one of the pool's addresses."""
    words = config_id.split("/")
    name = f"{words[4]}_{words[8]}{words[10]}"
    properties = {"provisioningState": "Succeeded", "networkInterfaceIPConfiguration": {"id": config_id}}
    return {
        "name": name,
        "id": f"{pool.id}/loadBalancerBackendAddresses/{name}",
        "type": f"{POOL_TYPE}/loadBalancerBackendAddresses",
        "properties": properties,
    }


def _view_nat(ctx: Context, rule: Resource) -> dict[str, Any]:
    members = _members(ctx, rule)
    if not members:
        return rule.doc
    return {**rule.doc, "properties": {**rule.properties, "backendIPConfiguration": members[0]}}


def _view(ctx: Context, lb: Resource) -> dict[str, Any]:
    etag = ctx.lab.arm.etag(LBS, lb)
    nat = embedded(ctx, lb, NAT_TYPE, etag, _view_nat)
    rules = {"inboundNatRules": nat, **{word: lb.properties.get(word) or [] for word in _LISTS if word != "probes"}}

    def shown(entry: dict[str, Any], *words: str) -> dict[str, Any]:
        back = _named_in(entry["id"], {word: rules[word] for word in words})
        return {**entry, "etag": etag, "properties": {**entry["properties"], **back}}

    fronts = lb.properties.get("frontendIPConfigurations") or ()
    return {
        **lb.doc,
        "properties": {
            **lb.properties,
            "frontendIPConfigurations": [shown(e, *rules) for e in fronts],
            "backendAddressPools": embedded(ctx, lb, POOL_TYPE, etag, _view_pool),
            "inboundNatRules": nat,
            **{word: [{**i, "etag": etag} for i in lb.properties.get(word) or ()] for word in _LISTS},
            "probes": [shown(e, "loadBalancingRules") for e in lb.properties.get("probes") or ()],
        },
    }


def _named_in(part_id: str, rules: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """`{"loadBalancingRules": [{"id": …}]}`: which rules name this part of the balancer."""
    at = part_id.lower()
    return {
        word: mine
        for word, items in rules.items()
        if (mine := [{"id": i["id"]} for i in items if at in {n.lower() for n in _named_by(i["properties"])}])
    }


def _drop_children(ctx: Context) -> None:
    for child in ctx.store.children(ctx.id.text):
        ctx.remove(child.id)


def frontend_refs(owner: Resource) -> Iterator[str]:
    for word in ("frontendIPConfigurations", "gatewayIPConfigurations"):
        for entry in owner.properties.get(word) or ():
            for name in ("publicIPAddress", "subnet"):
                found = entry["properties"].get(name)
                if isinstance(found, dict):
                    yield found["id"]


def _refuse_members(ctx: Context) -> None:
    for pool in ctx.store.children(ctx.id.text, POOL_TYPE):
        _pool_may_go(ctx, pool)


LBS = ResourceType(
    name=LB_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=3, quick=True, prepare=_prepare, finish=give_public, state="Succeeded"),
    patch=Verb(existing=200, quick=True, prepare=_prepare),
    delete=Verb(
        existing=202, lro=Lro.BOTH, seconds=10, quick=True, prepare=_refuse_members, finish=_drop_children, empty=True
    ),
    etags=Etags.WEAK,
    readonly=("properties.resourceGuid", "properties.provisioningState"),
    fields=BALANCER,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    view=_view,
    refs=frontend_refs,
    delete_order=40,
)


def _prepare_pool(ctx: Context) -> None:
    _complete_pool(ctx, ctx.resource, ctx.before)


def _refuse_used_pool(ctx: Context) -> None:
    _pool_may_go(ctx, ctx.resource)


def _prepare_nat(ctx: Context) -> None:
    _complete_nat(ctx, ctx.resource, ctx.before)


def _child(name: str, prepare: Any, refuse: Any, view: Any, fields: tuple[Field, ...]) -> ResourceType:
    return ResourceType(
        name=name,
        flavor=NETWORK,
        put=Verb(lro=Lro.AAO, seconds=3, quick=True, prepare=prepare, state="Updating"),
        delete=Verb(existing=202, lro=Lro.BOTH, seconds=4, quick=True, prepare=refuse, empty=True),
        etags=Etags.WEAK,
        parent_etag=True,
        located=False,
        in_resources_list=False,
        readonly=("properties.provisioningState", "properties.backendIPConfigurations"),
        body_error="InvalidRequestFormat",
        spelling=SPELLING,
        view=view,
        fields=fields,
        delete_order=39,
    )


POOLS = _child(POOL_TYPE, _prepare_pool, _refuse_used_pool, _view_pool, POOL)
NATS = _child(NAT_TYPE, _prepare_nat, None, _view_nat, NAT_RULE)

TYPES = (LBS, POOLS, NATS)

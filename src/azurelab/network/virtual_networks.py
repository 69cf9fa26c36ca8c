"""Microsoft.Network/virtualNetworks and their subnets. Peerings know their other half; packets do not follow them."""

from __future__ import annotations

import uuid
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource, clone
from azurelab.arm.types import NETWORK, Etags, Lro, ResourceType, Verb
from azurelab.network.addresses import parse_prefix
from azurelab.network.errors import NetworkError
from azurelab.network.fields import NETWORK_OF, PEERING, SUBNET
from azurelab.network.parts import absorb, embedded, format_error, reference, referenced, shown_reference
from azurelab.network.spelling import SPELLING

__all__ = ["PEERING_TYPE", "SUBNET_TYPE", "TYPES", "VNET_TYPE", "prefixes_of"]

VNET_TYPE = "Microsoft.Network/virtualNetworks"
SUBNET_TYPE = "Microsoft.Network/virtualNetworks/subnets"
PEERING_TYPE = "Microsoft.Network/virtualNetworks/virtualNetworkPeerings"


def prefixes_of(subnet: Resource) -> list[Any]:
    """The subnet's address ranges; `addressPrefixes` (newer clients) or `addressPrefix`."""
    p = subnet.properties
    texts = p.get("addressPrefixes") or ([p["addressPrefix"]] if p.get("addressPrefix") else [])
    return [n for n in map(parse_prefix, texts) if n is not None]


# -- virtual networks ---------------------------------------------------------------------------------------------


def _prepare_vnet(ctx: Context) -> None:
    vnet = ctx.resource
    p = vnet.properties
    space = (p.get("addressSpace") or {}).get("addressPrefixes")
    if not space:
        raise NetworkError(
            400, "NoAddressPrefixOrPoolProvided", f"No address prefix or pool has been provided for VNet {vnet.id}."
        )
    for text in space:
        if parse_prefix(text) is None:
            raise NetworkError(
                400,
                "InvalidCIDRNotation",
                f"The address prefix {text} in resource {vnet.id} has an invalid CIDR notation.",
            )
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    if isinstance(p.get("dhcpOptions"), dict):
        p["dhcpOptions"].setdefault("dnsServers", [])
    p.setdefault("enableDdosProtection", False)
    p.setdefault("enableVmProtection", False)
    p.setdefault("privateEndpointVNetPolicies", "Disabled")
    absorb(ctx, "subnets", SUBNET_TYPE, _complete_subnet, _subnet_may_go)
    absorb(ctx, "virtualNetworkPeerings", PEERING_TYPE, _complete_peering, lambda c, r: None)


def _view_vnet(ctx: Context, vnet: Resource) -> dict[str, Any]:
    etag = ctx.lab.arm.etag(VNETS, vnet)
    return {
        **vnet.doc,
        "properties": {
            **vnet.properties,
            "subnets": embedded(ctx, vnet, SUBNET_TYPE, etag, _view_subnet),
            "virtualNetworkPeerings": embedded(ctx, vnet, PEERING_TYPE, etag, None),
        },
    }


def _refuse_used_vnet(ctx: Context) -> None:
    for subnet in ctx.store.children(ctx.id.text, SUBNET_TYPE):
        _subnet_may_go(ctx, subnet)


def _drop_children(ctx: Context) -> None:
    for child in ctx.store.children(ctx.id.text):
        ctx.remove(child.id)


VNETS = ResourceType(
    name=VNET_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=4, quick=True, prepare=_prepare_vnet, state="Updating"),
    patch=Verb(existing=200, quick=True, prepare=_prepare_vnet),
    delete=Verb(
        existing=202, lro=Lro.BOTH, seconds=10, quick=True, prepare=_refuse_used_vnet, finish=_drop_children, empty=True
    ),
    etags=Etags.WEAK,
    readonly=("properties.resourceGuid", "properties.provisioningState"),
    fields=NETWORK_OF,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    view=_view_vnet,
    delete_order=70,
)


# -- subnets ------------------------------------------------------------------------------------------------------


def _complete_subnet(ctx: Context, subnet: Resource, before: Resource | None) -> None:
    """Check the range against the network and its other subnets; defaults as Azure shows them."""
    parent_id = subnet.id.rsplit("/subnets/", 1)[0]
    vnet = ctx.draft if ctx.draft is not None and ctx.draft.type == VNET_TYPE else ctx.store.get(parent_id)
    assert vnet is not None
    p = subnet.properties
    mine = prefixes_of(subnet)
    texts = p.get("addressPrefixes") or [p.get("addressPrefix")]
    if not mine or len(mine) != len(texts):
        raise NetworkError(
            400,
            "InvalidCIDRNotation",
            f"The address prefix {texts[0]} in resource {subnet.id} has an invalid CIDR notation.",
        )
    space = [parse_prefix(t) for t in vnet.properties["addressSpace"]["addressPrefixes"]]
    for prefix in mine:
        if not any(s is not None and s.version == prefix.version and prefix.subnet_of(s) for s in space):
            raise NetworkError(
                400,
                "NetcfgSubnetRangeOutsideVnet",
                f"Subnet '{subnet.name}' is not valid because its IP address range is outside the IP address range of "
                f"virtual network '{vnet.name}'.",
            )
    for other in ctx.store.children(vnet.id, SUBNET_TYPE):
        if other.key != subnet.key and any(a.overlaps(b) for a in mine for b in prefixes_of(other)):
            raise NetworkError(
                400,
                "NetcfgSubnetRangesOverlap",
                f"Subnet '{subnet.name}' is not valid because its IP address range overlaps with that of an existing "
                f"subnet in virtual network '{vnet.name}'.",
            )
    if before is not None and prefixes_of(before) != mine and ctx.store.referring(subnet.id):
        raise NetworkError(
            400,
            "InUsePrefixCannotBeDeleted",
            f"IpPrefix {prefixes_of(before)[0]} on Subnet {subnet.name} has active allocations and cannot be deleted.",
        )
    for word in ("networkSecurityGroup", "routeTable", "natGateway"):
        wanted = reference(p, word)
        if wanted is not None:
            referenced(ctx, wanted, subnet.id)
    p.pop("ipConfigurations", None)
    p["delegations"] = [_delegation(subnet, d) for d in p.get("delegations") or ()]
    for endpoint in p.get("serviceEndpoints") or ():
        if isinstance(endpoint, dict):
            endpoint["provisioningState"] = "Succeeded"
            endpoint.setdefault("locations", ["*"])
    p.setdefault("privateEndpointNetworkPolicies", "Enabled" if ctx.api_version < "2022" else "Disabled")
    p.setdefault("privateLinkServiceNetworkPolicies", "Enabled")


def _delegation(subnet: Resource, given: Any) -> dict[str, Any]:
    """A delegation as Azure shows it: with an id and the actions that the service may take."""
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        raise format_error(f"Resource name is missing in delegations of {subnet.id}.", "delegations")
    properties = {**(given.get("properties") or {}), "provisioningState": "Succeeded"}
    properties.setdefault("actions", ["Microsoft.Network/virtualNetworks/subnets/join/action"])
    return {
        "name": given["name"],
        "id": f"{subnet.id}/delegations/{given['name']}",
        "type": f"{SUBNET_TYPE}/delegations",
        "properties": properties,
    }


def _subnet_may_go(ctx: Context, subnet: Resource) -> None:
    users = _ip_configurations(ctx, subnet)
    if users:
        raise NetworkError(
            400,
            "InUseSubnetCannotBeDeleted",
            f"Subnet {subnet.name} is in use by {users[0]['id']} and cannot be deleted. In order to delete the subnet, "
            f"delete all the resources within the subnet. See aka.ms/deletesubnet.",
        )


def _ip_configurations(ctx: Context, subnet: Resource) -> list[dict[str, Any]]:
    """Who has an address here: cards' IP configurations and load balancers' frontends."""
    found = []
    for user in ctx.store.referring(subnet.id):
        for word in ("ipConfigurations", "frontendIPConfigurations", "gatewayIPConfigurations"):
            for config in user.properties.get(word) or ():
                at = (config["properties"].get("subnet") or {}).get("id", "")
                if at.lower() == subnet.key:
                    found.append(shown_reference(ctx, user, config, "ipConfigurations"))
    return found


def _prepare_subnet(ctx: Context) -> None:
    _complete_subnet(ctx, ctx.resource, ctx.before)


def _view_subnet(ctx: Context, subnet: Resource) -> dict[str, Any]:
    users, delegations = _ip_configurations(ctx, subnet), subnet.properties.get("delegations")
    if not users and not delegations:
        return subnet.doc
    properties = dict(subnet.properties)
    if users:
        properties["ipConfigurations"] = users
    if delegations:
        etag = ctx.lab.arm.etag(SUBNETS, subnet)
        properties["delegations"] = [{**d, "etag": etag} for d in delegations]
    return {**subnet.doc, "properties": properties}


def _for_service(ctx: Context) -> None:
    """Policies of the named service are prepared: that service puts nothing into subnets of this lab."""
    if not isinstance(ctx.body, dict) or not ctx.body.get("serviceName"):
        raise format_error("Value for parameter serviceName is missing.", "serviceName")


def _refuse_used_subnet(ctx: Context) -> None:
    _subnet_may_go(ctx, ctx.resource)


def _subnet_refs(subnet: Resource) -> list[str]:
    p = subnet.properties
    return [p[w]["id"] for w in ("networkSecurityGroup", "routeTable", "natGateway") if isinstance(p.get(w), dict)]


SUBNETS = ResourceType(
    name=SUBNET_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=4, quick=True, prepare=_prepare_subnet, state="Updating"),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=10, quick=True, prepare=_refuse_used_subnet, empty=True),
    actions={
        word: Verb(existing=202, lro=Lro.BOTH, seconds=3, quick=True, prepare=_for_service, empty=True)
        for word in ("prepareNetworkPolicies", "unprepareNetworkPolicies")
    },
    etags=Etags.WEAK,
    parent_etag=True,
    located=False,
    in_resources_list=False,
    readonly=("properties.provisioningState", "properties.ipConfigurations"),
    fields=SUBNET,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    view=_view_subnet,
    refs=_subnet_refs,
    delete_order=65,
)


def _complete_peering(ctx: Context, peering: Resource, before: Resource | None) -> None:
    p = peering.properties
    remote = reference(p, "remoteVirtualNetwork")
    if remote is None:
        raise format_error("The remote virtual network of a peering is missing.", "remoteVirtualNetwork")
    other = referenced(ctx, remote, peering.id)
    own_id = peering.id.rsplit("/virtualNetworkPeerings/", 1)[0]
    for word, value in (("allowVirtualNetworkAccess", True), ("allowForwardedTraffic", False),
                        ("allowGatewayTransit", False), ("useRemoteGateways", False),
                        ("doNotVerifyRemoteGateways", False), ("peerCompleteVnets", True)):  # fmt: skip
        p.setdefault(word, value)
    for word in ("remoteAddressSpace", "remoteVirtualNetworkAddressSpace"):
        p[word] = clone(other.properties["addressSpace"])
    p.setdefault("routeServiceVips", {})
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    back = [
        r
        for r in ctx.store.children(other.id, PEERING_TYPE)
        if str(r.properties["remoteVirtualNetwork"]["id"]).lower() == own_id.lower()
    ]
    p["peeringState"] = "Connected" if back else "Initiated"
    p["peeringSyncLevel"] = "FullyInSync" if back else "LocalNotInSync"
    for r in back:
        with ctx.edit(r.id) as partner:
            partner.properties.update(peeringState="Connected", peeringSyncLevel="FullyInSync")


def _prepare_peering(ctx: Context) -> None:
    _complete_peering(ctx, ctx.resource, ctx.before)


def _part_partners(ctx: Context) -> None:
    """A peering that lost its other half is disconnected."""
    own_id = ctx.id.text.rsplit("/virtualNetworkPeerings/", 1)[0]
    gone = ctx.found
    if gone is None:
        return
    for r in ctx.store.children(str(gone.properties["remoteVirtualNetwork"]["id"]), PEERING_TYPE):
        if str(r.properties["remoteVirtualNetwork"]["id"]).lower() == own_id.lower():
            with ctx.edit(r.id) as partner:
                partner.properties["peeringState"] = "Disconnected"


PEERINGS = ResourceType(
    name=PEERING_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=4, quick=True, prepare=_prepare_peering, state="Updating"),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=4, quick=True, finish=_part_partners, empty=True),
    etags=Etags.WEAK,
    parent_etag=True,
    located=False,
    in_resources_list=False,
    fields=PEERING,
    readonly=("properties.provisioningState", "properties.peeringState", "properties.resourceGuid"),
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    delete_order=64,
)

TYPES = (VNETS, SUBNETS, PEERINGS)

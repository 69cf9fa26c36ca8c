"""What Microsoft.Network tells about regions, and lists of a resource's relations that are no resources.

`GET …/locations/westus/CheckDnsNameAvailability`, `…/virtualNetworks/v/usages`, `…/networkInterfaces/n/loadBalancers` …
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import parse_id
from azurelab.arm.reading import check_parent, stored
from azurelab.arm.store import Resource
from azurelab.arm.types import Route
from azurelab.network.interfaces import NIC_TYPE, configurations, private_addresses
from azurelab.network.load_balancers import LB_TYPE, NAT_TYPE, POOL_TYPE
from azurelab.network.public_ips import PIP_TYPE
from azurelab.network.virtual_networks import SUBNET_TYPE, prefixes_of

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["lookup_routes"]

_REGION = "/subscriptions/{subscription}/providers/Microsoft.Network/locations/{location}"
_GROUPED = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network/locations/{location}"
_BASE = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network"
_RESERVED = 5
"""Addresses of a subnet that Azure keeps for itself."""
_ENDPOINTS = ("Microsoft.Storage", "Microsoft.Sql", "Microsoft.AzureActiveDirectory", "Microsoft.AzureCosmosDB",
              "Microsoft.Web", "Microsoft.KeyVault", "Microsoft.EventHub", "Microsoft.ServiceBus",
              "Microsoft.ContainerRegistry", "Microsoft.CognitiveServices", "Microsoft.Storage.Global")  # fmt: skip
_DELEGATIONS = (
    ("Microsoft.Web/serverFarms", ["Microsoft.Network/virtualNetworks/subnets/action"]),
    ("Microsoft.ContainerInstance/containerGroups", ["Microsoft.Network/virtualNetworks/subnets/action"]),
    ("Microsoft.Netapp/volumes", ["Microsoft.Network/networkinterfaces/*",
                                  "Microsoft.Network/virtualNetworks/subnets/join/action"]),
    ("Microsoft.Sql/managedInstances", ["Microsoft.Network/virtualNetworks/subnets/join/action",
                                        "Microsoft.Network/virtualNetworks/subnets/prepareNetworkPolicies/action"]),
)  # fmt: skip


def lookup_routes(lab: Lab) -> list[Route]:
    def region(params: dict[str, str]) -> str:
        found = lab.regions.normalise(params["location"])
        if found is None or found == "global":
            raise ArmError(
                400,
                "NoRegisteredProviderFound",
                f"No registered resource provider found for location '{params['location']}'. The supported locations "
                f"are '{', '.join(lab.regions.names())}'.",
            )
        return found

    def owner(call: Call, path: str) -> Resource:
        """The resource, or the 404 that a GET of itself would have."""
        rid = parse_id(path)
        assert rid is not None
        lab.arm.check_group(rid)
        ctx = lab.arm.context(call, lab.arm.types[rid.type.lower()], rid)
        check_parent(lab.arm, ctx, "read")
        return stored(lab.arm, ctx)

    def dns_name(call: Call, params: dict[str, str]) -> Response:
        location, label = region(params), call.query.get("domainnamelabel", "").lower()
        fqdn = f"{label}.{location}.cloudapp.azure.com"
        taken = any((r.properties.get("dnsSettings") or {}).get("fqdn") == fqdn for r in lab.store.of_type(PIP_TYPE))
        return Response(200, {"available": not taken})

    def endpoint_services(call: Call, params: dict[str, str]) -> Response:
        base = f"/subscriptions/{params['subscription']}/providers/Microsoft.Network/virtualNetworkEndpointServices"
        kind = "Microsoft.Network/virtualNetworkEndpointServices"
        region(params)
        return Response(200, {"value": [{"name": n, "id": f"{base}/{n}", "type": kind} for n in _ENDPOINTS]})

    def delegations(call: Call, params: dict[str, str]) -> Response:
        base = f"/subscriptions/{params['subscription']}/providers/Microsoft.Network/availableDelegations"
        region(params)
        value = []
        for service, actions in _DELEGATIONS:
            name = service.replace("/", ".")
            value.append(
                {
                    "name": name,
                    "id": f"{base}/{name}",
                    "type": "Microsoft.Network/availableDelegations",
                    "serviceName": service,
                    "actions": actions,
                }
            )
        return Response(200, {"value": value})

    def network_usages(call: Call, params: dict[str, str]) -> Response:
        vnet = owner(call, f"{_BASE}/virtualNetworks/{{name}}".format(**params))
        value: list[dict[str, Any]] = []
        for subnet in lab.store.children(vnet.id, SUBNET_TYPE):
            prefixes = prefixes_of(subnet)
            limit = sum(max(0, p.num_addresses - _RESERVED) for p in prefixes)
            taken = len(private_addresses(lab.store, subnet.id))
            value.append(
                {
                    "currentValue": float(taken),
                    "id": subnet.id,
                    "limit": float(limit),
                    "name": {"localizedValue": "Subnet size and usage", "value": "SubnetSpace"},
                    "unit": "Count",
                }
            )
        return Response(200, {"value": value})

    def balancers_of_card(call: Call, params: dict[str, str]) -> Response:
        nic = owner(call, f"{_BASE}/networkInterfaces/{{name}}".format(**params))
        ids = {
            str(item["id"]).rsplit("/", 2)[0].lower()
            for config in configurations(nic)
            for word in ("loadBalancerBackendAddressPools", "loadBalancerInboundNatRules")
            for item in config["properties"].get(word) or ()
        }
        found = [r for r in lab.store.of_type(LB_TYPE) if r.key in ids]
        return Response(200, {"value": [lab.arm_get(r.id, call.api_version) for r in found]})

    def cards_of_balancer(call: Call, params: dict[str, str]) -> Response:
        lb = owner(call, f"{_BASE}/loadBalancers/{{name}}".format(**params))
        found: dict[str, Resource] = {}
        for kind in (POOL_TYPE, NAT_TYPE):
            for child in lab.store.children(lb.id, kind):
                found |= {nic.key: nic for nic in lab.store.referring(child.id, NIC_TYPE)}
        return Response(200, {"value": [lab.arm_get(r.id, call.api_version) for r in found.values()]})

    def nothing_of(kind: str) -> Any:
        """Lists that are always empty here: no service of this lab puts anything into them."""

        def handle(call: Call, params: dict[str, str]) -> Response:
            owner(call, f"{_BASE}/{kind}".format(**params))
            return Response(200, {"value": []})

        return handle

    def nothing_there(call: Call, params: dict[str, str]) -> Response:
        region(params)
        return Response(200, {"value": []})

    subnet = "virtualNetworks/{name}/subnets/{subnet}"
    routes = [
        (f"{_REGION}/CheckDnsNameAvailability", dns_name),
        (f"{_REGION}/virtualNetworkAvailableEndpointServices", endpoint_services),
        (f"{_REGION}/availableDelegations", delegations),
        (f"{_GROUPED}/availableDelegations", delegations),
        (f"{_REGION}/availableServiceAliases", nothing_there),
        (f"{_GROUPED}/availableServiceAliases", nothing_there),
        (f"{_REGION}/availablePrivateEndpointTypes", nothing_there),
        (f"{_GROUPED}/availablePrivateEndpointTypes", nothing_there),
        (f"{_BASE}/virtualNetworks/{{name}}/usages", network_usages),
        (f"{_BASE}/{subnet}/ResourceNavigationLinks", nothing_of(subnet)),
        (f"{_BASE}/{subnet}/ServiceAssociationLinks", nothing_of(subnet)),
        (f"{_BASE}/networkInterfaces/{{name}}/loadBalancers", balancers_of_card),
        (f"{_BASE}/networkInterfaces/{{name}}/tapConfigurations", nothing_of("networkInterfaces/{name}")),
        (f"{_BASE}/loadBalancers/{{name}}/networkInterfaces", cards_of_balancer),
    ]
    return [Route(method="GET", path=path, handle=handle) for path, handle in routes]

"""Views into a parent's document: entries that have ids but no life of their own, read by their own URLs.

`GET …/loadBalancers/lb/probes`, `…/networkInterfaces/n/ipConfigurations/c`, `…/defaultSecurityRules/…`; and whether an
address of a network is free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import not_found
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import parse_id
from azurelab.arm.store import Resource
from azurelab.arm.types import Route
from azurelab.network.addresses import first_free_private, is_usable
from azurelab.network.interfaces import private_addresses
from azurelab.network.virtual_networks import SUBNET_TYPE, prefixes_of

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["inner_routes"]

_LISTS = {
    "loadBalancers": ("frontendIPConfigurations", "loadBalancingRules", "probes", "outboundRules"),
    "networkInterfaces": ("ipConfigurations",),
    "networkSecurityGroups": ("defaultSecurityRules",),
}
_BASE = "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Network"


def inner_routes(lab: Lab) -> list[Route]:
    def parent(kind: str, params: dict[str, str]) -> Resource:
        at = _BASE.format(**params) + f"/{kind}/{params['name']}"
        rid = parse_id(at)
        assert rid is not None
        lab.arm.check_group(rid)
        found = lab.store.get(at)
        if found is None:
            raise not_found(rid.named(), rid.group)
        return found

    def entries(kind: str, word: str, call: Call, params: dict[str, str]) -> list[dict[str, Any]]:
        shown = lab.arm_get(parent(kind, params).id, call.api_version)
        return list(shown["properties"].get(word) or ())

    def listing(kind: str, word: str) -> Any:
        return lambda call, params: Response(200, {"value": entries(kind, word, call, params)})

    def one(kind: str, word: str) -> Any:
        def handle(call: Call, params: dict[str, str]) -> Response:
            for entry in entries(kind, word, call, params):
                if entry["name"].lower() == params["entry"].lower():
                    return Response(200, entry, {"ETag": entry["etag"]})
            named = f"Microsoft.Network/{kind}/{params['name']}/{word}/{params['entry']}"
            raise not_found(named, params["group"])

        return handle

    def check_address(call: Call, params: dict[str, str]) -> Response:
        """CheckIPAddressAvailability: free, or not and five that are."""
        vnet = parent("virtualNetworks", params)
        wanted = call.query.get("ipaddress", "")
        for subnet in lab.store.children(vnet.id, SUBNET_TYPE):
            prefixes = prefixes_of(subnet)
            if not any(is_usable(p, wanted) for p in prefixes):
                continue
            taken = set(private_addresses(lab.store, subnet.id))
            if wanted not in taken:
                return Response(200, {"available": True})
            free: list[str] = []
            while len(free) < 5 and (found := first_free_private(prefixes, taken | set(free))) is not None:
                free.append(found)
            return Response(200, {"available": False, "availableIPAddresses": free})
        return Response(200, {"available": False, "availableIPAddresses": []})

    routes = [
        Route(
            method="GET",
            path=f"{_BASE}/virtualNetworks/{{name}}/CheckIPAddressAvailability",
            handle=check_address,
            action="Microsoft.Network/virtualNetworks/checkIpAddressAvailability/read",
        )
    ]
    for kind, words in _LISTS.items():
        for word in words:
            action = f"Microsoft.Network/{kind}/{word}/read"
            path = f"{_BASE}/{kind}/{{name}}/{word}"
            routes.append(Route(method="GET", path=path, handle=listing(kind, word), action=action))
            routes.append(Route(method="GET", path=f"{path}/{{entry}}", handle=one(kind, word), action=action))
    return routes

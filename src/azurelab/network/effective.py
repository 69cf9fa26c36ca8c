"""What applies to a card: effective routes and effective security rules, worked out from the stored documents.

Azure answers both for cards of running machines only, as long-running operations. Nothing here changes a packet.
"""

from __future__ import annotations

from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource
from azurelab.arm.types import Lro, Verb
from azurelab.network.errors import NetworkError

__all__ = ["ACTIONS"]

_ROUTE_TYPE = "Microsoft.Network/routeTables/routes"
# Azure's own routes beside the network's: everything else goes out, private ranges of nobody go nowhere.
_NOWHERE = ("10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16")


def _of_running(ctx: Context) -> None:
    nic = ctx.resource
    machine = (nic.properties.get("virtualMachine") or {}).get("id")
    if machine is None or not nic.hidden.get("up"):
        raise NetworkError(
            400,
            "NetworkInterfaceMustBeAttachedToRunningVm",  # (unverified)
            f"Network interface {nic.id} must be attached to a running virtual machine.",
        )


def _subnet(ctx: Context) -> Resource | None:
    first = ctx.resource.properties["ipConfigurations"][0]["properties"]["subnet"]["id"]
    return ctx.store.get(first)


def _network(ctx: Context, subnet: Resource | None) -> Resource | None:
    return ctx.store.get(subnet.id.rsplit("/subnets/", 1)[0]) if subnet is not None else None


def _route(source: str, prefixes: list[str], hop: str, state: str = "Active", via: str | None = None) -> dict[str, Any]:
    return {
        "source": source,
        "state": state,
        "addressPrefix": prefixes,
        "nextHopType": hop,
        "nextHopIpAddress": [via] if via else [],
        "hasBgpOverride": False,
    }


def _routes(ctx: Context) -> Any:
    subnet = _subnet(ctx)
    network = _network(ctx, subnet)
    own: list[str] = network.properties["addressSpace"]["addressPrefixes"] if network is not None else []
    table = ((subnet.properties.get("routeTable") or {}) if subnet is not None else {}).get("id")
    made = [r.properties | {"name": r.name} for r in ctx.store.children(table, _ROUTE_TYPE)] if table else []
    taken = {str(r.get("addressPrefix")) for r in made}

    def default(prefix: str, hop: str) -> dict[str, Any]:
        return _route("Default", [prefix], hop, "Invalid" if prefix in taken else "Active")

    found = [default(p, "VnetLocal") for p in own]
    found.append(default("0.0.0.0/0", "Internet"))
    found += [default(p, "None") for p in _NOWHERE if p not in own]
    for r in made:
        shown = _route("User", [str(r.get("addressPrefix"))], str(r.get("nextHopType")), via=r.get("nextHopIpAddress"))
        found.append({"name": r["name"], **shown})
    return {"value": found}


def _rules(ctx: Context) -> Any:
    """The groups of the subnet and of the card, each with all its rules in Azure's expanded form."""
    nic, subnet = ctx.resource, _subnet(ctx)
    found = []
    for at, holder in (("subnet", subnet), ("networkInterface", nic)):
        group = (holder.properties.get("networkSecurityGroup") or {}).get("id") if holder is not None else None
        if group is None or holder is None or ctx.store.get(group) is None:
            continue
        shown = ctx.lab.arm_get(group, ctx.api_version)["properties"]
        rules = [
            *(_expanded(r, "securityRules") for r in shown["securityRules"]),
            *(_expanded(r, "defaultSecurityRules") for r in shown["defaultSecurityRules"]),
        ]
        found.append(
            {
                "networkSecurityGroup": {"id": group},
                "association": {at: {"id": holder.id}},
                "effectiveSecurityRules": rules,
            }
        )
    return {"value": found}


def _expanded(rule: dict[str, Any], word: str) -> dict[str, Any]:
    p = rule["properties"]

    def ranges(name: str) -> list[str]:
        several = p.get(f"{name}Ranges") or ([p[f"{name}Range"]] if p.get(f"{name}Range") else [])
        return ["0-65535" if r == "*" else r if "-" in r else f"{r}-{r}" for r in several]

    def prefixes(name: str) -> list[str]:
        return p.get(f"{name}Prefixes") or ([p[f"{name}Prefix"]] if p.get(f"{name}Prefix") else [])

    shown = {
        "name": f"{word}/{rule['name']}",
        "protocol": "All" if p["protocol"] == "*" else p["protocol"],
        "sourcePortRanges": ranges("sourcePort"),
        "destinationPortRanges": ranges("destinationPort"),
        "sourceAddressPrefixes": prefixes("sourceAddress"),
        "destinationAddressPrefixes": prefixes("destinationAddress"),
        "access": p["access"],
        "priority": p["priority"],
        "direction": p["direction"],
    }
    for one, several in (("sourcePortRange", "sourcePortRanges"), ("destinationPortRange", "destinationPortRanges"),
                         ("sourceAddressPrefix", "sourceAddressPrefixes"),
                         ("destinationAddressPrefix", "destinationAddressPrefixes")):  # fmt: skip
        if len(shown[several]) == 1:
            shown[one] = shown[several][0]
    return shown


def _action(result: Any) -> Verb:
    return Verb(existing=202, lro=Lro.BOTH, seconds=3, quick=True, prepare=_of_running, result=result, empty=True)


ACTIONS = {"effectiveRouteTable": _action(_routes), "effectiveNetworkSecurityGroups": _action(_rules)}

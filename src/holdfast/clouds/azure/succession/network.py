"""New network cards and addresses like a machine's own, and leaving and joining load-balancer pools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

from holdfast.clouds.azure.succession.names import in_group, merged
from holdfast.clouds.documents import Document, same_ref

__all__ = [
    "NICS",
    "PUBLIC_IPS",
    "new_nic",
    "new_public_ip",
    "pools_of",
    "public_ip_refs",
    "with_pools",
    "without_pools",
]

NICS = "Microsoft.Network/networkInterfaces"
PUBLIC_IPS = "Microsoft.Network/publicIPAddresses"
NETWORK_VERSION = "2024-05-01"

_POOL_KEYS = ("loadBalancerBackendAddressPools", "applicationGatewayBackendAddressPools", "loadBalancerInboundNatRules")
_COPIED_OF_NIC = (
    "networkSecurityGroup",
    "enableIPForwarding",
    "enableAcceleratedNetworking",
    "disableTcpStateTracking",
    "auxiliaryMode",
    "auxiliarySku",
)
_COPIED_OF_CONFIGURATION = ("privateIPAddressVersion", "primary")
_COPIED_OF_ADDRESS = ("publicIPAddressVersion", "idleTimeoutInMinutes", "ddosSettings", "publicIPPrefix")


def new_public_ip(original: Document, group: str, name: str, tags: Mapping[str, str]) -> Document:
    """An address of the same SKU, tier, zones and version. Standard addresses are always static."""
    sku = original.body.get("sku") or {"name": "Basic"}
    properties = {
        key: original.get(f"properties.{key}")
        for key in _COPIED_OF_ADDRESS
        if original.get(f"properties.{key}") is not None
    }
    properties["publicIPAllocationMethod"] = original.get("properties.publicIPAllocationMethod", "Static")
    body: dict[str, Any] = {
        "location": original.body["location"],
        "tags": merged(original.tags, tags),
        "sku": sku,
        "properties": properties,
    }
    for key in ("zones", "extendedLocation"):
        if original.body.get(key):
            body[key] = original.body[key]
    return Document(
        ref=in_group(original.ref, group, PUBLIC_IPS, name), type=PUBLIC_IPS, api_version=NETWORK_VERSION, body=body
    )


def new_nic(
    original: Document, group: str, name: str, addresses: Mapping[str, str], tags: Mapping[str, str]
) -> Document:
    """A card in the same subnet with as many configurations; `addresses` maps old public IP ids (lower case) to new.

    Pools and NAT rules are not joined here: that follows the proof of the machine.
    """
    configurations = []
    for was in original.get("properties.ipConfigurations", []):
        old = was.get("properties", {})
        new: dict[str, Any] = {key: old[key] for key in _COPIED_OF_CONFIGURATION if old.get(key) is not None}
        new["privateIPAllocationMethod"] = "Dynamic"
        new["subnet"] = {"id": old["subnet"]["id"]}
        if old.get("applicationSecurityGroups"):
            new["applicationSecurityGroups"] = [{"id": group_["id"]} for group_ in old["applicationSecurityGroups"]]
        old_address = (old.get("publicIPAddress") or {}).get("id")
        if old_address and old_address.lower() in addresses:
            new["publicIPAddress"] = {
                "id": addresses[old_address.lower()],
                "properties": {"deleteOption": "Detach"},
            }
        configurations.append({"name": was["name"], "properties": new})
    properties: dict[str, Any] = {"ipConfigurations": configurations}
    for key in _COPIED_OF_NIC:
        value = original.get(f"properties.{key}")
        if value is not None:
            properties[key] = {"id": value["id"]} if isinstance(value, dict) and "id" in value else value
    if servers := original.get("properties.dnsSettings.dnsServers"):
        properties["dnsSettings"] = {"dnsServers": servers}
    body: dict[str, Any] = {
        "location": original.body["location"],
        "tags": merged(original.tags, tags),
        "properties": properties,
    }
    if original.body.get("extendedLocation"):
        body["extendedLocation"] = original.body["extendedLocation"]
    return Document(ref=in_group(original.ref, group, NICS, name), type=NICS, api_version=NETWORK_VERSION, body=body)


def public_ip_refs(nic: Document) -> list[str]:
    """Ids of the public addresses of a card, in the order of its configurations."""
    found = []
    for configuration in nic.get("properties.ipConfigurations", []):
        if ref := (configuration.get("properties", {}).get("publicIPAddress") or {}).get("id"):
            found.append(ref)
    return found


def pools_of(nic: Document) -> list[str]:
    """Ids of every pool and NAT rule that the card is in."""
    return [
        entry["id"]
        for configuration in nic.get("properties.ipConfigurations", [])
        for key in _POOL_KEYS
        for entry in configuration.get("properties", {}).get(key) or []
    ]


def without_pools(nic: Document) -> Document:
    """The card as it is, out of every pool."""
    return _with_configurations(nic, lambda _, now: {k: v for k, v in now.items() if k not in _POOL_KEYS})


def with_pools(nic: Document, original: Document) -> Document:
    """The card as it is, in the pools that `original` was in, configuration by configuration.

    Matched by name; a card whose configurations have other names is matched by position.
    """
    old = [(c["name"], c.get("properties", {})) for c in original.get("properties.ipConfigurations", [])]
    by_name = dict(old)
    by_place = {c["name"]: was for c, (_, was) in zip(nic.get("properties.ipConfigurations", []), old, strict=False)}

    def joined(name: str, now: dict[str, Any]) -> dict[str, Any]:
        out = dict(now)
        wanted = by_name.get(name) or by_place.get(name) or {}
        for key in _POOL_KEYS:
            if entries := wanted.get(key):
                have = out.get(key) or []
                missing = [{"id": e["id"]} for e in entries if not any(same_ref(e["id"], h["id"]) for h in have)]
                out[key] = [*have, *missing]
        return out

    return _with_configurations(nic, joined)


def _with_configurations(nic: Document, change: Callable[[str, dict[str, Any]], dict[str, Any]]) -> Document:
    body = deepcopy(nic.body)
    for configuration in body.get("properties", {}).get("ipConfigurations", []):
        configuration["properties"] = change(configuration["name"], configuration.get("properties", {}))
    return replace(nic, body=body)

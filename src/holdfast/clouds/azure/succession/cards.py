"""Network cards as a specification asks for them, where they are not like the original's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.clouds.azure.succession.names import fitted, in_group
from holdfast.clouds.azure.succession.network import NETWORK_VERSION, NICS, PUBLIC_IPS
from holdfast.clouds.documents import Document

__all__ = ["CardWish", "cards_from_wishes"]


@dataclass(frozen=True)
class CardWish:
    """One card: ids of what it joins; public_ip_sku None = no public address. extra: (name, IPv4 | IPv6) each."""

    primary: bool
    subnet: str
    security_group: str | None = None
    application_groups: tuple[str, ...] = ()
    public_ip_sku: str | None = None
    forwarding: bool = False
    accelerated: bool = False
    extra: tuple[tuple[str, str], ...] = ()


def cards_from_wishes(
    wishes: tuple[CardWish, ...], like: str, group: str, machine: str, seed: str, location: str,
    zones: list[str], tags: Mapping[str, str],
) -> tuple[dict[str, Document], dict[str, Document]]:  # fmt: skip
    """(public addresses, cards) by role; the primary card first."""
    addresses: dict[str, Document] = {}
    cards: dict[str, Document] = {}
    for index, wish in enumerate(sorted(wishes, key=lambda wish: not wish.primary)):
        primary: dict[str, Any] = {
            "subnet": {"id": wish.subnet},
            "primary": True,
            "privateIPAllocationMethod": "Dynamic",
        }
        if wish.application_groups:
            primary["applicationSecurityGroups"] = [{"id": ref} for ref in wish.application_groups]
        if wish.public_ip_sku:
            role = f"public-ip-{len(addresses)}"
            address = _address(wish.public_ip_sku, like, group, fitted(machine, f"-ip-{len(addresses)}-{seed}"),
                               location, zones, tags)  # fmt: skip
            addresses[role] = address
            primary["publicIPAddress"] = {"id": address.ref, "properties": {"deleteOption": "Detach"}}
        configurations = [{"name": "ipconfig1", "properties": primary}]
        configurations += [
            {
                "name": name,
                "properties": {
                    "subnet": {"id": wish.subnet},
                    "privateIPAllocationMethod": "Dynamic",
                    "privateIPAddressVersion": version,
                },
            }
            for name, version in wish.extra
        ]
        properties: dict[str, Any] = {
            "ipConfigurations": configurations,
            "enableIPForwarding": wish.forwarding,
            "enableAcceleratedNetworking": wish.accelerated,
        }
        if wish.security_group:
            properties["networkSecurityGroup"] = {"id": wish.security_group}
        cards[f"nic-{index}"] = Document(
            ref=in_group(like, group, NICS, fitted(machine, f"-nic-{index}-{seed}")),
            type=NICS,
            api_version=NETWORK_VERSION,
            body={"location": location, "tags": dict(tags), "properties": properties},
        )
    return addresses, cards


def _address(
    sku: str, like: str, group: str, name: str, location: str, zones: list[str], tags: Mapping[str, str]
) -> Document:
    method = "Static" if sku == "Standard" else "Dynamic"
    body: dict[str, Any] = {
        "location": location,
        "tags": dict(tags),
        "sku": {"name": sku},
        "properties": {"publicIPAllocationMethod": method, "publicIPAddressVersion": "IPv4"},
    }
    if zones and sku == "Standard":
        body["zones"] = zones
    return Document(
        ref=in_group(like, group, PUBLIC_IPS, name), type=PUBLIC_IPS, api_version=NETWORK_VERSION, body=body
    )

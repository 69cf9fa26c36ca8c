"""The network section of a specification, as card wishes for the cloud; only where it differs from the machine's."""

from __future__ import annotations

from holdfast.clouds.azure.succession import CardWish
from holdfast.clouds.azure.succession.names import in_group
from holdfast.clouds.protocols import Facts
from holdfast.nodes.spec import Network, NetworkInterface
from holdfast.nodes.spec.network import Named

__all__ = ["card_wishes"]


def card_wishes(network: Network, facts: Facts) -> tuple[CardWish, ...]:
    """Names become ids in the machine's subscription."""
    like = facts.machine.ref
    vnet = in_group(like, network.resource_group_name, "Microsoft.Network/virtualNetworks",
                    network.virtual_network_name)  # fmt: skip
    accelerated = any(nic.get("properties.enableAcceleratedNetworking", False) for nic in facts.nics)
    return tuple(
        _wish(card, vnet, like, network.resource_group_name, accelerated) for card in network.network_interfaces
    )


def _wish(card: NetworkInterface, vnet: str, like: str, group: str, accelerated: bool) -> CardWish:
    return CardWish(
        primary=card.is_primary,
        subnet=f"{vnet}/subnets/{card.subnet_name}",
        security_group=_ref(card.network_security_group, like, group, "networkSecurityGroups"),
        application_groups=tuple(
            ref
            for named in card.application_security_groups or ()
            if (ref := _ref(named, like, group, "applicationSecurityGroups"))
        ),
        public_ip_sku=card.public_ip_sku if card.assign_public_ip else None,
        forwarding=bool(card.enable_ip_forwarding),
        accelerated=accelerated,
        extra=tuple(
            (extra.name, extra.private_ip_address_version) for extra in card.additional_ip_configurations or ()
        ),
    )


def _ref(named: Named | None, like: str, group: str, kind: str) -> str | None:
    if named is None or not named.name:
        return None
    return in_group(like, named.resource_group_name or group, f"Microsoft.Network/{kind}", named.name)

"""Addresses as Azure gives them out: private ones from a subnet, public ones from the lab's loopback network. Pure."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Collection, Iterable

__all__ = ["first_free_private", "guid_of", "is_usable", "mac_of", "next_public", "parse_prefix", "suffix_of"]

RESERVED_FIRST = 4
"""Azure keeps the network address, the gateway and two for DNS; and the broadcast address at the end."""


def parse_prefix(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(text, strict=True)
    except ValueError:
        return None


def is_usable(prefix: ipaddress.IPv4Network | ipaddress.IPv6Network, address: str) -> bool | None:
    """Whether an address of the subnet may be given out; None when it is not of the subnet or no address."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return None
    if found not in prefix:
        return None
    offset = int(found) - int(prefix.network_address)
    return RESERVED_FIRST <= offset < prefix.num_addresses - 1


def first_free_private(
    prefixes: Iterable[ipaddress.IPv4Network | ipaddress.IPv6Network], taken: Collection[str]
) -> str | None:
    """The lowest free address, None when the subnet is full."""
    for prefix in prefixes:
        start = int(prefix.network_address)
        for offset in range(RESERVED_FIRST, prefix.num_addresses - 1):
            address = str(ipaddress.ip_address(start + offset))
            if address not in taken:
                return address
    return None


FIRST_PUBLIC, LAST_PUBLIC = 256, 2047
"""Positions in the lab's /20 that public addresses have; the upper half is for prefixes."""


def next_public(network: ipaddress.IPv4Network, after: int, taken: Collection[str]) -> tuple[str, int] | None:
    """(address, its position), the first free one behind position `after`, going round; None when all are taken.

    Going on instead of reusing the lowest makes a dynamic address change visibly when it is given back and taken anew.
    """
    span = LAST_PUBLIC - FIRST_PUBLIC + 1
    for step in range(1, span + 1):
        position = FIRST_PUBLIC + (after - FIRST_PUBLIC + step) % span
        if position & 0xFF in (0, 255):
            continue
        address = str(network[position])
        if address not in taken:
            return address, position
    return None


def mac_of(network_guid: str, private_ip: str) -> str:
    """A card's hardware address, the same for the same place in the same network: 00-0D-3A-xx-xx-xx."""
    digest = hashlib.sha256(f"{network_guid}/{private_ip}".encode()).digest()
    return f"00-0D-3A-{digest[0]:02X}-{digest[1]:02X}-{digest[2]:02X}"


def suffix_of(network_guid: str) -> str:
    """internalDomainNameSuffix of a network: 26 letters and digits."""
    number = int.from_bytes(hashlib.sha256(network_guid.encode()).digest()[:17], "big")
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    word = ""
    while len(word) < 26:
        number, at = divmod(number, 36)
        word += letters[at]
    return f"{word}.ax.internal.cloudapp.net"


def guid_of(network_id: str) -> str:
    return hashlib.sha256(network_id.lower().encode()).hexdigest()

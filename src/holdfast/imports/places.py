"""What a specification names must be there before anything begins: its resource group, subnets and security groups."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from holdfast.clouds.azure.succession import CardWish
from holdfast.clouds.azure.succession.names import resource_group_of, subscription_of
from holdfast.clouds.errors import PermissionMissing
from holdfast.clouds.protocols import Facts, Finding, Severity

__all__ = ["missing_places"]

_LAUNCH = "compute.launchSpecification"
_NETWORK = f"{_LAUNCH}.network"


def missing_places(
    facts: Facts, group: str, cards: tuple[CardWish, ...], exists: Callable[[str], bool]
) -> Iterator[Finding]:
    """One finding for each absent thing. The machine's own group and network were read with it: no call for them.

    group: where the successor goes. exists: one read each.
    """
    own = facts.machine.ref
    if group.lower() != resource_group_of(own).lower():
        ref = f"/subscriptions/{subscription_of(own)}/resourceGroups/{group}"
        if _absent(ref, exists):
            yield _missing(f"resource group {group}", "resourceGroupName")
    for ref, field in dict(_named(cards)).items():
        if _absent(ref, exists):
            kind = ref.split("/")[-2].removesuffix("s")
            yield _missing(f"{kind} {ref.rsplit('/', 1)[-1]} ({ref})", field)


def _named(cards: tuple[CardWish, ...]) -> Iterator[tuple[str, str]]:
    for card in cards:
        yield card.subnet, _NETWORK
        if card.security_group is not None:
            yield card.security_group, f"{_NETWORK}.networkInterfaces"
        for ref in card.application_groups:
            yield ref, f"{_NETWORK}.networkInterfaces"


def _absent(ref: str, exists: Callable[[str], bool]) -> bool:
    """A credential may join a network that it may not read: then Azure tells when the card is made."""
    try:
        return not exists(ref)
    except PermissionMissing:
        return False


def _missing(what: str, field: str) -> Finding:
    return Finding("PLACE_MISSING", Severity.REFUSAL, f"There is no {what}.", f"Correct {field}, or create it.", field)

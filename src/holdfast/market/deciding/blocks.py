"""After a refused order a market is left alone for a while; how long depends on what the cloud said.

Durations and the rule for families follow the Karpenter provider for Azure (reference page, section 7).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

__all__ = ["Block", "Meaning", "Refusal", "block_of", "blocks_after", "meaning_of"]


class Meaning(StrEnum):
    NO_CAPACITY = "no-capacity"
    NOT_OFFERED = "not-offered"
    NO_QUOTA = "no-quota"
    PRICE_LIMIT = "price-limit"
    IN_PLACE = "in-place-change"
    NOT_USABLE = "not-usable"
    NO_DATA = "no-data"
    THROTTLED = "throttled"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Refusal:
    """What an order that was refused tells: its meaning, how long to leave the market, and what to do besides.

    `block` None = nothing is blocked. `family_wide`: larger sizes of the family lack capacity too.
    """

    meaning: Meaning
    block: timedelta | None
    family_wide: bool
    action: str


_CAPACITY = timedelta(hours=1)  # shorter orders into the same shortage; longer misses its end (half last < 45 min)
_NOT_OFFERED = timedelta(hours=23)  # below a day, so that a daily attempt does happen
_QUOTA = timedelta(minutes=10)  # somebody may free quota at any time
_OTHER = timedelta(minutes=3)

_BY_CODE = {
    "AllocationFailed": Refusal(Meaning.NO_CAPACITY, _CAPACITY, True, "try the next market"),
    "ZonalAllocationFailed": Refusal(Meaning.NO_CAPACITY, _CAPACITY, True, "try another zone or size"),
    "OverconstrainedAllocationRequest": Refusal(Meaning.NO_CAPACITY, _CAPACITY, True, "try another zone or size"),
    "OverconstrainedZonalAllocationRequest": Refusal(Meaning.NO_CAPACITY, _CAPACITY, True, "try another zone or size"),
    "SpotPriceGreaterThanProvidedMaxPrice": Refusal(
        Meaning.PRICE_LIMIT, None, False, "the maximum price is too low; raise it: this says nothing about capacity"
    ),
    "VMPriorityCannotBeApplied": Refusal(
        Meaning.IN_PLACE, None, False, "the priority of a machine is never changed in place; re-create it"
    ),
    "RestrictedSku": Refusal(Meaning.NOT_USABLE, _NOT_OFFERED, False, "drop the size"),
    "DataNotFound": Refusal(Meaning.NO_DATA, None, False, "treat the score as unknown"),
    "TooManyRequests": Refusal(Meaning.THROTTLED, None, False, "wait as Retry-After says"),
}
_QUOTA_CODES = {"QuotaExceeded", "OperationNotAllowed", "SpotQuotaExceeded", "LowPriorityQuotaExceeded"}
_UNKNOWN = Refusal(Meaning.UNKNOWN, _OTHER, False, "try the next market")


def meaning_of(code: str, spot: bool) -> Refusal:
    """What an error code means for the market that was ordered. Codes are compared as the cloud writes them."""
    if code == "SkuNotAvailable":
        if spot:
            return Refusal(Meaning.NO_CAPACITY, _CAPACITY, True, "try the next market")
        return Refusal(Meaning.NOT_OFFERED, _NOT_OFFERED, False, "choose another size; this one is not offered to us")
    if code in _QUOTA_CODES or "quota" in code.lower():
        return Refusal(Meaning.NO_QUOTA, _QUOTA, False, "free quota first, or ask for more")
    return _BY_CODE.get(code, _UNKNOWN)


@dataclass(frozen=True)
class Block:
    """Markets that are not ordered until a time: one size, or its family from `from_vcpus` up.

    `zone` None blocks every zone; `spot` None blocks both priorities.
    """

    until: datetime
    reason: str
    size: str | None = None
    family: str | None = None
    from_vcpus: int = 0
    zone: str | None = None
    spot: bool | None = None

    def covers(self, size: str, family: str, vcpus: int, zone: str | None, spot: bool, now: datetime) -> bool:
        if now >= self.until or (self.spot is not None and self.spot != spot):
            return False
        if self.zone is not None and self.zone != zone:
            return False
        if self.size is not None:
            return self.size.lower() == size.lower()
        return (self.family or "").lower() == family.lower() and vcpus >= self.from_vcpus


def blocks_after(
    code: str, *, size: str, family: str, vcpus: int, zone: str | None, spot: bool, now: datetime
) -> tuple[Block, ...]:
    """What to leave alone after an order was refused with this code. Capacity: the size's family from its vCPUs up."""
    refusal = meaning_of(code, spot)
    if refusal.block is None:
        return ()
    until = now + refusal.block
    where = None if refusal.meaning in (Meaning.NOT_OFFERED, Meaning.NOT_USABLE, Meaning.NO_QUOTA) else zone
    if refusal.family_wide and family:
        return (Block(until, code, family=family, from_vcpus=vcpus, zone=where, spot=spot),)
    return (Block(until, code, size=size, zone=where, spot=spot),)


def block_of(
    blocks: Iterable[Block], *, size: str, family: str, vcpus: int, zone: str | None, spot: bool, now: datetime
) -> Block | None:
    """The block that holds longest over this market now, None if it may be ordered."""
    holding = [b for b in blocks if b.covers(size, family, vcpus, zone, spot, now)]
    return max(holding, key=lambda b: b.until, default=None)

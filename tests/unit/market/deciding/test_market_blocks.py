"""What a refused order means, for how long, and for which other markets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.market.deciding.blocks import Meaning, block_of, blocks_after, meaning_of

NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
D4 = {"size": "Standard_D4s_v5", "family": "standardDSv5Family", "vcpus": 4, "zone": "1", "spot": True}


@pytest.mark.parametrize(
    ("code", "spot", "meaning", "block"),
    [
        ("SkuNotAvailable", True, Meaning.NO_CAPACITY, timedelta(hours=1)),
        ("SkuNotAvailable", False, Meaning.NOT_OFFERED, timedelta(hours=23)),
        ("AllocationFailed", True, Meaning.NO_CAPACITY, timedelta(hours=1)),
        ("ZonalAllocationFailed", True, Meaning.NO_CAPACITY, timedelta(hours=1)),
        ("OverconstrainedAllocationRequest", True, Meaning.NO_CAPACITY, timedelta(hours=1)),
        ("QuotaExceeded", True, Meaning.NO_QUOTA, timedelta(minutes=10)),
        ("SpotPriceGreaterThanProvidedMaxPrice", True, Meaning.PRICE_LIMIT, None),
        ("VMPriorityCannotBeApplied", True, Meaning.IN_PLACE, None),
        ("DataNotFound", True, Meaning.NO_DATA, None),
        ("TooManyRequests", True, Meaning.THROTTLED, None),
        ("SomethingElse", True, Meaning.UNKNOWN, timedelta(minutes=3)),
    ],
)
def test_each_code_of_the_taxonomy(code: str, spot: bool, meaning: Meaning, block: timedelta | None):
    told = meaning_of(code, spot)

    assert (told.meaning, told.block) == (meaning, block)
    assert told.action


def test_a_capacity_failure_blocks_the_family_from_that_size_up_in_that_zone():
    blocks = blocks_after("AllocationFailed", **D4, now=NOW)

    def blocked(**change: object) -> bool:
        return block_of(blocks, **{**D4, **change}, now=NOW) is not None  # type: ignore[arg-type]

    assert blocked()
    assert blocked(size="Standard_D8s_v5", vcpus=8)
    assert not blocked(size="Standard_D2s_v5", vcpus=2)
    assert not blocked(zone="2")
    assert not blocked(family="standardESv5Family")
    assert not blocked(spot=False)
    assert block_of(blocks, **D4, now=NOW + timedelta(hours=1)) is None


def test_a_size_that_is_not_offered_is_blocked_in_every_zone():
    blocks = blocks_after("SkuNotAvailable", **{**D4, "spot": False}, now=NOW)

    assert block_of(blocks, **{**D4, "spot": False, "zone": "3"}, now=NOW) is not None
    assert block_of(blocks, **{**D4, "spot": False, "size": "Standard_D8s_v5"}, now=NOW) is None


def test_a_price_limit_blocks_nothing():
    assert blocks_after("SpotPriceGreaterThanProvidedMaxPrice", **D4, now=NOW) == ()

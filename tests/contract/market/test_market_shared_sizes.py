"""The funnel of a complete eastus answer, as the reference page counts it. Skipped where the data is not present."""

from __future__ import annotations

import gzip
import json
import os
from datetime import date
from pathlib import Path

import pytest

from holdfast.market.deciding.sizes import MachineTraits, SizeWish, TempDisk, qualify, sizes_from_azure_skus

SHARED = Path(os.environ.get("HOLDFAST_SHARED", Path(__file__).parents[4] / "shared"))
ANSWER = SHARED / "data" / "market" / "azure_resource_skus_eastus_skewer.json.gz"
TODAY = date(2020, 8, 25)

pytestmark = pytest.mark.skipif(not ANSWER.exists(), reason=f"{ANSWER} is not here")


@pytest.fixture(scope="module")
def sizes():
    return sizes_from_azure_skus(json.loads(gzip.decompress(ANSWER.read_bytes())), "eastus")


MACHINE = MachineTraits(
    generation="V2",
    premium_disks=True,
    data_disks=4,
    highest_lun=3,
    accelerated_networking=True,
    temp_disk=TempDisk.SCSI,
    zone="1",
    zone_redundant=True,
)
WISH = SizeWish(min_cpu=4, max_cpu=8, min_memory_gib=16, max_memory_gib=64, zones=("1", "2", "3"))


def test_restrictions_of_the_spot_capable_sizes_are_counted_as_on_the_page(sizes):
    spot = [s for s in sizes if s.flag("LowPriorityCapable")]
    located = [s for s in spot if any(r.whole_location for r in s.restrictions)]
    zonal = [s for s in spot if s.restrictions and s not in located]
    lost = [frozenset().union(*(r.zones for r in s.restrictions)) for s in zonal]

    assert (len(sizes), len(spot)) == (377, 327)
    assert sum(bool(s.restrictions) for s in spot) == 133
    assert len(located) == 45
    assert sum(bool(s.zones - gone) for s, gone in zip(zonal, lost, strict=True)) == 36
    assert sum(not s.zones - gone for s, gone in zip(zonal, lost, strict=True)) == 52


def test_the_funnel_over_unrestricted_sizes_is_the_one_of_the_page(sizes):
    unrestricted = [s for s in sizes if not s.restrictions]

    funnel = qualify(MACHINE, unrestricted, WISH, today=TODAY)

    counts = [funnel.remaining(f"size.{rule}") for rule in ("restricted", "vcpus", "memory", "generation")]
    assert counts == [194, 63, 46, 25]
    assert funnel.remaining("size.premium_storage") == 24
    assert funnel.remaining("size.accelerated_networking") == 22
    assert (len(funnel.qualified), funnel.markets) == (21, 58)


def test_one_size_remains_for_a_machine_without_temp_disk(sizes):
    unrestricted = [s for s in sizes if not s.restrictions]
    bare = MachineTraits(**{**MACHINE.__dict__, "temp_disk": TempDisk.NONE})

    assert len(qualify(bare, unrestricted, WISH, today=TODAY).qualified) == 1


def test_a_size_that_loses_some_zones_keeps_the_others(sizes):
    plain = MachineTraits(zone="1", zone_redundant=True, temp_disk=TempDisk.SCSI)
    funnel = qualify(plain, sizes, SizeWish(zones=("1", "2", "3")), today=TODAY)

    partly = [q for q in funnel.qualified if any("restricted in zone" in note for note in q.notes)]
    assert partly
    assert all(0 < len(q.zones) < 3 for q in partly)

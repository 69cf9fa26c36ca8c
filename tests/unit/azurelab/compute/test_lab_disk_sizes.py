"""Tables of managed disks, against figures that Azure's own answers carry (recorded)."""

from __future__ import annotations

import pytest

from azurelab.compute.disk_sizes import GIB, size_gib, sku_tier, speeds


@pytest.mark.parametrize(
    ("sku", "gib", "iops", "mbps", "tier"),
    [
        ("Premium_LRS", 20, 120, 25, "P4"),
        ("Premium_LRS", 1, 120, 25, "P1"),
        ("Premium_LRS", 10, 120, 25, "P3"),
        ("Premium_LRS", 128, 500, 100, "P10"),
        ("Premium_LRS", 1024, 5000, 200, "P30"),
        ("Premium_LRS", 32767, 20000, 900, "P80"),
        ("Standard_LRS", 200, 500, 60, None),
        ("StandardSSD_LRS", 8192, 2000, 400, None),
    ],
)
def test_speed_follows_from_sku_and_size(sku: str, gib: int, iops: int, mbps: int, tier: str | None) -> None:
    found = speeds(sku, gib)

    assert (found["diskIOPSReadWrite"], found["diskMBpsReadWrite"], found.get("tier")) == (iops, mbps, tier)


def test_sizes_count_gibibytes_rounded_up_and_tiers_follow_the_name() -> None:
    assert [size_gib(n) for n in (20 << 20, GIB, GIB + 512)] == [1, 1, 2]
    assert [sku_tier(s) for s in ("Standard_LRS", "StandardSSD_ZRS", "Premium_ZRS", "UltraSSD_LRS")] == [
        "Standard",
        "Standard",
        "Premium",
        "Ultra",
    ]

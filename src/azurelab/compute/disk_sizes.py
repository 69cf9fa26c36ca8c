"""Sizes, tiers and speeds of managed disks: tables of the vendor's "Azure managed disk types". Pure."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

__all__ = ["GIB", "LARGEST_GIB", "SKUS", "size_gib", "sku_tier", "speeds"]

GIB = 1 << 30
LARGEST_GIB = 32767
"""The largest managed disk but Ultra and PremiumV2, which reach 65536."""

SKUS = (
    "Standard_LRS",
    "StandardSSD_LRS",
    "StandardSSD_ZRS",
    "Premium_LRS",
    "Premium_ZRS",
    "PremiumV2_LRS",
    "UltraSSD_LRS",
    "Standard_ZRS",
)

_BOUNDS = (4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32767)
_NUMBERS = (1, 2, 3, 4, 6, 10, 15, 20, 30, 40, 50, 60, 70, 80)
# (IOPS, MB/s) per bound.
_PREMIUM = (
    (120, 25), (120, 25), (120, 25), (120, 25), (240, 50), (500, 100), (1100, 125), (2300, 150), (5000, 200),
    (7500, 250), (7500, 250), (16000, 500), (18000, 750), (20000, 900),
)  # fmt: skip
_SSD = (*(((500, 60),) * 11), (2000, 400), (4000, 600), (6000, 750))
_HDD = (*(((500, 60),) * 11), (1300, 300), (2000, 500), (2000, 500))


def size_gib(size_bytes: int) -> int:
    """`diskSizeGB`, which counts GiB: rounded up, so that a smaller disk still has one."""
    return max(-(-size_bytes // GIB), 1)


def sku_tier(sku: str) -> str:
    """Standard, Premium or Ultra: what `sku.tier` says."""
    if sku.startswith("UltraSSD"):
        return "Ultra"
    return "Premium" if sku.startswith("Premium") else "Standard"


def speeds(sku: str, gib: int) -> dict[str, Any]:
    """`diskIOPSReadWrite`, `diskMBpsReadWrite` and, for Premium SSD, the performance `tier`."""
    if sku.startswith(("UltraSSD", "PremiumV2")):
        return {"diskIOPSReadWrite": 3000 if sku.startswith("PremiumV2") else 500, "diskMBpsReadWrite": 125}
    at = min(bisect_left(_BOUNDS, gib), len(_BOUNDS) - 1)
    table = _PREMIUM if sku.startswith("Premium") else _SSD if sku.startswith("StandardSSD") else _HDD
    iops, mbps = table[at]
    found: dict[str, Any] = {"diskIOPSReadWrite": iops, "diskMBpsReadWrite": mbps}
    if sku.startswith("Premium"):
        found["tier"] = f"P{_NUMBERS[at]}"
    return found

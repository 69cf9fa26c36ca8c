"""Sizes and durations as people write them. Everything inside is bytes and seconds."""

from __future__ import annotations

import re
from datetime import timedelta

from holdfast.core.errors import InvalidInput

__all__ = ["GIB", "KIB", "MIB", "TIB", "format_bytes", "format_duration", "parse_bytes", "parse_duration"]

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
TIB = 1024 * GIB

# Compiled when first used: a disk's copy needs the units but neither pattern, and starts a tenth faster without them.
_DURATION = r"(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?"
_BYTES = r"(\d+(?:\.\d+)?)\s*([KMGT]?)(?:I?B)?"


def parse_duration(text: str, field: str = "duration") -> timedelta:
    """`96h`, `2d12h`, `1w`, `15m`, `90s`; a bare number but 0 is refused because nobody can know its unit."""
    if text.strip() == "0":
        return timedelta(0)
    match = re.fullmatch(_DURATION, text.strip().lower())
    if not match or not any(match.groups()):
        raise InvalidInput(field=field, problem=f"'{text}' is not a duration such as 96h, 2d12h, 15m or 90s")
    weeks, days, hours, minutes, seconds = (int(g or 0) for g in match.groups())
    try:
        return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    except OverflowError as exc:
        raise InvalidInput(field=field, problem=f"'{text}' is longer than any duration") from exc


def format_duration(span: timedelta) -> str:
    """The two largest units: `3d 23h`, `2h 5m`, `41s`. Negative spans read as `0s`."""
    left = max(0, int(span.total_seconds()))
    parts = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"


def parse_bytes(text: str, field: str = "size") -> int:
    """`512`, `4K`, `1.5G`, `10MiB`: powers of 1024."""
    match = re.fullmatch(_BYTES, text.strip(), re.IGNORECASE)
    if not match:
        raise InvalidInput(field=field, problem=f"'{text}' is not a size such as 512, 64K, 10M or 1.5G")
    scale = {"": 1, "K": KIB, "M": MIB, "G": GIB, "T": TIB}[match[2].upper()]
    return int(float(match[1]) * scale)


def format_bytes(count: int) -> str:
    """`0 B`, `512 B`, `4.0 KiB`, `1.5 GiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"

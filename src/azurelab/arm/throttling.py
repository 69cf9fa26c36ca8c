"""Azure's call budgets: buckets refill with time, answers tell what is left, and 429 comes where limits are enforced.

Budgets are counted always and enforced only when the world says so (`throttling.enforce`), for a lab that throttles
its tests by default would be slow and teach nothing.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call

if TYPE_CHECKING:
    from azurelab.arm.store import Store
    from azurelab.world.clock import LabClock

__all__ = ["Throttle"]

# calls per 3 minutes and per 30 minutes, as recorded (reference: highest remaining value seen)
_BUCKETS: dict[str, tuple[int, int]] = {
    "PutVM": (790, 3950),
    "UpdateVM": (240, 1200),
    "DeleteVM": (240, 1200),
    "CreateUpdateDisks": (1000, 8000),
    "DeleteDisks": (3000, 24000),
    "HighCostSnapshotCreateHydrate": (1000, 8000),
    "HighCostDiskHydrate": (1000, 8000),
    "HighCostDiskEncryptionSet": (300, 1000),
    "LowCostGet": (15000, 120000),
    "LowCostGetVM": (4000, 32000),
    "HighCostGet": (240, 1920),
    "HighCostGetVM": (140, 700),
    "GetOperation": (50000, 400000),
    "GetOperationStatus": (1200, 4200),
    "CreateImages": (40, 200),
    "DeleteImages": (120, 600),
    "GetImages": (360, 1800),
    "CreateUpdateGallery": (50, 300),
    "CreateUpdateGalleryImage": (150, 750),
    "CreateUpdateGalleryImageVersion": (375, 1200),
    "GetSubscriptionInfo": (1000, 0),
}
_DEFAULT = (1200, 4200)
# the front door since 2024: token bucket size and refill per second, per principal
_DOOR = {"reads": (250, 25.0), "writes": (200, 10.0), "deletes": (200, 10.0)}


class Throttle:
    """`spend` books one call and writes the headers of what is left; ArmError 429 where enforced and empty."""

    def __init__(self, store: Store, clock: LabClock) -> None:
        self._store = store
        self._clock = clock
        self._lock = threading.Lock()
        self._level: dict[tuple[str, str], tuple[float, float]] = {}

    def spend(self, call: Call, bucket: str, headers: dict[str, str]) -> None:
        """`bucket`: a name of the table, with a provider before it (`Microsoft.Compute/GetOperation`) or Compute's."""
        if call.inner:
            return
        enforce = bool(self._store.setting("throttling.enforce", False))
        family = "reads" if call.method in ("GET", "HEAD") else "deletes" if call.method == "DELETE" else "writes"
        size, refill = _DOOR[family]
        left = self._take((call.caller.appid, family), float(size), refill)
        if left < 0 and enforce:
            raise self._too_many(call, "SubscriptionRequestsThrottled", -left / refill)
        headers[f"x-ms-ratelimit-remaining-subscription-{family}"] = str(max(0, int(left)))
        headers[f"x-ms-ratelimit-remaining-subscription-global-{family}"] = str(max(0, 15 * size - (size - int(left))))
        if not bucket:
            return
        provider, _, name = bucket.rpartition("/")
        shown = name.removesuffix("VM") if name in ("LowCostGetVM", "HighCostGetVM") else name
        three, thirty = _BUCKETS.get(name, _DEFAULT)
        parts = []
        for minutes, limit in ((3, three), (30, thirty)):
            if not limit:
                continue
            rest = self._take((bucket, str(minutes)), float(limit), limit / (minutes * 60.0))
            if rest < 0 and enforce:
                raise self._too_many(call, "TooManyRequests", -rest * minutes * 60.0 / limit)
            parts.append(f"{provider or 'Microsoft.Compute'}/{shown}{minutes}Min;{max(0, int(rest))}")
        headers["x-ms-ratelimit-remaining-resource"] = ",".join(parts)

    def _take(self, key: tuple[str, str], size: float, refill: float) -> float:
        now = self._clock.now()
        with self._lock:
            level, at = self._level.get(key, (size, now))
            level = min(size, level + (now - at) * refill) - 1
            self._level[key] = (max(level, -size), now)
            return level

    @staticmethod
    def _too_many(call: Call, code: str, wait_s: float) -> ArmError:
        seconds = max(1, int(wait_s + 0.999))
        return ArmError(
            429,
            code,
            f"The request '{call.method} {call.path}' is being throttled as the limit has been reached. "
            f"Please retry after {seconds} seconds.",
            headers={"Retry-After": str(seconds)},
        )

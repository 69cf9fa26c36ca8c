"""The request budget: how many requests Azure lets one principal make, spent by priority.

Azure refills a bucket for each kind of request. A bucket that we fill by Azure's published limits, corrected by the
rate-limit headers of each answer, keeps us below them without being told 429; and while requests are scarce, an evicted
node's replacement goes before a nightly clean-up. At a custom endpoint nothing is published, and its headers may count
what nobody enforces: there a bucket begins with the first 429, and only then do headers correct it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf, isfinite

from holdfast.clouds.azure.ids import parse_id_or_none
from holdfast.clouds.protocols import Priority
from holdfast.core.clock import Clock

__all__ = ["Budget", "buckets_of"]

# (capacity, refill per second). ARM's front door: token bucket for each region, subscription, principal and kind.
# Compute: per subscription and region, "refill per minute / bucket". Disks: calls per 3 minutes as recorded.
_PUBLISHED: dict[str, tuple[float, float]] = {
    "reads": (250, 25),
    "writes": (200, 10),
    "deletes": (200, 10),
    "PutVM": (1500, 500 / 60),
    "UpdateVM": (1500, 500 / 60),
    "DeleteVM": (1500, 500 / 60),
    "LowCostGet": (24000, 8000 / 60),
    "HighCostGet": (900, 300 / 60),
    "GetOperation": (15000, 5000 / 60),
    "CreateUpdateDisks": (1000, 8000 / 1800),
    "DeleteDisks": (1000, 8000 / 1800),
    "HighCostSnapshotCreateHydrate": (1000, 8000 / 1800),
    "HighCostDiskHydrate": (1000, 8000 / 1800),
    "NetworkWrites": (1000, 1000 / 300),
}

_HEADER_KINDS = {
    "x-ms-ratelimit-remaining-subscription-reads": "reads",
    "x-ms-ratelimit-remaining-subscription-writes": "writes",
    "x-ms-ratelimit-remaining-subscription-deletes": "deletes",
}
_RESOURCE_HEADER = "x-ms-ratelimit-remaining-resource"
_WINDOW = re.compile(r"(?:3|30)Min$")
_LOOK_S = 0.2  # how often a waiting request looks again; shorter only burns CPU, longer wastes refilled tokens
_LONGEST_CLOSED_S = 3600.0
_RESERVE = 0.1  # share of a bucket that only urgent requests may spend


def buckets_of(method: str, path: str) -> tuple[str, ...]:
    """The buckets that a request is charged to, the front door's first."""
    route, _, query = path.partition("?")
    lower = route.lower().rstrip("/")
    door = {"GET": "reads", "HEAD": "reads", "DELETE": "deletes"}.get(method, "writes")
    return (door, *_provider_bucket(method, lower, query))


def _provider_bucket(method: str, lower: str, query: str) -> tuple[str, ...]:
    if "/locations/" in lower:
        return ("GetOperation",) if "operations/" in lower and "microsoft.compute" in lower else ()
    found = parse_id_or_none(lower)
    action = None
    if found is None and method == "POST":
        lower, _, action = lower.rpartition("/")
        found = parse_id_or_none(lower)
    if found is None:
        return ("HighCostGet",) if method == "GET" and "/providers/microsoft.compute/" in lower else ()
    if found.namespace == "microsoft.network":
        return () if method == "GET" else ("NetworkWrites",)
    if found.namespace != "microsoft.compute":
        return ()
    if method == "GET":
        return ("LowCostGet",)
    kind = found.type.split("/")[1]
    if kind == "virtualmachines":
        if method == "DELETE" or action in ("deallocate", "simulateeviction"):
            return ("DeleteVM",)
        return ("PutVM",) if method in ("PUT", "PATCH") and len(found.names) == 1 else ("UpdateVM",)
    if kind == "snapshots" and (method == "PUT" or action):
        return ("HighCostSnapshotCreateHydrate",)
    if kind in ("disks", "snapshots"):
        if action:
            return ("HighCostDiskHydrate",)
        return ("DeleteDisks",) if method == "DELETE" else ("CreateUpdateDisks",)
    return ()


@dataclass
class _Bucket:
    tokens: float
    capacity: float
    refill_per_s: float
    filled_at_s: float
    closed_until_s: float = 0.0
    waiting: dict[Priority, int] = field(default_factory=dict)

    def refill(self, now_s: float) -> None:
        passed_s = max(0.0, now_s - self.filled_at_s)
        self.tokens = min(self.capacity, self.tokens + passed_s * self.refill_per_s)
        self.filled_at_s = now_s

    def admits(self, priority: Priority, now_s: float) -> bool:
        if self.closed_until_s - now_s > _LONGEST_CLOSED_S:
            self.closed_until_s = 0.0  # the clock was set back meanwhile: no answer ever asked for so long
        if now_s < self.closed_until_s or any(n and other < priority for other, n in self.waiting.items()):
            return False
        floor = 0.0 if priority <= Priority.USER or not isfinite(self.capacity) else self.capacity * _RESERVE
        return self.tokens - 1 >= floor


class Budget:
    """The buckets of one subscription and principal, shared by all threads."""

    def __init__(self, clock: Clock, known_limits: bool) -> None:
        self._clock = clock
        self._known_limits = known_limits
        self._buckets: dict[str, _Bucket] = {}
        self._lock = threading.Lock()

    def spend(self, names: tuple[str, ...], priority: Priority, pause: Callable[[], None]) -> float:
        """Take one token from each bucket, waiting until all have one. Calls `pause` before each further wait (it may
        raise). Returns the seconds waited."""
        began_s = self._now_s()
        queued = False
        try:
            while True:
                with self._lock:
                    buckets = self._present(names)
                    now_s = self._now_s()
                    for bucket in buckets:
                        bucket.refill(now_s)
                    if queued:
                        self._queue(buckets, priority, -1)
                        queued = False
                    if all(bucket.admits(priority, now_s) for bucket in buckets):
                        for bucket in buckets:
                            bucket.tokens -= 1
                        return now_s - began_s
                    self._queue(buckets, priority, +1)
                    queued = True
                pause()
                self._clock.sleep(_LOOK_S)
        finally:
            if queued:
                with self._lock:
                    self._queue(self._present(names), priority, -1)

    def learn(self, headers: Mapping[str, str]) -> None:
        """Correct the buckets by what an answer says is left."""
        told: dict[str, float] = {}
        for header, kind in _HEADER_KINDS.items():
            if headers.get(header, "").strip().isdigit():
                told[kind] = float(headers[header])
        for part in headers.get(_RESOURCE_HEADER, "").split(","):
            name, _, count = part.strip().rpartition(";")
            if name and count.strip().isdigit():
                kind = _WINDOW.sub("", name.rsplit("/", 1)[-1])
                told[kind] = min(told.get(kind, inf), float(count))
        with self._lock:
            now_s = self._now_s()
            for name, left in told.items():
                bucket = self._buckets.get(name)
                if bucket is None:
                    if not self._known_limits:
                        continue
                    bucket = self._new(name, left)
                bucket.tokens, bucket.filled_at_s = left, now_s
                bucket.capacity = max(bucket.capacity if isfinite(bucket.capacity) else 0.0, left)

    def close(self, names: tuple[str, ...], for_s: float) -> None:
        """A 429: the provider's bucket (the front door's where there is no other) admits nobody for that long."""
        name = names[-1]
        with self._lock:
            bucket = self._buckets.get(name) or self._new(name, inf)
            bucket.closed_until_s = max(bucket.closed_until_s, self._now_s() + for_s)

    def left(self) -> dict[str, float]:
        """Tokens left in each bucket, for metrics."""
        with self._lock:
            return {name: bucket.tokens for name, bucket in self._buckets.items()}

    def _present(self, names: tuple[str, ...]) -> list[_Bucket]:
        if self._known_limits:
            for name in names:
                if name not in self._buckets:
                    self._new(name, _PUBLISHED[name][0])
        return [self._buckets[name] for name in names if name in self._buckets]

    def _new(self, name: str, tokens: float) -> _Bucket:
        capacity, refill_per_s = _PUBLISHED.get(name, (tokens, 1.0))
        # An unpublished bucket refills by what its headers say next, and by one a second so that it can never dry up.
        bucket = _Bucket(tokens, max(capacity, tokens), refill_per_s, self._now_s())
        self._buckets[name] = bucket
        return bucket

    @staticmethod
    def _queue(buckets: list[_Bucket], priority: Priority, by: int) -> None:
        for bucket in buckets:
            bucket.waiting[priority] = max(0, bucket.waiting.get(priority, 0) + by)

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

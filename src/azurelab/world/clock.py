"""The lab's time: real time by default, moved, stopped or sped up by tests. Tokens and TLS stay on real time."""

from __future__ import annotations

import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from azurelab.arm.store import Store

__all__ = ["LabClock", "TimeProfile", "Timers"]


class LabClock:
    """now = anchor + (real − real at anchor) × rate. `rate` 0 stands still until `advance`."""

    def __init__(self, real: Callable[[], float] = time.time) -> None:
        self._real = real
        self._lock = threading.Lock()
        self._anchor_lab = self._anchor_real = real()
        self._rate = 1.0
        self.changed: list[Callable[[], None]] = []

    def now(self) -> float:
        """Seconds since 1970."""
        return self._anchor_lab + (self._real() - self._anchor_real) * self._rate

    def timestamp(self, at_s: float | None = None) -> str:
        """2026-11-21T14:03:05.1234567+00:00, with Azure's seven decimals."""
        t = self.now() if at_s is None else at_s
        whole = math.floor(t)
        ticks = int((t - whole) * 10_000_000)
        return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%dT%H:%M:%S}.{ticks:07d}+00:00"

    @property
    def rate(self) -> float:
        return self._rate

    def advance(self, seconds: float) -> None:
        """Jump; never back."""
        if seconds < 0:
            raise ValueError("the lab's clock never goes back")
        with self._lock:
            self._anchor_lab = self.now() + seconds
            self._anchor_real = self._real()
        self._tell()

    def set_rate(self, rate: float) -> None:
        """Lab seconds per real second; 0 stops the clock."""
        if rate < 0:
            raise ValueError("the lab's clock never goes back")
        with self._lock:
            self._anchor_lab = self.now()
            self._anchor_real = self._real()
            self._rate = rate
        self._tell()

    def _tell(self) -> None:
        for call in self.changed:
            call()

    # -- kept over restarts -------------------------------------------------------------------------------------

    def restore(self, store: Store) -> None:
        """Go on at the offset and rate that the store remembers."""
        kept = store.setting("clock", {"offset": 0.0, "rate": 1.0, "at": None})
        with self._lock:
            self._anchor_real = self._real()
            self._anchor_lab = kept["at"] if kept["rate"] == 0 and kept["at"] else self._anchor_real + kept["offset"]
            self._rate = kept["rate"]
        self.changed.append(lambda: self.keep(store))

    def keep(self, store: Store) -> None:
        store.set_setting("clock", {"offset": self.now() - self._real(), "rate": self._rate, "at": self.now()})


class Timers:
    """Calls at moments of the lab's clock, from one thread; the calls must be short. Not kept over a restart."""

    def __init__(self, clock: LabClock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()
        self._wake = threading.Condition()
        self._closed = False
        self.problems: list[BaseException] = []
        clock.changed.append(self._stir)
        self._thread = threading.Thread(target=self._loop, name="azurelab-timers", daemon=True)
        self._thread.start()

    def at(self, lab_time_s: float, call: Callable[[], None]) -> None:
        with self._wake:
            heapq.heappush(self._heap, (lab_time_s, next(self._count), call))
            self._wake.notify()

    def after(self, lab_seconds: float, call: Callable[[], None]) -> None:
        self.at(self._clock.now() + lab_seconds, call)

    def _stir(self) -> None:
        with self._wake:
            self._wake.notify()

    def _loop(self) -> None:
        while True:
            with self._wake:
                if self._closed:
                    return
                now = self._clock.now()
                if not self._heap or self._heap[0][0] > now:
                    self._wake.wait(self._real_wait(now))
                    continue
                _, _, call = heapq.heappop(self._heap)
            try:
                call()
            except Exception as exc:  # noqa: BLE001  a broken timer must not stop the others; tests look at `problems`
                self.problems.append(exc)

    def _real_wait(self, now: float) -> float | None:
        if not self._heap or self._clock.rate == 0:
            return None
        return min((self._heap[0][0] - now) / self._clock.rate, 3600.0)

    def close(self) -> None:
        with self._wake:
            self._closed = True
            self._wake.notify()
        self._thread.join(5)


class TimeProfile:
    """How long operations take. `instant`: over when their effect is. `azure`: the recorded medians × scale."""

    def __init__(self, store: Store, clock: LabClock) -> None:
        self._store = store
        self._clock = clock

    def set(self, profile: str, scale: float = 1.0) -> None:
        if profile not in ("instant", "azure"):
            raise ValueError(f"no such time profile: {profile}")
        self._store.set_setting("time", {"profile": profile, "scale": scale})

    def seconds(self, median_s: float) -> float:
        """Lab seconds that an operation with this recorded median takes now."""
        chosen = self._store.setting("time")
        if not chosen or chosen["profile"] == "instant":
            return 0.0
        return median_s * float(chosen["scale"])

    def retry_after(self, due_s: float) -> int:
        """Whole seconds for the Retry-After header, 1 to 15."""
        left = due_s - self._clock.now()
        return max(1, min(15, math.ceil(left)))

"""The numbers of the engine, each with what breaks when it is halved or doubled."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.core.errors import Retry

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """Seconds are real for lease, beat and tick; of the injected clock for everything else."""

    lease_s: float = 30.0  # shorter: a slow database lapses healthy workers; longer: a dead worker's work waits longer
    tick_s: float = 1.0  # latency of waits and timers against idle load (a tick with nothing due takes 2-3 ms)
    concurrency: int = 16  # threads that run operations in this process; also bounds the open cloud requests
    urgent_concurrency: int = 8  # of their own, so that bulk work cannot delay an eviction
    queue_poll_s: float = 0.1  # throughput ceiling = concurrency / poll
    doubt_s: float = 3.0  # unowned this long after it was given to the scheduler: ask what became of it
    now_tries: int = 5  # in-step attempts for Retry.NOW; clouds retry themselves, so more only hides a real outage
    now_pause_s: float = 0.2
    later_tries: int = 8  # for Retry.LATER: 1+2+4+8+16+30+30 s = about a minute and a half
    later_pause_s: float = 1.0
    longest_pause_s: float = 30.0
    forward_tries: int = 10  # segments after the pivot before `stuck`: about an hour
    forward_pause_s: float = 5.0
    longest_forward_pause_s: float = 600.0
    crash_loop: int = 20  # take-overs without progress before `stuck`; below that, bad luck in a rolling restart
    pause_s: float = 300.0  # nobody ticked for longer: what is due to delete waits
    hold_s: float = 600.0  # so long, so that people can look first
    keep_closed_s: float = 90 * 86400.0  # closed operations, fired timers
    drain_s: float = 20.0  # how long stopping waits for steps to reach a boundary

    def pause_before_retry(self, retry: Retry, tries: int) -> float | None:
        """Seconds until the next attempt after `tries` failed ones; None when the step has failed for good."""
        if retry is Retry.NOW and tries < self.now_tries:
            return min(self.now_pause_s * 2.0 ** (tries - 1), self.longest_pause_s)
        if retry is Retry.LATER and tries < self.later_tries:
            return min(self.later_pause_s * 2.0 ** (tries - 1), self.longest_pause_s)
        return None

    def pause_after_pivot(self, failures: int) -> float | None:
        """Seconds until the next segment after `failures` failed ones; None when a person must look."""
        if failures >= self.forward_tries:
            return None
        return min(self.forward_pause_s * 2.0 ** (failures - 1), self.longest_forward_pause_s)

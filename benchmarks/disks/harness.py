"""Runs commands in turns (A, B, A, B …) and compares them run by run, for the cores are shared and noisy."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Contender", "Outcome", "against", "against_fastest", "compare", "limits", "run"]


@dataclass
class Contender:
    """One way to do the work. `before` prepares a run (fresh target, warm or cold cache) and is not measured.

    `startup`: a command that starts the same program and does nothing; it is measured right before each run, in the
    same moment of load.
    """

    name: str
    command: str
    before: Callable[[], None] = lambda: None
    startup: str | None = None


@dataclass
class Outcome:
    """Of all rounds: wall and CPU seconds, start-up alone, and the largest resident size of the process or its
    children."""

    name: str
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    startup_s: list[float] = field(default_factory=list)
    rss_mb: float = 0.0

    @property
    def median_s(self) -> float:
        return statistics.median(self.wall_s)

    def ratio_to(self, other: Outcome) -> float:
        """Median over the rounds of our time by theirs in the same round."""
        return statistics.median(a / b for a, b in zip(self.wall_s, other.wall_s, strict=True))

    def ratio_without_startup_to(self, other: Outcome) -> float:
        """The same with our start-up of that round taken off our time; theirs stays in."""
        own = [wall_s - startup_s for wall_s, startup_s in zip(self.wall_s, self.startup_s, strict=True)]
        return statistics.median(a / b for a, b in zip(own, other.wall_s, strict=True))

    def cpu_ratio_to(self, other: Outcome) -> float:
        return statistics.median(a / b for a, b in zip(self.cpu_s, other.cpu_s, strict=True))


def run(command: str) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, largest resident megabytes of a shell command; raises if it fails."""
    began = time.monotonic()
    child = subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert child.stderr is not None
    errors = child.stderr.read()
    child.stderr.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall_s = time.monotonic() - began
    if child.returncode:
        raise RuntimeError(f"{command}: {errors.decode(errors='replace')[-800:]}")
    return wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def compare(contenders: list[Contender], rounds: int) -> dict[str, Outcome]:
    """All contenders once per round, in an order that turns with the round, so that none always runs first."""
    found = {c.name: Outcome(c.name) for c in contenders}
    for number in range(rounds):
        turned = contenders[number % len(contenders) :] + contenders[: number % len(contenders)]
        for contender in turned:
            outcome = found[contender.name]
            contender.before()
            if contender.startup is not None:
                outcome.startup_s.append(run(contender.startup)[0])
            wall_s, cpu_s, rss_mb = run(contender.command)
            outcome.wall_s.append(wall_s)
            outcome.cpu_s.append(cpu_s)
            outcome.rss_mb = max(outcome.rss_mb, rss_mb)
    return found


def against_fastest(found: dict[str, Outcome], ours: str, peers: list[str]) -> dict[str, object]:
    """Our time by that of the peer with the smallest median, paired by round."""
    return against(found, ours, min(peers, key=lambda name: found[name].median_s))


def against(found: dict[str, Outcome], ours: str, peer: str) -> dict[str, object]:
    """Ratios, paired by round; also without our start-up where that was measured."""
    told: dict[str, object] = {"ratio": round(found[ours].ratio_to(found[peer]), 2), "against": peer}
    if found[ours].startup_s:
        told["ratio without start-up"] = round(found[ours].ratio_without_startup_to(found[peer]), 2)
        told["start-up s"] = round(statistics.median(found[ours].startup_s), 2)
    fastest = min(found[ours].wall_s) / min(found[peer].wall_s)  # what other work on the machine disturbed least
    return told | {
        "ratio of the fastest rounds": round(fastest, 2),
        "CPU ratio": round(found[ours].cpu_ratio_to(found[peer]), 2),
    }


def limits() -> str:
    """What this process may use, for the report."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 30)
    most = resource.getrlimit(resource.RLIMIT_AS)[0]
    return f"{os.cpu_count()} cores, {memory} GiB" + (
        "" if most == resource.RLIM_INFINITY else f", {most} address space"
    )

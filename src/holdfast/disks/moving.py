"""The parent's side of the mover: give an order, follow its events, answer its questions."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from holdfast.core.errors import HoldfastError, error_from_record
from holdfast.disks.errors import WireBroken
from holdfast.disks.model.locator import Locator
from holdfast.disks.model.report import Report

__all__ = ["Move", "move"]


@dataclass(frozen=True)
class Move:
    """One disk of an order. The fields are those of `jobs.CopyJob`; `renew` gives a new address for a side, `source`
    or `target`, when the old one has expired."""

    source: Locator
    target: Locator
    digests: str | None = None
    base: str | None = None
    overwrite: bool = False
    verify: str | None = None
    chain: str | None = None
    bitmap: str | None = None
    source_unchanged: bool = False
    renew: Callable[[str], Locator] | None = field(default=None, repr=False)

    def order(self) -> dict[str, Any]:
        told = {
            key: getattr(self, key)
            for key in ("digests", "base", "overwrite", "verify", "chain", "bitmap", "source_unchanged")
        }
        return {
            **{key: value for key, value in told.items() if value not in (None, False)},
            "source": json.loads(self.source.to_json()),
            "target": json.loads(self.target.to_json()),
        }


def move(
    moves: Sequence[Move],
    *,
    memory_bytes: int | None = None,
    rate_bytes_s: int | None = None,
    on_event: Callable[[dict[str, Any]], None] = lambda _event: None,
    check: Callable[[], None] = lambda: None,
) -> list[Report]:
    """Copy all disks in one child process; returns their reports in order.

    `on_event` sees every event (extents, progress, …); `check` is called after each and may raise to stop the child.
    The first disk's error is raised when all have ended: what the others did stays done. Repeat the call to resume.
    """
    child = subprocess.Popen(
        [sys.executable, "-m", "holdfast.disks.mover"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    reports: dict[int, Report] = {}
    failures: dict[int, HoldfastError] = {}
    try:
        order = {
            "disks": [m.order() for m in moves],
            "memory_bytes": memory_bytes,
            "rate_bytes_s": rate_bytes_s,
        }
        child.stdin.write(json.dumps(order) + "\n")
        for line in child.stdout:
            event = json.loads(line)
            if event["event"] == "renew":
                _answer(child, event, moves[event["disk"]])
            elif event["event"] == "done":
                reports[event["disk"]] = Report(**event["report"])
            elif event["event"] == "failed":
                failures[event["disk"]] = error_from_record(event["error"])
            on_event(event)
            check()
        child.wait()
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdin.close()
        child.stdout.close()
    if failures:
        raise failures[min(failures)]
    if len(reports) != len(moves):
        raise WireBroken(name="the mover", problem=f"it ended with {child.returncode} before all disks were done")
    return [reports[n] for n in range(len(moves))]


def _answer(child: subprocess.Popen[str], event: dict[str, Any], about: Move) -> None:
    """A new address for the side that asks; without anybody who could give one, the order is cancelled."""
    assert child.stdin is not None
    if about.renew is None:
        child.stdin.write(json.dumps({"cancel": True}) + "\n")
        locator = about.source if event["side"] == "source" else about.target
    else:
        locator = about.renew(event["side"])
    told = {"disk": event["disk"], "side": event["side"], "locator": json.loads(locator.to_json())}
    child.stdin.write(json.dumps(told) + "\n")

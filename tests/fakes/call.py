"""A call as a step would make it: counts its checks, and can be cancelled by a test."""

from __future__ import annotations

from dataclasses import dataclass, field

from holdfast.clouds.protocols import Priority
from holdfast.core.clock import Clock, ManualClock


@dataclass
class FakeCall:
    """stop_after: the number of checks that pass before `check` raises `stop_with`; None = all pass."""

    operation: str = "op-00112233445566aa"
    key: str = "op-00112233445566aa/step"
    clock: Clock = field(default_factory=ManualClock)
    priority: Priority = Priority.USER
    stop_after: int | None = None
    stop_with: Exception = field(default_factory=lambda: InterruptedError("cancelled by the test"))
    checks: int = 0
    told: list[str] = field(default_factory=list)

    def check(self) -> None:
        self.checks += 1
        if self.stop_after is not None and self.checks > self.stop_after:
            raise self.stop_with

    def progress(self, percent: float | None, message: str) -> None:
        self.told.append(message)

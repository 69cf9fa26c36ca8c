"""What wiring gives to every step: database, clock, clouds by name, and whose work it is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from holdfast.clouds.protocols import Cloud
from holdfast.core.clock import Clock
from holdfast.core.tags import Owner
from holdfast.store.database import Database

__all__ = ["Services"]


@dataclass(frozen=True)
class Services:
    """retention_floor_s: see `imports/options.py`. open_cloud raises NotFound for a name that is not connected.

    checks_clock: whether deleting demands that our clock agrees with the cloud's. False only under a test's clock.
    """

    database: Database
    clock: Clock
    owner: Owner
    open_cloud: Callable[[str], Cloud]
    retention_floor_s: int = 24 * 3600
    checks_clock: bool = True

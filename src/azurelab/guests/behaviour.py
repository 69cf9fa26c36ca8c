"""How a machine without a real guest should behave: what rehearsals and tests ask of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Behaviour", "Behaviours", "well_behaved"]


@dataclass(frozen=True)
class Behaviour:
    """Asked anew at every start and every look, so that it can change while machines run."""

    fails_to_boot: bool = False
    """`start` and `restart` raise BootFailed."""
    never_ready: bool = False
    """The agent says NOT_READY for ever."""
    ready_after_s: float = 0.0
    """The agent says READY this long after the start, by the lab's clock."""
    no_agent: bool = False
    """The agent is ABSENT, as on a machine without one."""


Behaviours = Callable[[str], Behaviour]
"""The behaviour of a machine by its key."""


def well_behaved(key: str) -> Behaviour:
    return Behaviour()

"""Durable execution: operations, steps, timers, schedules, reconcilers. The only importer of dbos.

Our record says what happened; the scheduler only says who works on it. Start with `operation.py` (what a story is told
with), then `running.py` (a segment from claim to end). `DbosEngine` is imported lazily: it costs half a second.
"""

from typing import TYPE_CHECKING, Any

from holdfast.engine.attempting import CompensationFailed
from holdfast.engine.call import Call
from holdfast.engine.crashing import Crash, Crashed, Direction, When, crash_points
from holdfast.engine.engine import Engine, NotStuck
from holdfast.engine.errors import (
    Cancelled,
    CrashLoop,
    Draining,
    Interruption,
    LeaseLost,
    NextChoice,
    NoChoiceLeft,
    NotRecordable,
    NotYet,
    OperationCancelled,
    StoryChanged,
    WaitTimedOut,
)
from holdfast.engine.inline import InlineEngine
from holdfast.engine.kinds import OperationKind, Reconciler, Registry, Watch, operation, reconciler
from holdfast.engine.operation import Operation
from holdfast.engine.roles import Role
from holdfast.engine.settings import Settings
from holdfast.engine.states import CLOSED, OPEN, State
from holdfast.engine.submitting import SubjectBusy
from holdfast.engine.views import EventView, OperationView, StepView, TimerView
from holdfast.store import Secret

if TYPE_CHECKING:
    from holdfast.engine.dbos_engine import DbosEngine

__all__ = [
    "CLOSED",
    "OPEN",
    "Call",
    "Cancelled",
    "CompensationFailed",
    "Crash",
    "CrashLoop",
    "Crashed",
    "DbosEngine",
    "Direction",
    "Draining",
    "Engine",
    "EventView",
    "InlineEngine",
    "Interruption",
    "LeaseLost",
    "NextChoice",
    "NoChoiceLeft",
    "NotRecordable",
    "NotStuck",
    "NotYet",
    "Operation",
    "OperationCancelled",
    "OperationKind",
    "OperationView",
    "Reconciler",
    "Registry",
    "Role",
    "Secret",
    "Settings",
    "State",
    "StepView",
    "StoryChanged",
    "SubjectBusy",
    "TimerView",
    "WaitTimedOut",
    "Watch",
    "When",
    "crash_points",
    "operation",
    "reconciler",
]


def __getattr__(name: str) -> Any:
    if name == "DbosEngine":
        from holdfast.engine.dbos_engine import DbosEngine

        return DbosEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

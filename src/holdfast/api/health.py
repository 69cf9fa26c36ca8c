"""/health for whoever restarts us, /metrics for whoever watches us. Neither needs a token: they name nothing."""

from __future__ import annotations

import time
from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import func, select, text
from starlette.responses import JSONResponse, PlainTextResponse, Response

import holdfast
from holdfast.core.clock import format_utc
from holdfast.engine import OPEN, DbosEngine, State
from holdfast.engine.tables import OperationRow, TimerRow
from holdfast.imports.records import ImportRow
from holdfast.nodes.records import NodeRow
from holdfast.wiring import House

__all__ = ["router"]

router = APIRouter(tags=["health"])


@router.get("/health", operation_id="health")
def health(request: Request) -> Response:
    """200 while the database answers and the engine ticks, else 503."""
    house: House = request.app.state.house
    reachable = house.database.is_reachable()
    age_s = _beat_age_s(house) if reachable else None
    ticking = _is_ticking(request, house)
    fine = reachable and ticking
    body: dict[str, Any] = {
        "status": "ok" if fine else "failing",
        "version": holdfast.__version__,
        "database": "ok" if reachable else "unreachable",
        "engine": "ticking" if ticking else "not ticking",
        "worker_beat_age_s": age_s,
        "now": format_utc(house.clock.now()),
    }
    return JSONResponse(body, 200 if fine else 503)


@router.get("/metrics", operation_id="metrics")
def metrics(request: Request) -> Response:
    """Prometheus text, version 0.0.4."""
    house: House = request.app.state.house
    now = house.clock.now()
    with house.database.read() as session:
        count = select(OperationRow.state, func.count()).where(OperationRow.open.is_(True)).group_by(OperationRow.state)
        by_state = {row[0]: row[1] for row in session.execute(count)}
        due = select(func.min(TimerRow.due_at)).where(TimerRow.state == "armed", TimerRow.due_at <= now)
        oldest = session.scalar(due)
        armed = session.scalar(select(func.count()).where(TimerRow.state == "armed")) or 0
        nodes = {r[0]: r[1] for r in session.execute(select(NodeRow.state, func.count()).group_by(NodeRow.state))}
        imports = {r[0]: r[1] for r in session.execute(select(ImportRow.state, func.count()).group_by(ImportRow.state))}
    late_s = 0.0 if oldest is None else (now - oldest).total_seconds()
    out = _Text()
    out.gauge("holdfast_info", "The running release.", {(("version", holdfast.__version__),): 1})
    out.gauge("holdfast_oldest_due_timer_seconds", "How late the oldest due timer is.", {(): late_s})
    out.gauge("holdfast_timers_armed", "Timers that wait for their time.", {(): armed})
    states: dict[Any, float] = {(("state", state.value),): by_state.get(state.value, 0) for state in sorted(OPEN)}
    out.gauge("holdfast_operations_open", "Operations that have not ended, by state.", states)
    out.gauge("holdfast_operations_stuck", "Operations that wait for a person.", {(): by_state.get(State.STUCK, 0)})
    out.gauge("holdfast_imports", "Imports by state.", {(("state", key),): n for key, n in sorted(imports.items())})
    out.gauge("holdfast_nodes", "Nodes by state.", {(("state", key),): n for key, n in sorted(nodes.items())})
    if (age_s := _beat_age_s(house)) is not None:
        out.gauge("holdfast_worker_beat_age_seconds", "Since the last beat of any worker.", {(): age_s})
    return PlainTextResponse(str(out), media_type="text/plain; version=0.0.4")


def _is_ticking(request: Request, house: House) -> bool:
    """A server that has just begun gets as long as a lease for its first tick."""
    if not isinstance(house.engine, DbosEngine) or house.engine.is_ticking():
        return True
    return time.monotonic() - float(request.app.state.began) < house.engine.settings.lease_s


def _beat_age_s(house: House) -> float | None:
    """By the database's own clock, which all workers share. None before the first beat."""
    with house.database.read() as session:
        age = session.scalar(text(f"select {house.database.seconds()} - max(beat_s) from workers"))
    return None if age is None else round(max(0.0, float(age)), 3)


class _Text:
    """Prometheus' exposition format, as little of it as gauges need."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def gauge(self, name: str, about: str, samples: dict[Any, float]) -> None:
        self._lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge"]
        for labels, value in samples.items():
            inside = ",".join(f'{key}="{_escaped(told)}"' for key, told in labels)
            self._lines.append(f"{name}{{{inside}}} {value}" if inside else f"{name} {value}")

    def __str__(self) -> str:
        return "\n".join(self._lines) + "\n"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

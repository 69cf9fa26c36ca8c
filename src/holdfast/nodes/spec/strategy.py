"""strategy: on-demand or spot, and how a machine is taken out of service (page 3.1)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from holdfast.nodes.spec.base import Section

__all__ = ["Strategy"]


class Strategy(Section):
    """Absent means: spot preferred, fallback to on-demand on import, draining for 120 s."""

    preferred_lifecycle: Literal["od", "spot"] | None = None
    fallback_to_od: bool | None = None
    draining_timeout: Annotated[int, Field(ge=1)] | None = None
    revert_to_spot: dict[str, Any] | str | None = None
    optimization_windows: list[str] | None = None
    od_windows: list[str] | None = None
    availability_vs_cost: Annotated[int, Field(ge=0, le=100)] | None = None
    signals: list[dict[str, Any]] | None = None
    capacity_reservation: dict[str, Any] | None = None
    should_utilize_commitments: bool | None = None
    interruption_toleration: dict[str, Any] | None = None
    vm_admins: list[str] | None = None

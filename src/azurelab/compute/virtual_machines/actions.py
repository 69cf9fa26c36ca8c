"""An action on a machine as Azure accepts it: 202 without a body, two headers, a result where it has one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from azurelab.arm.types import Effect, Lro, Verb

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["long_action"]


def long_action(
    seconds: float,
    *,
    bucket: str = "UpdateVM",
    prepare: Effect | None = None,
    run: Effect | None = None,
    finish: Effect | None = None,
    result: Callable[[Context], Any] | None = None,
) -> Verb:
    """`seconds` is how long Azure takes (the recorded median)."""
    return Verb(
        existing=202,
        lro=Lro.BOTH,
        seconds=seconds,
        bucket=bucket,
        prepare=prepare,
        run=run,
        finish=finish,
        result=result,
        empty=True,
    )

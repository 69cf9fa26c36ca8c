"""What can be done to a disk can be done to a snapshot, with the same words on the wire: 202, two headers, quick."""

from __future__ import annotations

from typing import TYPE_CHECKING

from azurelab.arm.types import Effect, Lro, Verb
from azurelab.compute.disk_documents import accepted
from azurelab.compute.services import disks_of

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["change", "make", "take_away"]


def make(bucket: str, seconds: float, prepare: Effect, run: Effect) -> Verb:
    """PUT, of a new one and of an existing one."""
    return Verb(
        new=202,
        existing=202,
        lro=Lro.BOTH,
        seconds=seconds,
        bucket=bucket,
        prepare=prepare,
        run=run,
        answer=accepted,
        quick=True,
    )


def change(prepare: Effect, run: Effect | None = None) -> Verb:
    """PATCH."""
    return Verb(
        existing=202,
        lro=Lro.BOTH,
        seconds=0.1,
        bucket="CreateUpdateDisks",
        prepare=prepare,
        run=run,
        answer=accepted,
        quick=True,
    )


def take_away(refuse: Effect) -> Verb:
    """DELETE; `refuse` raises where it is not allowed. The bytes go after the commit."""
    return Verb(
        existing=202,
        lro=Lro.BOTH,
        seconds=0.3,
        bucket="DeleteDisks",
        prepare=refuse,
        finish=_drop_bytes,
        empty=True,
        quick=True,
    )


def _drop_bytes(ctx: Context) -> None:
    found = ctx.found
    if found is not None:
        service, volume = disks_of(ctx.lab), str(found.hidden["volume"])
        # After the commit: a kill before it must leave the disk with its bytes.
        ctx.store.after_commit(lambda: service.delete(volume))

"""Blob disks become managed disks: one POST for the whole machine, repeated only where it did not take effect."""

from __future__ import annotations

from holdfast.clouds.azure.arm import ATTEMPTS, Arm
from holdfast.clouds.azure.errors import LostAnswer
from holdfast.clouds.azure.reading import Reader
from holdfast.clouds.azure.succession import blobs_by_lun
from holdfast.clouds.azure.versions import version_for
from holdfast.clouds.azure.waiting import Waiter
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import CloudError, CloudUnavailable
from holdfast.clouds.protocols import Call
from holdfast.core.clock import Clock

__all__ = ["Converter"]


class Converter:
    def __init__(self, arm: Arm, reader: Reader, waiter: Waiter, clock: Clock) -> None:
        self._arm = arm
        self._reader = reader
        self._waiter = waiter
        self._clock = clock

    def convert_disks(self, call: Call, machine: str) -> None:
        name = machine.rsplit("/", 1)[-1]
        last: CloudError | None = None
        for attempt in range(ATTEMPTS):
            if not _has_blobs(self._settled(call, machine)):
                return
            try:
                path = f"{machine}/convertToManagedDisks?api-version={version_for(machine)}"
                answer = self._arm.change(call, "POST", path)
                self._waiter.finish(call, answer, machine, f"converting the disks of {name}")
            except LostAnswer as exc:
                last = exc
                call.check()
                self._clock.sleep(self._arm.first_wait_s * 2**attempt)
        if _has_blobs(self._settled(call, machine)):
            raise last or CloudUnavailable(
                cloud_code="ConvertToManagedDisks", message=f"it has blobs after {ATTEMPTS} tries", ref=machine
            )

    def _settled(self, call: Call, machine: str) -> Document:
        """The machine, once no earlier request (one whose answer was lost) changes it any more."""
        self._waiter.settle(call, machine, f"waiting for machine {machine.rsplit('/', 1)[-1]}")
        return self._reader.must_read(machine)


def _has_blobs(machine: Document) -> bool:
    return any(blobs_by_lun(machine).values())

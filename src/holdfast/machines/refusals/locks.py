"""Azure locks that would stop the import half-way, or its clean-up after the retention."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal, warning


def check(case: Case) -> Iterator[Finding]:
    for lock in case.facts.locks:
        level = str(lock.get("properties.level", ""))
        if level.lower() == "readonly":
            yield refusal(
                "LOCKED_READ_ONLY",
                f"The lock {lock.name} makes the machine or its group read-only; it could not even be stopped.",
                "Remove the lock for the time of the import.",
                lock.ref,
            )
        elif case.object_goes:
            yield refusal(
                "LOCKED_CAN_NOT_DELETE",
                f"The lock {lock.name} forbids deleting the machine object, which this import must do.",
                "Remove the lock, or import with --network new --disks snapshot.",
                lock.ref,
            )
        else:
            yield warning(
                "LOCKED_CLEAN_UP",
                f"The lock {lock.name} will stop the clean-up of the originals after the retention.",
                "Remove the lock before then; until then everything is kept.",
                lock.ref,
            )

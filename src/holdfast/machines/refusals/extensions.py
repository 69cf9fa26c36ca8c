"""Extensions do not travel with disks; their protected settings cannot be read from Azure."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, warning


def check(case: Case) -> Iterator[Finding]:
    left = [ext.name for ext in case.facts.extensions if ext.name not in case.recreated_extensions]
    if left:
        yield warning(
            "EXTENSIONS_NOT_RECREATED",
            f"Azure will not know these extensions on the new machine: {', '.join(left)}. What they installed in the "
            "guest is still on the OS disk.",
            "Give an extension in full in the spec, or name it with --recreate-extension (public settings only).",
            "extensions",
        )

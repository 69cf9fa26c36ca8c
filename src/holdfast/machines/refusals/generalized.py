"""A generalized machine can never start again (spot-stateful-node-api.md 4, rule 16)."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal


def check(case: Case) -> Iterator[Finding]:
    if case.facts.generalized:
        yield refusal(
            "GENERALIZED",
            "The machine is generalized: Azure never starts it again, and its identity is gone.",
            "Make an image of it and create a machine from that.",
            case.facts.machine.ref,
        )

"""A system-assigned identity gets another principal when its machine is created again; its roles are lost."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal, warning

ACCEPT = "IDENTITY_CHANGES"


def check(case: Case) -> Iterator[Finding]:
    kind = str((case.facts.machine.body.get("identity") or {}).get("type", ""))
    if "systemassigned" not in kind.replace(" ", "").lower():
        return
    roles = [str(role.get("properties.roleDefinitionName") or role.get("properties.roleDefinitionId", "a role"))
             + " at " + str(role.get("properties.scope", "?")) for role in case.facts.role_assignments]  # fmt: skip
    listed = "; ".join(roles) if roles else "none that Holdfast may read"
    text = (
        "The machine has a system-assigned identity. The new machine gets another principal id, so role assignments of "
        f"the old one do not apply to it: {listed}."
    )
    remedy = f"Assign the roles to the new identity after the import; accept with --accept {ACCEPT}."
    if ACCEPT in case.accepted:
        yield warning(ACCEPT, text, "Assign the roles to the new identity after the import.", "identity")
    else:
        yield refusal(ACCEPT, text, remedy, "identity")

"""/v1/machines: what runs in the clouds, and whether it can be imported."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from fastapi import APIRouter

from holdfast.api import shown
from holdfast.api.access import Caller, TheHouse, Viewer
from holdfast.clouds.documents import same_ref
from holdfast.clouds.protocols import Cloud, Finding, Observation, Severity
from holdfast.core.errors import HoldfastError, InvalidInput, NotFound
from holdfast.core.tags import Owner
from holdfast.imports.options import ImportOptions
from holdfast.machines.refusals import Case, findings_of
from holdfast.wiring import House

__all__ = ["machine_ref", "router"]

router = APIRouter(prefix="/v1/machines", tags=["machines"])

JUDGED_AT_MOST = 100  # describing takes some eight reads each; Azure allows 12,000 in an hour for everything
_AT_ONCE = 6  # half of what the engine may use: a list must not starve operations of request budget


def machine_ref(house: House, caller: Caller, address: str, cloud: str | None) -> tuple[str, str]:
    """(cloud name, machine id) of `RG/VM`, or of a full id."""
    picked = house.clouds.pick(cloud).name
    caller.require_cloud(picked)
    if address.lower().startswith("/subscriptions/"):
        return picked, address
    group, slash, name = address.partition("/")
    if not slash or not group or not name or "/" in name:
        raise InvalidInput(field="machine", problem=f"'{address}' is not RESOURCE_GROUP/VM")
    return picked, house.services.open_cloud(picked).ref_of(group, name)


@router.get("", operation_id="listMachines")
def list_machines(
    house: TheHouse,
    caller: Viewer,
    cloud: str | None = None,
    resource_group: str | None = None,
    judge: bool = True,
) -> list[dict[str, Any]]:
    """All machines of one cloud. judge: also whether each can be imported with default options, or why not."""
    name, client = house.cloud(cloud)
    caller.require_cloud(name)
    seen = sorted(client.observe(resource_group), key=lambda one: (one.resource_group.lower(), one.name.lower()))
    verdicts: Sequence[dict[str, Any]] = [{"importable": None, "why_not": []}] * len(seen)
    if judge and len(seen) <= JUDGED_AT_MOST:
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            verdicts = list(pool.map(lambda one: _judged(client, one, house.owner), seen))
    return [{**shown.machine(name, one), **verdict} for one, verdict in zip(seen, verdicts, strict=True)]


@router.get("/{group}/{name}", operation_id="getMachine")
def get_machine(group: str, name: str, house: TheHouse, caller: Viewer, cloud: str | None = None) -> dict[str, Any]:
    """One machine, its parts, and every finding that an import with default options would have."""
    picked, ref = machine_ref(house, caller, f"{group}/{name}", cloud)
    client = house.services.open_cloud(picked)
    facts = client.describe(ref)
    seen = next((one for one in client.observe(group) if same_ref(one.ref, ref)), None)
    if seen is None:
        raise NotFound(kind="machine", name=f"{group}/{name}", listed_by="holdfast vm list")
    try:
        plan = house.imports.plan(picked, ref, ImportOptions())
        findings = [shown.finding(found) for found in plan.findings]
    except HoldfastError as error:
        refusal = Finding(error.code, Severity.REFUSAL, error.message, error.advice, error.about)
        findings = [shown.finding(refusal)]
    refusals = [found for found in findings if found["severity"] == "refusal"]
    return {
        **shown.machine(picked, seen),
        **shown.machine_facts(facts),
        "importable": not refusals,
        "why_not": [found["code"] for found in refusals],
        "findings": findings,
    }


def _judged(client: Cloud, seen: Observation, us: Owner) -> dict[str, Any]:
    """By the rules about the machine itself; sizes, quota and permissions are for `import plan`."""
    try:
        facts = client.describe(seen.ref)
    except HoldfastError as error:
        return {"importable": False, "why_not": [error.code]}
    found = findings_of(Case(facts=facts, us=us, object_goes=False, reattach=False, spot=True))
    codes = [finding.code for finding in found if finding.severity is Severity.REFUSAL]
    return {"importable": not codes, "why_not": codes}

"""The plan of an import, as a value: what will happen to every resource, in order, and what cannot come back.

A plan can be printed, stored, compared and run. Two plans with the same digest do the same to the same things.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import TypeAdapter, ValidationError

from holdfast.clouds.azure.succession import Succession
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Facts, Finding, Severity
from holdfast.core.errors import HoldfastError, InvalidInput, Refused, Retry
from holdfast.imports.options import ImportOptions

__all__ = ["Action", "Downtime", "ImportPlan", "LaunchMarket", "PlanRefused", "PlanStale", "PriceChange", "Unsupported",
           "Verb", "differences", "load_plan", "load_recorded", "plan_to_json", "recorded", "sealed"]  # fmt: skip

PLAN_FORM = 1


class Verb(StrEnum):
    MARK = "mark"
    CREATE = "create"
    LEAVE_POOLS = "leave pools"
    STOP = "stop"
    CONVERT = "convert"
    DETACH = "detach"
    DELETE_OBJECT = "delete object"
    LAUNCH = "launch"
    PROVE = "prove"
    JOIN_POOLS = "join pools"
    RETAIN = "retain"
    KEEP = "keep"
    DELETE_LATER = "delete after retention"


@dataclass(frozen=True)
class Action:
    """One thing that will happen. `document` is the exact body of what is created, None otherwise."""

    verb: Verb
    ref: str
    role: str
    reason: str
    reversible_by: str
    document: Document | None = None


@dataclass(frozen=True)
class LaunchMarket:
    """One market to try at launch. usd_per_hour None = not known."""

    size: str
    zone: str | None
    spot: bool
    usd_per_hour: float | None = None

    def __str__(self) -> str:
        place = f"zone {self.zone}" if self.zone else "no zone"
        return f"{self.size} ({'spot' if self.spot else 'on-demand'}, {place})"


@dataclass(frozen=True)
class Unsupported:
    size: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Downtime:
    """Seconds from the original's stop to the successor's boot: by the medians that Azure's own operations showed."""

    least_s: int
    usual_s: int
    parts: dict[str, int]


@dataclass(frozen=True)
class PriceChange:
    """US dollars per month of 730 h, None = not known. Disks cost the same before and after; retained ones add."""

    before: float | None
    after_spot: float | None
    after_on_demand: float | None


@dataclass(frozen=True)
class ImportPlan:
    form: int
    made_at: datetime
    seed: str
    cloud: str
    machine: str
    vm_name: str
    resource_group: str
    location: str
    successor_name: str
    options: ImportOptions
    given_node: dict[str, Any]
    node: dict[str, Any]
    facts: Facts
    succession: Succession
    extensions: tuple[Document, ...]
    markets: tuple[LaunchMarket, ...]
    qualified: tuple[str, ...]  # sizes that can run it; prices decide which of them are tried first
    unsupported: tuple[Unsupported, ...]
    funnel: tuple[tuple[str, int], ...]
    actions: tuple[Action, ...]
    findings: tuple[Finding, ...]
    lost: tuple[str, ...]
    missing_permissions: tuple[str, ...]
    downtime: Downtime
    price: PriceChange
    digest: str = ""

    @property
    def refusals(self) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.severity is Severity.REFUSAL)

    def require_startable(self) -> None:
        """Raise the first refusal; its details list all."""
        if self.refusals:
            first = self.refusals[0]
            listed = [{"code": f.code, "text": f.text, "remedy": f.remedy, "about": f.about} for f in self.refusals]
            raise PlanRefused(
                reason=first.code, problem=first.text, way_out=first.remedy, field=first.about, refusals=listed
            )


class PlanRefused(Refused):
    """The machine cannot be imported this way. Nothing was changed. `reason` is the code of the first refusal."""

    code = "import.refused"
    text = "{reason}: {problem}"


class PlanStale(HoldfastError):
    """The machine changed since the plan was made. Nothing was changed by us."""

    code, retry, exit_code, http_status = "plan.stale", Retry.AFTER_CHANGE, 4, 409
    text = "The plan no longer fits the machine: {summary}"
    remedy = "Make a new plan, look at it, and start that one."


_ADAPTER: TypeAdapter[ImportPlan] = TypeAdapter(ImportPlan)

# Prices and what follows from them, times, and what changes by itself while nothing happens to the machine.
_IMMATERIAL = frozenset({"made_at", "digest", "price", "downtime", "funnel", "unsupported", "given_node"})
_FOLLOWING = ("actions", "findings", "node", "succession")
_VOLATILE = frozenset(
    {"etag", "read_at", "instanceView", "provisioningState", "timeCreated", "lastOwnershipUpdateTime"}
)


def sealed(plan: ImportPlan) -> ImportPlan:
    """The plan with its digest."""
    text = json.dumps(_material(plan), sort_keys=True, separators=(",", ":"))
    return replace(plan, digest=hashlib.sha256(text.encode()).hexdigest()[:32])


def differences(agreed: ImportPlan, now: ImportPlan) -> list[str]:
    """What differs materially, most telling first and never more than twenty.

    Refusals that were not there before come first, in words; then `path: old → new`. What merely follows from facts
    (documents to be made of them) is left out where the facts themselves differ.
    """
    before = {finding.code for finding in agreed.refusals}
    told = [f"{finding.code}: {finding.text}" for finding in now.refusals if finding.code not in before]
    old, new = dict(_flat(_material(agreed))), dict(_flat(_material(now)))
    changed = sorted(path for path in old.keys() | new.keys() if old.get(path) != new.get(path))
    causes = [path for path in changed if not path.startswith(_FOLLOWING)]
    told += [f"{path}: {old.get(path, '(none)')} → {new.get(path, '(none)')}" for path in causes or changed]
    return told[:20]


def plan_to_json(plan: ImportPlan) -> dict[str, Any]:
    told: dict[str, Any] = _ADAPTER.dump_python(plan, mode="json")
    return told


def load_plan(told: Mapping[str, Any]) -> ImportPlan:
    """A plan from JSON, its digest verified. Raises InvalidInput for what is no plan or was edited by hand."""
    if told.get("form") != PLAN_FORM:
        raise InvalidInput(field="plan", problem=f"this release reads plans of form {PLAN_FORM}")
    try:
        plan = _ADAPTER.validate_python(dict(told))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_input=False)[0]
        path = ".".join(str(part) for part in first["loc"])
        raise InvalidInput(field=f"plan.{path}", problem=first["msg"]) from exc
    if sealed(plan).digest != plan.digest:
        raise InvalidInput(
            field="plan.digest",
            problem="the plan was edited after it was made; edit its 'spec' part and give that with --spec instead",
        )
    return plan


def recorded(plan: ImportPlan) -> dict[str, Any]:
    """As it is kept for the steps of the import: without the sizes that do not qualify, which are most of its bytes."""
    return plan_to_json(replace(plan, unsupported=()))


def load_recorded(told: Mapping[str, Any]) -> ImportPlan:
    """Our own record of a plan: not verified again, because every step reads it."""
    return _ADAPTER.validate_python(dict(told))


def _material(plan: ImportPlan) -> dict[str, Any]:
    told = {key: value for key, value in plan_to_json(plan).items() if key not in _IMMATERIAL}
    del told["markets"]  # the order, and with more than ten sizes the choice, follows prices; `qualified` does not
    told["actions"] = [{**action, "reason": ""} for action in told["actions"]]
    told["findings"] = sorted(f["code"] for f in told["findings"])
    told["facts"]["size"] = None  # the cloud's description of the size; its name is in the machine's document
    steady: dict[str, Any] = _without_volatile(told)
    return steady


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_volatile(inner) for key, inner in value.items() if key not in _VOLATILE}
    if isinstance(value, list):
        return [_without_volatile(inner) for inner in value]
    return value


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _flat(inner, f"{path}[{index}]")
    else:
        yield path, json.dumps(value)

"""The forms of `/v1`'s answers, for the OpenAPI document. Nothing is validated with them at run time.

They stand beside `shown` instead of in the routes, so that neither start-up nor an answer pays for them: the document
is composed when somebody first asks for it. A test holds every answer of the real application against its form.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from fastapi import FastAPI
from typing_extensions import TypedDict  # pydantic reads no other before Python 3.12

__all__ = ["ANSWERS", "describe_answers"]


class Error(TypedDict):
    code: str
    text: str
    remedy: str
    field: str | None
    details: dict[str, Any]


class Problem(TypedDict):
    """`application/problem+json` (RFC 9457); `code` is stable and listed in docs/errors.md."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    field: str | None
    remedy: str
    retry: Literal["now", "later", "after_change", "never"]
    exit_code: int
    details: dict[str, Any]


class Finding(TypedDict):
    code: str
    severity: Literal["refusal", "warning"]
    text: str
    remedy: str
    about: str | None


class Cloud(TypedDict):
    name: str
    kind: str
    options: dict[str, Any]
    has_secret: bool
    added_at: str


class CloudCheck(TypedDict):
    cloud: str
    ok: bool
    findings: list[Finding]


class Machine(TypedDict):
    """`priority`: regular, spot or low; `why_not`: codes of findings that refuse an import."""

    name: str
    resource_group: str
    vm: str
    cloud: str
    id: str
    location: str
    zones: list[str]
    size: str
    priority: str
    power: str
    os: str
    disk_count: int
    private_ip: str | None
    public_ip: str | None
    tags: dict[str, str]
    importable: bool | None
    why_not: list[str]


class Part(TypedDict):
    name: str
    id: str


class Address(Part):
    address: str | None


class MachineDisk(TypedDict):
    role: Literal["os", "data"]
    lun: int | None
    name: str
    id: str | None
    size_gib: int | None
    sku: str | None


class MachineDetails(Machine):
    agent: str
    generalized: bool
    disks: list[MachineDisk]
    nics: list[Part]
    public_ips: list[Address]
    extensions: list[str]
    locks: list[str]
    vm_id: str | None
    findings: list[Finding]


ImportWord = Literal[
    "running", "imported", "undoing", "undone", "finishing", "finished", "cancelling", "cancelled", "failed", "stuck"
]


class Progress(TypedDict):
    operation: str
    kind: str
    state: str
    step: str | None
    title: str | None
    percent: float | None
    message: str | None
    started_at: str | None
    wake_at: str | None


class Import(TypedDict):
    """`attention`: why a person should look; `countdown_s`: until the retained originals may be deleted."""

    id: str
    state: ImportWord
    vm: str
    vm_name: str
    resource_group: str
    cloud: str
    machine: str
    node_id: str
    operation: str
    working: str
    plan_digest: str
    successor: dict[str, Any] | None
    warnings: list[str]
    error: Error | None
    attention: str | None
    created_at: str
    updated_at: str
    imported_at: str | None
    retained_until: str | None
    countdown_s: int | None
    held_until: str | None
    closed_at: str | None
    progress: Progress | None


class LedgerEntry(TypedDict):
    operation: str
    role: str
    part: str
    origin: str
    fate: str
    id: str
    identity: str | None


class ImportDetails(Import):
    ledger: list[LedgerEntry]


class ImportStarted(Import):
    plan: dict[str, Any]


class ImportPlan(TypedDict):
    """Given back whole to `startImport` it is run exactly, or refused; `spec` is the node, to be edited and sent."""

    form: int
    made_at: str
    seed: str
    cloud: str
    machine: str
    vm_name: str
    resource_group: str
    location: str
    successor_name: str
    options: dict[str, Any]
    given_node: dict[str, Any]
    node: dict[str, Any]
    facts: dict[str, Any]
    succession: dict[str, Any]
    extensions: list[dict[str, Any]]
    markets: list[dict[str, Any]]
    qualified: list[str]
    unsupported: list[dict[str, Any]]
    funnel: list[tuple[str, int]]
    actions: list[dict[str, Any]]
    findings: list[Finding]
    lost: list[str]
    missing_permissions: list[str]
    downtime: dict[str, Any]
    price: dict[str, Any]
    digest: str
    spec: dict[str, Any]


class UndoPlan(TypedDict):
    import_id: str
    steps: list[str]
    kept: list[str]
    deleted: list[str]
    lost: list[str]


class Node(TypedDict):
    id: str
    name: str
    state: Literal["importing", "active", "stopped", "error", "deleting", "deleted"]
    reason: str | None
    health: Literal["HEALTHY", "UNHEALTHY", "UNKNOWN"]
    cloud: str
    region: str
    resource_group: str
    vm_name: str | None
    machine: str | None
    size: str | None
    zone: str | None
    spot: bool
    private_ip: str | None
    public_ip: str | None
    created_at: str
    updated_at: str


class NodeDetails(Node):
    import_id: str | None
    spec: dict[str, Any]


class Operation(TypedDict):
    id: str
    kind: str
    state: str
    subject: str | None
    actor: str
    step: str | None
    step_title: str | None
    percent: float | None
    message: str | None
    cancel_requested: bool
    pivoted: bool
    error: Error | None
    created_at: str
    started_at: str | None
    updated_at: str
    closed_at: str | None
    wake_at: str | None


class Step(TypedDict):
    key: str
    seq: int
    title: str
    state: str
    attempt: int
    undo: str | None
    undone: bool
    error: Error | None
    started_at: str | None
    ended_at: str | None


class OperationDetails(Operation):
    steps: list[Step]


class Token(TypedDict):
    name: str
    role: Literal["viewer", "operator", "admin"]
    clouds: list[str] | None
    created_at: str
    created_by: str
    revoked_at: str | None


class NewToken(TypedDict):
    """The only answer that holds the token itself."""

    token: str
    name: str
    role: Literal["viewer", "operator", "admin"]
    clouds: list[str] | None


class AuditLine(TypedDict):
    id: int
    at: str
    actor: str
    action: str
    subject: str | None
    operation: str | None
    details: dict[str, Any] | None


ANSWERS: dict[str, Any] = {
    "addCloud": Cloud, "listClouds": list[Cloud], "getCloud": Cloud, "checkCloud": CloudCheck, "removeCloud": Cloud,
    "listMachines": list[Machine], "getMachine": MachineDetails,
    "planImport": ImportPlan, "startImport": ImportStarted, "listImports": list[Import], "getImport": ImportDetails,
    "getImportPlan": ImportPlan, "cancelImport": Import, "retryImport": Import, "planUndo": UndoPlan,
    "undoImport": Import, "extendImport": Import, "finishImport": Import,
    "listNodes": list[Node], "getNode": NodeDetails,
    "listOperations": list[Operation], "getOperation": OperationDetails, "listSteps": list[Step],
    "cancelOperation": Operation, "retryOperation": Operation,
    "createToken": NewToken, "listTokens": list[Token], "revokeToken": Token, "listAudit": list[AuditLine],
}  # fmt: skip
"""operationId → the form of its answer. What is not here is described where its route is."""


def describe_answers(app: FastAPI) -> None:
    """Let `/openapi.json` tell the answers of `/v1` and the form of its errors."""
    plain: Callable[[], dict[str, Any]] = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _with_answers(plain())
        return app.openapi_schema

    setattr(app, "openapi", openapi)  # noqa: B010 - FastAPI's own way to replace it, which mypy takes for a mistake


def _with_answers(document: dict[str, Any]) -> dict[str, Any]:
    from pydantic import TypeAdapter

    schemas = document.setdefault("components", {}).setdefault("schemas", {})

    def schema_of(form: Any) -> dict[str, Any]:
        made = TypeAdapter(form).json_schema(ref_template="#/components/schemas/{model}", mode="serialization")
        schemas.update(made.pop("$defs", {}))
        name = made.get("title")
        if name is None or made.get("type") != "object":
            return made
        schemas[name] = made
        return {"$ref": f"#/components/schemas/{name}"}

    problem = {"application/problem+json": {"schema": schema_of(Problem)}}
    for path, verbs in document["paths"].items():
        for told in verbs.values():
            if not path.startswith("/v1/"):
                continue
            form = ANSWERS.get(told.get("operationId", ""))
            if form is not None:
                success = next(code for code in told["responses"] if code.startswith("2"))
                told["responses"][success]["content"] = {"application/json": {"schema": schema_of(form)}}
            told["responses"].pop("422", None)  # FastAPI's own form of wrong input, which is never sent
            told["responses"]["default"] = {"description": "What went wrong, and the way out.", "content": problem}
    return document

"""The OpenAPI document says what the real application answers. HOLDFAST_UPDATE_GOLDEN=1 writes the golden document."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter

from holdfast.api.schemas import ANSWERS, Problem
from unit.api.api_rig import ApiRig, api_rigs

GOLDEN = Path(__file__).parent / "golden" / "openapi.json"


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)


def undeclared(form: dict[str, Any], told: Any, schemas: dict[str, Any], path: str = "") -> Iterator[str]:
    """Keys of an answer that its form does not declare. Objects without properties hold whatever they hold."""
    if "$ref" in form:
        form = schemas[form["$ref"].rsplit("/", 1)[-1]]
    for choice in form.get("anyOf", ()):
        if choice.get("type") != "null" and told is not None:
            yield from undeclared(choice, told, schemas, path)
    if isinstance(told, list) and "items" in form:
        for one in told:
            yield from undeclared(form["items"], one, schemas, f"{path}[]")
    if isinstance(told, dict) and "properties" in form:
        yield from (f"{path}.{key}" for key in told.keys() - form["properties"].keys())
        for key, inner in form["properties"].items():
            if key in told:
                yield from undeclared(inner, told[key], schemas, f"{path}.{key}")


def matches(operation: str, told: Any) -> None:
    form = ANSWERS[operation]
    TypeAdapter(form).validate_json(json.dumps(told), strict=True)
    schema = TypeAdapter(form).json_schema()
    assert list(undeclared(schema, told, schema.get("$defs", {}))) == [], operation


def test_every_answer_has_exactly_the_keys_that_the_document_declares(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.cloud.add_machine("db-2")
    ask = rig.client

    def get(operation: str, path: str) -> Any:
        answer = ask.get(path)
        assert answer.status_code == 200, answer.text
        matches(operation, answer.json())
        return answer.json()

    def post(operation: str, path: str, body: Any = None) -> Any:
        answer = ask.post(path, json=body or {})
        assert answer.is_success, answer.text
        matches(operation, answer.json())
        return answer.json()

    get("listClouds", "/v1/clouds")
    get("getCloud", "/v1/clouds/lab")
    post("checkCloud", "/v1/clouds/lab/check")
    get("listMachines", "/v1/machines")
    get("getMachine", "/v1/machines/rg-1/db-1")
    post("planImport", "/v1/imports/plan", {"machine": "rg-1/db-1"})
    quick = {"prove_for_s": 5, "prove_timeout_s": 60}
    begun = post("startImport", "/v1/imports", {"machine": "rg-1/db-1", "options": quick})
    other = post("startImport", "/v1/imports", {"machine": "rg-1/db-2", "options": quick})
    post("cancelImport", f"/v1/imports/{other['id']}/cancel")
    rig.run(begun["operation"])
    rig.run(other["operation"])
    get("listImports", "/v1/imports")
    one = f"/v1/imports/{begun['id']}"
    get("getImport", one)
    get("getImportPlan", f"{one}/plan")
    post("extendImport", f"{one}/extend", {"by_s": 3600})
    post("planUndo", f"{one}/undo-plan")
    get("listNodes", "/v1/nodes")
    get("getNode", f"/v1/nodes/{begun['node_id']}")
    get("listOperations", "/v1/operations")
    get("getOperation", f"/v1/operations/{begun['operation']}")
    get("listSteps", f"/v1/operations/{begun['operation']}/steps")
    post("undoImport", f"{one}/undo")
    post("createToken", "/v1/tokens", {"name": "eyes"})
    get("listTokens", "/v1/tokens")
    matches("revokeToken", ask.delete("/v1/tokens/eyes").json())
    get("listAudit", "/v1/audit")


def test_every_error_has_the_form_of_a_problem(rig: ApiRig) -> None:
    for answer in (rig.client.get("/v1/imports/sin-0"), rig.as_(None).get("/v1/nodes"), rig.client.get("/v1/nothing")):
        assert answer.headers["content-type"] == "application/problem+json"
        TypeAdapter(Problem).validate_python(answer.json())
        assert answer.json().keys() == Problem.__annotations__.keys()


def reached(schemas: dict[str, Any], told: Any) -> set[str]:
    """Names of the schemas that a part of the document refers to, through each other too."""
    names = set(re.findall(r"#/components/schemas/([A-Za-z0-9_]+)", json.dumps(told)))
    while more := {n for name in names for n in reached({}, schemas.get(name, {}))} - names:
        names |= more
    return names


def test_openapi_document_is_the_one_that_clients_know(rig: ApiRig) -> None:
    told = rig.client.get("/openapi.json").json()
    paths = {path: verbs for path, verbs in told["paths"].items() if not path.startswith("/v1/market")}
    schemas = told["components"]["schemas"]
    known = {"paths": paths, "schemas": {name: schemas[name] for name in reached(schemas, paths)}}
    text = json.dumps(known, indent=1, sort_keys=True) + "\n"
    if os.environ.get("HOLDFAST_UPDATE_GOLDEN"):
        GOLDEN.parent.mkdir(exist_ok=True)
        GOLDEN.write_text(text)

    assert text == GOLDEN.read_text(), f"set HOLDFAST_UPDATE_GOLDEN=1 if {GOLDEN} is to change"


def test_every_v1_route_but_streams_and_the_clouds_own_tables_says_what_it_answers(rig: ApiRig) -> None:
    paths = rig.client.get("/openapi.json").json()["paths"]
    untold = {
        verb["operationId"]
        for path, verbs in paths.items()
        if path.startswith("/v1/") and not path.startswith("/v1/market")
        for verb in verbs.values()
        if verb["operationId"] not in ANSWERS
    }

    assert untold == {"followImport", "followOperation", "listSizes", "listPrices", "listQuota"}

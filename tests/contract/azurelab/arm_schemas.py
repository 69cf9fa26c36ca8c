"""Azure's own JSON Schemas of resource bodies, with the four tolerances that real traffic needs (contracts/arm/README).

They judge two things here: what azurelab answers, and what azurelab refuses.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft4Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT4

SHARED = Path(os.environ.get("HOLDFAST_SHARED", Path(__file__).parents[4] / "shared"))
FOLDER = SHARED / "contracts" / "arm" / "schemas"


def _tolerant(value: Any, name: str = "") -> Any:
    """Enum words compare without case; any vmSize is one."""
    if isinstance(value, list):
        return [_tolerant(v) for v in value]
    if not isinstance(value, dict):
        return value
    if "enum" in value and all(isinstance(v, str) for v in value["enum"]):
        rest = {k: _tolerant(v, k) for k, v in value.items() if k != "enum"}
        if name == "vmSize":
            return rest
        words = [json.dumps(v)[1:-1].replace("*", r"\*").replace(".", r"\.").lower() for v in value["enum"]]
        return {**rest, "pattern": "(?i)^(" + "|".join(words) + ")$"}
    inner = {}
    for key, held in value.items():
        if key == "vmSize" and isinstance(held, dict) and "oneOf" in held:
            inner[key] = {"type": "string"}
        else:
            inner[key] = _tolerant(held, key)
    return inner


@cache
def _registry() -> tuple[Registry[Any], dict[str, str]]:
    """(all documents, resource definition → id of its document)."""
    registry: Registry[Any] = Registry()
    where: dict[str, str] = {}
    for path in sorted(FOLDER.rglob("*.json")):
        document = _tolerant(json.loads(path.read_text()))
        at = document["id"].rstrip("#")
        document["id"] = at
        registry = registry.with_resource(at, Resource.from_contents(document, default_specification=DRAFT4))
        where |= dict.fromkeys(document.get("resourceDefinitions") or (), at)
    return registry, where


def definition_of(type_name: str) -> str:
    """`Microsoft.Network/virtualNetworks/subnets` → virtualNetworks_subnets."""
    return type_name.partition("/")[2].replace("/", "_")


def judged(type_name: str) -> bool:
    return definition_of(type_name) in _registry()[1]


@cache
def _validator(type_name: str) -> tuple[Draft4Validator, str]:
    registry, where = _registry()
    word = definition_of(type_name)
    at = where[word]
    return Draft4Validator({"$ref": f"{at}#/resourceDefinitions/{word}"}, registry=registry), at.split("/")[-2]


def problems(type_name: str, body: dict[str, Any]) -> list[str]:
    """What the schema of the type has against the body: `properties.diskSizeGB: 'x' is not of type 'integer'`."""
    validator, version = _validator(type_name)
    name = str(body.get("name", "x")).rsplit("/", 1)[-1]
    document = {"properties": {}, **_without_nulls(body), "type": type_name, "apiVersion": version, "name": name}
    found = []
    for error in validator.iter_errors(document):
        found += sorted({f"{'.'.join(map(str, e.absolute_path))}: {e.message}" for e in _leaves(error)})
    return found


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_nulls(v) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v) for v in value]
    return value


def _leaves(error: Any) -> Iterator[Any]:
    """The errors below the choices between a value and a template expression, without those of the expression."""
    if not error.context:
        yield error
        return
    for inner in error.context:
        if not str(inner.schema.get("pattern", "")).startswith("^\\["):
            yield from _leaves(inner)

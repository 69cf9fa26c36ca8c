"""What Spot's clients send with an import, with its aliases and traps (spot-stateful-node-api.md 5.5, 8.3)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from holdfast.core.errors import InvalidInput
from holdfast.imports.options import ImportOptions, retention_over_spot
from holdfast.imports.planning import WEAK_PROOF
from holdfast.nodes.spec.errors import UnknownField

__all__ = ["Asked", "read_import"]

_WRAPPER = "statefulNodeImport"
_RETENTION = ("resourcesRetentionTime", "resourceRetentionTime")  # the second: as spotinst-sdk2 3.22.0 misspells it
_KNOWN = frozenset(
    {"originalVmName", "resourceGroupName", "drainingTimeout", *_RETENTION, "convertUnmanagedDisks", "node",
     "statefulImportId"}
)  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """An import as a Spot client asks for it. `given`: names of the options that it chose."""

    group: str
    name: str
    options: ImportOptions
    given: frozenset[str]
    node: dict[str, Any]
    warnings: tuple[str, ...]


def read_import(body: Any, floor_s: int) -> Asked:
    """Raises InvalidInput and UnknownField with the dotted path of what is wrong."""
    told = body.get(_WRAPPER) if isinstance(body, dict) else None
    if not isinstance(told, dict):
        raise InvalidInput(field=_WRAPPER, problem="is required and must be an object")
    for key in told:
        if key not in _KNOWN:
            raise UnknownField(field=f"{_WRAPPER}.{key}", problem="no such field")
    node = told.get("node")
    if node is not None and not isinstance(node, dict):
        raise InvalidInput(field=f"{_WRAPPER}.node", problem="must be an object")
    hours = next((told[key] for key in _RETENTION if told.get(key) is not None), None)
    retention_s, warning = retention_over_spot(_whole(hours, "resourcesRetentionTime", 731), floor_s)
    draining = _whole(told.get("drainingTimeout"), "drainingTimeout", 1800)
    convert = told.get("convertUnmanagedDisks") or False
    if not isinstance(convert, bool):
        raise InvalidInput(field=f"{_WRAPPER}.convertUnmanagedDisks", problem="must be true or false")
    options = ImportOptions(
        retention_s=retention_s,
        draining_timeout_s=120 if draining is None else draining,
        accept=(WEAK_PROOF,),  # docs/decisions/0035: these clients cannot be asked
        convert_unmanaged_disks=convert,
    )
    return Asked(
        group=_text(told.get("resourceGroupName"), "resourceGroupName"),
        name=_text(told.get("originalVmName"), "originalVmName"),
        options=options,
        given=frozenset() if draining is None else frozenset({"draining_timeout_s"}),
        node=node or {},
        warnings=(warning,) if warning else (),
    )


def _text(value: Any, name: str) -> str:
    if not isinstance(value, str) or not value or "/" in value:
        raise InvalidInput(field=f"{_WRAPPER}.{name}", problem="is required")
    return value


def _whole(value: Any, name: str, most: int) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidInput(field=f"{_WRAPPER}.{name}", problem=f"must be a whole number from 0 to {most}")
    return value

"""What Azure's deserialiser does with the fields that a type acts on: refuses, converts, spells. Everything else in a
body is left alone.

Azure reads numbers and truth values from strings that say them, compares enum words without case and answers with its
own spelling; so do we. A wrong kind, an unknown enum word and an absent required field are refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

from azurelab.arm.errors import ArmError
from azurelab.arm.types import Field, ResourceType

__all__ = ["check_fields", "fields_of"]

_KINDS: dict[str, type | tuple[type, ...]] = {
    "object": dict,
    "list": list,
    "int": int,
    "number": (float, int),
    "bool": bool,
    "text": str,
}
_WORDS = {dict: "object", list: "array", int: "System.Int32", float: "System.Double", bool: "System.Boolean",
          str: "System.String"}  # fmt: skip


def fields_of(table: str) -> tuple[Field, ...]:
    """One field a line: `path kind [word|word…]`, kind object, list, int, number, bool, text or enum; `!` behind the
    path means required. The objects and lists on the way to a field are checked, too.

        properties.dataDisks[].lun! int
        properties.dataDisks[].caching enum None|ReadOnly|ReadWrite
    """
    found: dict[str, Field] = {}
    for line in filter(str.strip, table.splitlines()):
        path, kind, *words = line.split(maxsplit=2)
        required = path.endswith("!")
        path = path.removesuffix("!")
        for way in _ways(path):
            found.setdefault(way[0], Field(path=way[0], kind=way[1]))
        values = tuple(words[0].split("|")) if words else ()
        found[path] = Field(path=path, kind=str if kind == "enum" else _KINDS[kind], values=values, required=required)
    return tuple(found.values())


def _ways(path: str) -> Iterator[tuple[str, type]]:
    """The objects and lists that a path passes through."""
    steps = path.split(".")
    for at, step in enumerate(steps):
        here = ".".join([*steps[:at], step.removesuffix("[]")])
        if step.endswith("[]"):
            yield here, list
            if at + 1 < len(steps):
                yield f"{here}[]", dict
        elif at + 1 < len(steps):
            yield here, dict


def check_fields(rtype: ResourceType, fields: Iterable[Field], doc: dict[str, Any]) -> None:
    """ArmError 400 for what Azure's deserialiser refuses; converts and spells the rest in place."""
    for field in fields:
        kinds = field.kind if isinstance(field.kind, tuple) else (field.kind,)
        for parents_exist, holder, key in list(_places(doc, _steps(field.path), 0)):
            value = holder[key] if isinstance(key, int) else holder.get(key)
            if value is None:
                if field.required and parents_exist:
                    raise _refused(rtype, field, f"Required parameter '{_leaf(field)}' is missing (null).")
                continue
            read = _converted(value, kinds)
            if read is None:
                raise _refused(
                    rtype,
                    field,
                    f"Error converting value {value!r} to type '{_WORDS[kinds[0]]}'. Path '{field.path}'.",
                )
            if field.values:
                read = next((v for v in field.values if v.lower() == str(read).lower()), None)
                if read is None:
                    raise _refused(
                        rtype,
                        field,
                        f"The value '{value}' of parameter '{_leaf(field)}' is not allowed. Allowed values are: "
                        f"{', '.join(field.values)}.",
                    )
            if read is not value:
                holder[key] = read


def _converted(value: Any, kinds: tuple[type, ...]) -> Any:
    """The value as one of these kinds, None where it is no such thing. Never makes objects or lists of anything."""
    if isinstance(value, kinds) and (not isinstance(value, bool) or bool in kinds):
        return value
    if isinstance(value, dict | list):
        return None
    if str in kinds:
        return str(value)
    if bool in kinds:
        return {"true": True, "false": False}.get(value.strip().lower()) if isinstance(value, str) else None
    if isinstance(value, bool):
        return None
    for kind in (int, float):
        if kind in kinds:
            try:
                number = float(value)
            except ValueError:
                return None
            if kind is float or number.is_integer():
                return kind(value) if kind is float else int(number)
    return None


@lru_cache(maxsize=4096)
def _steps(path: str) -> tuple[str, ...]:
    return tuple(path.split("."))


def _places(doc: Any, steps: tuple[str, ...], at: int) -> Iterator[tuple[bool, Any, Any]]:
    """(whether the parent object exists, holder, key) of every place that the path names."""
    if not isinstance(doc, dict):
        return
    step = steps[at]
    last = at + 1 == len(steps)
    if step.endswith("[]"):
        items = doc.get(step.removesuffix("[]"))
        for n, item in enumerate(items if isinstance(items, list) else ()):
            if last:
                yield True, items, n
            else:
                yield from _places(item, steps, at + 1)
    elif last:
        yield True, doc, step
    elif doc.get(step) is not None:
        yield from _places(doc[step], steps, at + 1)


def _leaf(field: Field) -> str:
    return field.path.removeprefix("properties.").replace("[]", "")


def _refused(rtype: ResourceType, field: Field, message: str) -> ArmError:
    if rtype.body_error == "InvalidRequestFormat":  # the network provider tells the reason one level deeper
        return ArmError(
            400,
            "InvalidRequestFormat",
            "Cannot parse the request.",
            details=[{"code": "InvalidJson", "message": message}],
        )
    return ArmError(400, rtype.body_error, message, target=_leaf(field))

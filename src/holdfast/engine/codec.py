"""Values in the record: versioned JSON by the type annotations of the functions that take and return them.

Never pickle: write access to the database must not be a way to run code, and a record must stay readable for people and
for the next release. What a step returns is what its record holds: results pass through JSON on the first run too, so
that a replay sees exactly the same value.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from typing import Any, get_type_hints

from pydantic import PydanticSchemaGenerationError, TypeAdapter, ValidationError
from pydantic_core import PydanticSerializationError

from holdfast.engine.errors import NotRecordable

__all__ = [
    "FORM",
    "accepts_result",
    "check_compensation",
    "decode",
    "decode_arguments",
    "decode_result",
    "encode",
    "encode_arguments",
    "encode_result",
    "title_of",
]

FORM = 1  # grows when the envelope changes; a reader knows this form and the one before


def encode(kind: Any, value: Any, name: str) -> dict[str, Any]:
    """`value` as JSON of type `kind`. Raises NotRecordable, SecretInRecord. `name` says what it is in the error."""
    return {"form": FORM, "value": _dump(kind, value, name)}


def decode(kind: Any, record: dict[str, Any], name: str) -> Any:
    """The inverse. Raises NotRecordable when the record does not fit the type."""
    return _load(kind, _opened(record, name), name)


def encode_arguments(step: Callable[..., Any], arguments: tuple[Any, ...]) -> dict[str, Any]:
    """The arguments after the call, by the types of `step`'s parameters."""
    kinds = _argument_kinds(step, len(arguments))
    dumped = [
        _dump(kind, value, f"{_label(step)}({i})") for i, (kind, value) in enumerate(zip(kinds, arguments, strict=True))
    ]
    return {"form": FORM, "value": dumped}


def decode_arguments(step: Callable[..., Any], record: dict[str, Any]) -> tuple[Any, ...]:
    """By the types of the function that receives them, which may be a compensation."""
    values = _opened(record, _label(step))
    kinds = _argument_kinds(step, len(values))
    return tuple(_load(kind, value, _label(step)) for kind, value in zip(kinds, values, strict=True))


def encode_result(step: Callable[..., Any], value: Any) -> dict[str, Any]:
    return encode(_hints(step).get("return", Any), value, f"the result of {_label(step)}")


def decode_result(step: Callable[..., Any], record: dict[str, Any]) -> Any:
    return decode(_hints(step).get("return", Any), record, f"the result of {_label(step)}")


def accepts_result(compensation: Callable[..., Any]) -> Any | None:
    """The type of its keyword `result`, or None when it does not take one."""
    return _hints(compensation).get("result") if "result" in inspect.signature(compensation).parameters else None


def check_compensation(step: Callable[..., Any], compensation: Callable[..., Any], count: int) -> None:
    """A compensation takes the same arguments as its step. Raises NotRecordable, before any effect."""
    try:
        inspect.signature(compensation).bind(None, *range(count))
    except TypeError as exc:
        raise NotRecordable(
            name=_label(compensation), problem=f"it does not take the arguments of {_label(step)} ({exc})"
        ) from exc


def title_of(step: Callable[..., Any]) -> str:
    """The sentence that people see: the first line of the docstring, else the function's name in words."""
    lines = (inspect.getdoc(step) or "").strip().splitlines()
    return lines[0].rstrip(".") if lines else getattr(step, "__name__", "step").replace("_", " ")


def _label(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", repr(function))


def _opened(record: dict[str, Any], name: str) -> Any:
    if record.get("form") != FORM:
        raise NotRecordable(name=name, problem=f"the record has form {record.get('form')}, known is {FORM}")
    return record["value"]


@lru_cache(maxsize=2048)
def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    target = inspect.unwrap(function)
    try:
        return get_type_hints(target, include_extras=True)
    except NameError as exc:
        raise NotRecordable(
            name=_label(function), problem=f"{exc}; its annotations must be importable at run time"
        ) from exc


def _argument_kinds(function: Callable[..., Any], count: int) -> list[Any]:
    hints = _hints(function)
    kinds: list[Any] = []
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is parameter.KEYWORD_ONLY:
            continue
        kind = hints.get(parameter.name, Any)
        repeat = count - len(kinds) if parameter.kind is parameter.VAR_POSITIONAL else 1
        kinds += [kind] * repeat
    if len(kinds) < count:
        raise NotRecordable(name=_label(function), problem=f"it takes {len(kinds)} arguments, {count} were given")
    return kinds[:count]


@lru_cache(maxsize=2048)
def _cached_adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _adapter(kind: Any, name: str) -> TypeAdapter[Any]:
    try:
        try:
            return _cached_adapter(kind)
        except TypeError:  # an annotation that cannot be hashed
            return TypeAdapter(kind)
    except PydanticSchemaGenerationError as exc:
        raise NotRecordable(name=name, problem=f"{kind} has no JSON form") from exc


def _dump(kind: Any, value: Any, name: str) -> Any:
    try:
        return _adapter(kind, name).dump_python(value, mode="json", warnings="error")
    except (PydanticSerializationError, AttributeError, TypeError, ValueError) as exc:
        raise NotRecordable(name=name, problem=str(exc)) from exc


def _load(kind: Any, value: Any, name: str) -> Any:
    try:
        return _adapter(kind, name).validate_python(value)
    except ValidationError as exc:
        raise NotRecordable(name=name, problem=str(exc)) from exc

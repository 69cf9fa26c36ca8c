"""Template expressions, the few that az and hand-written templates of literal resources use. Pure.

`[parameters('x')]`, `[variables('x').y[0]]`, `[resourceId('type', 'name'…)]`, `[concat(…)]`, `[reference(…)]`,
`[resourceGroup().location]`, `[subscription().id]`, `[copyIndex()]`, `[if(equals(…), …)]`, `[format(…)]` … Text that
begins with `[[` is a literal `[`. Everything else is refused with InvalidTemplate.
"""

from __future__ import annotations

import base64
import hashlib
import re
import uuid
from collections.abc import Callable, Mapping
from typing import Any

from azurelab.arm.errors import ArmError

__all__ = ["Scope", "evaluate", "invalid", "resource_id"]

_TOKEN = re.compile(r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+)|(?P<word>[A-Za-z_]\w*)|(?P<mark>[()\[\].,]))")


def invalid(message: str) -> ArmError:
    """The refusal of a template, with the place in it that Azure tells; ours does not count lines."""
    place = {"lineNumber": 0, "linePosition": 0, "path": ""}
    return ArmError(
        400,
        "InvalidTemplate",
        f"Deployment template validation failed: '{message}'.",
        info=[{"type": "TemplateViolation", "info": place}],
    )


class Scope:
    """What names mean. `reference(name, full)` gives a resource's properties or all of it, or raises: there is none."""

    def __init__(
        self,
        *,
        subscription: str,
        group: Mapping[str, Any],
        parameters: Mapping[str, Any],
        variables: Mapping[str, Any],
        reference: Callable[[str, bool], Any],
    ) -> None:
        self.subscription = subscription
        self.group = group
        self.parameters = parameters
        self.variables = variables
        self.reference = reference
        self.copies: dict[str, int] = {}
        """Where copy loops stand: by the loop's name in lower case; "" is the innermost."""


def resource_id(subscription: str, group: str, *words: str) -> str:
    """resourceId([subscription], [group], 'Provider/type/child', 'name', 'child name')."""
    rest = list(words)
    while rest and "/" not in rest[0]:
        if re.fullmatch(r"[0-9a-fA-F-]{36}", rest[0]):
            subscription = rest.pop(0)
        else:
            group = rest.pop(0)
    if not rest:
        raise invalid("resourceId needs a resource type")
    provider, *types = rest[0].split("/")
    names = rest[1:]
    if len(types) != len(names):
        raise invalid(f"the type '{rest[0]}' requires '{len(types)}' resource name argument(s)")
    path = "".join(f"/{t}/{n}" for t, n in zip(types, names, strict=True))
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{provider}{path}"


def evaluate(value: Any, scope: Scope) -> Any:
    """The value with every expression in it replaced, at any depth."""
    if isinstance(value, dict):
        return {k: evaluate(v, scope) for k, v in value.items()}
    if isinstance(value, list):
        return [evaluate(v, scope) for v in value]
    if isinstance(value, str) and value.startswith("[") and value.endswith("]"):
        if value.startswith("[["):
            return value[1:]
        return _Parser(value[1:-1], scope).whole()
    return value


class _Parser:
    def __init__(self, text: str, scope: Scope) -> None:
        self._text = text
        self._scope = scope
        self._tokens: list[tuple[str, str]] = []
        at = 0
        while at < len(text.rstrip()):
            m = _TOKEN.match(text, at)
            if m is None:
                raise invalid(f"the language expression '{text}' is not valid")
            kind = str(m.lastgroup)
            self._tokens.append((kind, m.group(kind)))
            at = m.end()
        self._at = 0

    def whole(self) -> Any:
        value = self._value()
        if self._at != len(self._tokens):
            raise invalid(f"the language expression '{self._text}' is not valid")
        return value

    def _peek(self) -> str:
        return self._tokens[self._at][1] if self._at < len(self._tokens) else ""

    def _next(self) -> tuple[str, str]:
        if self._at >= len(self._tokens):
            raise invalid(f"the language expression '{self._text}' ends too early")
        self._at += 1
        return self._tokens[self._at - 1]

    def _expect(self, mark: str) -> None:
        if self._next()[1] != mark:
            raise invalid(f"the language expression '{self._text}' is not valid: '{mark}' expected")

    def _value(self) -> Any:
        kind, token = self._next()
        if kind == "text":
            value: Any = token[1:-1].replace("''", "'")
        elif kind == "number":
            value = int(token)
        elif kind == "word":
            self._expect("(")
            arguments = []
            while self._peek() != ")":
                arguments.append(self._value())
                if self._peek() == ",":
                    self._next()
            self._expect(")")
            value = self._call(token, arguments)
        else:
            raise invalid(f"the language expression '{self._text}' is not valid")
        while self._peek() in (".", "["):
            if self._next()[1] == ".":
                value = self._member(value, self._next()[1])
            else:
                value = self._member(value, self._value())
                self._expect("]")
        return value

    def _member(self, value: Any, name: Any) -> Any:
        if isinstance(value, list) and isinstance(name, int) and 0 <= name < len(value):
            return value[name]
        if isinstance(value, Mapping):
            for key, held in value.items():
                if str(key).lower() == str(name).lower():
                    return held
        raise invalid(f"the language expression property '{name}' doesn't exist in '{self._text}'")

    def _call(self, name: str, a: list[Any]) -> Any:
        s = self._scope
        word = name.lower()
        if word in ("parameters", "variables"):
            held = s.parameters if word == "parameters" else s.variables
            for key, value in held.items():
                if key.lower() == str(a[0]).lower():
                    return value
            raise invalid(f"the template {word[:-1]} '{a[0]}' is not found")
        if word == "copyindex":
            return self._copy_index(a)
        simple: dict[str, Callable[[], Any]] = {
            "resourceid": lambda: resource_id(s.subscription, str(s.group["name"]), *map(str, a)),
            "concat": lambda: [x for part in a for x in part] if isinstance(a[0], list) else "".join(map(str, a)),
            "reference": lambda: s.reference(str(a[0]), len(a) > 2 and str(a[2]).lower() == "full"),
            "resourcegroup": lambda: s.group,
            "subscription": lambda: {"id": f"/subscriptions/{s.subscription}", "subscriptionId": s.subscription},
            "tolower": lambda: str(a[0]).lower(),
            "toupper": lambda: str(a[0]).upper(),
            "string": lambda: str(a[0]),
            "int": lambda: int(a[0]),
            "format": lambda: str(a[0]).format(*a[1:]),
            "uniquestring": lambda: hashlib.sha256("/".join(map(str, a)).encode()).hexdigest()[:13],
            "add": lambda: a[0] + a[1],
            "sub": lambda: a[0] - a[1],
            "mul": lambda: a[0] * a[1],
            "equals": lambda: _same(a[0], a[1]),
            "not": lambda: not a[0],
            "and": lambda: all(a),
            "or": lambda: any(a),
            "if": lambda: a[1] if a[0] else a[2],
            "empty": lambda: not a[0],
            "length": lambda: len(a[0]),
            "contains": lambda: a[1] in a[0],
            "createarray": lambda: a,
            "first": lambda: a[0][0],
            "last": lambda: a[0][-1],
            "substring": lambda: str(a[0])[a[1] : a[1] + a[2] if len(a) > 2 else None],
            "replace": lambda: str(a[0]).replace(str(a[1]), str(a[2])),
            "padleft": lambda: str(a[0]).rjust(a[1], str(a[2]) if len(a) > 2 else " "),
            "base64": lambda: base64.b64encode(str(a[0]).encode()).decode(),
            "guid": lambda: str(uuid.uuid5(uuid.NAMESPACE_OID, "/".join(map(str, a)))),
            "true": lambda: True,
            "false": lambda: False,
            "null": lambda: None,
        }
        if word not in simple:
            raise invalid(f"the template function '{name}' is not valid or not supported here")
        try:
            return simple[word]()
        except (IndexError, TypeError, ValueError, KeyError) as exc:
            raise invalid(f"the arguments of the template function '{name}' are not valid: {exc}") from exc

    def _copy_index(self, a: list[Any]) -> int:
        """copyIndex(), copyIndex(offset), copyIndex('loop', offset)."""
        name = str(a[0]).lower() if a and isinstance(a[0], str) else ""
        offset = next((n for n in a if isinstance(n, int)), 0)
        if name not in self._scope.copies:
            raise invalid("The template function 'copyIndex' is not expected at this location")
        return self._scope.copies[name] + offset


def _same(one: Any, other: Any) -> bool:
    """Text compares without case."""
    return one.lower() == other.lower() if isinstance(one, str) and isinstance(other, str) else bool(one == other)

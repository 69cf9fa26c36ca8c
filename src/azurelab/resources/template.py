"""A template, checked: resources with ids, in the order of their dependencies. Pure but for the group that it reads.

Literal resources, parameters, variables, conditions and copy loops of resources. Nested and linked templates are
refused (InvalidTemplate), not ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.ids import group_key
from azurelab.resources.expressions import Scope, evaluate, invalid, resource_id

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = ["Template"]

_NOT_RESOURCE_KEYS = ("type", "name", "apiVersion", "dependsOn", "comments", "metadata", "scope", "id", "copy",
                      "copies", "condition")  # fmt: skip
_MOST_COPIES = 800


class Template:
    """A checked template: resources with ids, evaluated but for `reference`, in the order in which they are made."""

    def __init__(self, ctx: Context, reference: Any) -> None:
        body = ctx.body["properties"]
        template = body.get("template")
        if not isinstance(template, dict):
            raise invalid("the template is missing")
        self.template = template
        self.body = body
        assert ctx.id.group is not None
        assert ctx.id.subscription is not None
        group = ctx.store.get(group_key(ctx.id.subscription, ctx.id.group))
        assert group is not None
        self.subscription, self.group = ctx.id.subscription, group.name
        self.scope = Scope(
            subscription=ctx.id.subscription,
            group=group.doc,
            parameters=self._parameters(),
            variables={},
            reference=lambda name, full: reference(self, name, full),
        )
        self.scope.variables = evaluate(template.get("variables") or {}, self.scope)
        raw = template.get("resources") or []
        if isinstance(raw, dict):  # language version 2 names its resources
            raw = list(raw.values())
        self.absent: set[str] = set()
        """Ids and names, in lower case, of resources whose condition does not hold: nobody waits for them."""
        self.loops: dict[str, list[str]] = {}
        """Ids of the resources that a copy loop makes, by the loop's name."""
        self.resources = [made for item in raw for made in self._all(item)]
        self._check_dependencies()

    def _parameters(self) -> dict[str, Any]:
        declared = self.template.get("parameters") or {}
        given = self.body.get("parameters") or {}
        found: dict[str, Any] = {}
        for name, about in declared.items():
            held = next((v for k, v in given.items() if k.lower() == name.lower()), None)
            if isinstance(held, dict) and "value" in held:
                found[name] = held["value"]
            elif "defaultValue" in about:
                found[name] = about["defaultValue"]
            else:
                raise invalid(f"The value for the template parameter '{name}' is not provided.")
        for name in given:
            if not any(name.lower() == d.lower() for d in declared):
                raise invalid(f"The template parameters '{name}' in the parameters file are not valid.")
        return found

    def _all(self, item: dict[str, Any]) -> list[dict[str, Any]]:
        """None under a condition that does not hold, several in a copy loop, else one."""
        loop = item.get("copy")
        if loop is None:
            one = self._one(item)
            if self._wanted(item):
                return [one]
            self.absent |= {one["id"].lower(), one["name"].lower()}
            return []
        if not isinstance(loop, dict) or not isinstance(loop.get("name"), str):
            raise invalid("a copy loop needs name and count")
        count = evaluate(loop.get("count"), self.scope)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= _MOST_COPIES:
            raise invalid(f"The value of property 'copy' of '{loop['name']}' is no count from 0 to {_MOST_COPIES}")
        made = []
        for at in range(count):
            self.scope.copies = {"": at, loop["name"].lower(): at}
            if self._wanted(item):
                made.append({**self._one(item), "copies": dict(self.scope.copies)})
        self.scope.copies = {}
        self.loops[loop["name"].lower()] = [m["id"] for m in made]
        return made

    def _wanted(self, item: dict[str, Any]) -> bool:
        return bool(evaluate(item.get("condition", True), self.scope))

    def body_of(self, item: dict[str, Any]) -> dict[str, Any]:
        """What is PUT for a resource; `reference` works from now on."""
        self.scope.copies = item.get("copies", {})
        return {k: evaluate(v, self.scope) for k, v in item.items() if k not in _NOT_RESOURCE_KEYS}

    def _one(self, item: dict[str, Any]) -> dict[str, Any]:
        kind, name = str(item.get("type", "")), evaluate(item.get("name"), self.scope)
        if not kind or not isinstance(name, str):
            raise invalid("every resource needs type and name")
        if kind.lower() == "microsoft.resources/deployments":
            raise invalid("nested deployments are not supported by this lab")
        at = resource_id(self.subscription, self.group, kind, *name.split("/"))
        if item.get("scope"):
            at = f"{evaluate(item['scope'], self.scope)}/providers/{kind}/{name}"
        return {**item, "name": name, "id": at, "dependsOn": [self._dependency(d) for d in item.get("dependsOn") or ()]}

    def _dependency(self, text: str) -> str:
        """A full id, `Provider/type/name` (what az sends), or just a name."""
        value = str(evaluate(text, self.scope))
        if value.startswith("/subscriptions/"):
            return value
        words = value.split("/")
        if len(words) >= 3 and "." in words[0]:
            half = (len(words) - 1) // 2
            kinds, names = words[1::2], words[2::2]
            if len(kinds) == len(names):
                path = "".join(f"/{k}/{n}" for k, n in zip(kinds, names, strict=True))
            else:
                path = "".join(f"/{k}/{n}" for k, n in zip(words[1 : half + 1], words[half + 1 :], strict=False))
            return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}/providers/{words[0]}{path}"
        return value

    def _check_dependencies(self) -> None:
        for r in self.resources:  # the name of a loop means all that it makes
            named = [one for d in r["dependsOn"] for one in self.loops.get(d.lower(), [d])]
            r["dependsOn"] = [d for d in named if d.lower() not in self.absent]
        known = {r["id"].lower() for r in self.resources} | {r["name"].lower() for r in self.resources}
        for r in self.resources:
            for wanted in r["dependsOn"]:
                if wanted.lower() not in known:
                    raise invalid(
                        f"The resource '{wanted}' is not defined in the template. Please see "
                        f"https://aka.ms/arm-syntax for usage details."
                    )

    def ordered(self) -> list[dict[str, Any]]:
        """Dependencies first. InvalidTemplate on a circle."""
        done: list[dict[str, Any]] = []
        names: set[str] = set()
        waiting = list(self.resources)
        while waiting:
            ready = [r for r in waiting if all(d.lower() in names for d in r["dependsOn"])]
            if not ready:
                raise invalid("Circular dependency detected on resource: " + waiting[0]["id"])
            for r in ready:
                done.append(r)
                names |= {r["id"].lower(), r["name"].lower()}
            waiting = [r for r in waiting if r not in ready]
        return done

    def named(self, text: str) -> str:
        """The id that `reference(text)` means."""
        if text.startswith("/subscriptions/"):
            return text
        for r in self.resources:
            if text.lower() in (r["name"].lower(), f"{r['type']}/{r['name']}".lower()):
                return str(r["id"])
        return self._dependency(text)

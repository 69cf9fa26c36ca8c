"""Which handler answers a path: a tree of fixed endpoints, and a table of resource types."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from azurelab.arm.types import ResourceType, Route

__all__ = ["Routes", "TypeTable"]


class Routes:
    """Endpoints that are no resources, found without case by walking path words. Literal words win over `{names}`."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._root: dict[str, Any] = {}
        for route in routes:
            self.add(route)

    def add(self, route: Route) -> None:
        node = self._root
        names: list[str] = []
        for word in route.path.strip("/").split("/"):
            if word.startswith("{"):
                names.append(word[1:-1])
                node = node.setdefault("**" if word.endswith("...}") else "*", {})
            else:
                node = node.setdefault(word.lower(), {})
        node.setdefault("=", {})[route.method] = (route, names)

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]] | None:
        words = [w for w in path.split("/") if w]
        found = self._walk(self._root, words, 0, [])
        if found is None:
            return None
        methods, values = found
        hit = methods.get(method) or (methods.get("GET") if method == "HEAD" else None)
        if hit is None:
            return None
        route, names = hit
        return route, dict(zip((n.removesuffix("...") for n in names), values, strict=True))

    def _walk(
        self, node: dict[str, Any], words: list[str], at: int, values: list[str]
    ) -> tuple[dict[str, Any], list[str]] | None:
        if at == len(words):
            return (node["="], values) if "=" in node else None
        word = words[at]
        for branch, kept in ((word.lower(), values), ("*", [*values, word])):
            if branch in node:
                found = self._walk(node[branch], words, at + 1, kept)
                if found is not None:
                    return found
        if "**" in node and "=" in node["**"]:
            return node["**"]["="], [*values, "/".join(words[at:])]
        return None


class TypeTable(dict[str, ResourceType]):
    """Resource types by their name in lower case."""

    def __init__(self, types: Iterable[ResourceType]) -> None:
        super().__init__()
        for t in types:
            assert t.name.lower() not in self, f"{t.name} is registered twice"
            self[t.name.lower()] = t

    def namespaces(self) -> dict[str, str]:
        """Lower case → Azure's spelling."""
        return {t.name.split("/")[0].lower(): t.name.split("/")[0] for t in self.values()}

"""Azure ids and names: where the parts of an id are, and how long names may get."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

__all__ = ["all_fitted", "fitted", "in_group", "merged", "resource_group_of", "subscription_of"]


Key = TypeVar("Key")


def subscription_of(ref: str) -> str:
    return _part_after(ref, "subscriptions")


def resource_group_of(ref: str) -> str:
    return _part_after(ref, "resourcegroups")


def in_group(like: str, resource_group: str, type_path: str, name: str) -> str:
    """The id of `name` of type `Microsoft.X/y` in the group, in the subscription of the id `like`."""
    return f"/subscriptions/{subscription_of(like)}/resourceGroups/{resource_group}/providers/{type_path}/{name}"


def fitted(stem: str, ending: str, most: int = 80) -> str:
    """`stem + ending`, the stem cut so that both fit: 80 characters is the limit of disks, snapshots, NICs and IPs."""
    return stem[: most - len(ending)].rstrip("-._") + ending


def all_fitted(stems: Mapping[Key, str], ending: str) -> dict[Key, str]:
    """`fitted` for each, and no name twice: stems may differ in what is cut only, and disks of two groups in nothing.

    The same stems in the same order always give the same names.
    """
    names: dict[Key, str] = {}
    taken: set[str] = set()
    for key, stem in stems.items():
        name = fitted(stem, ending)
        for number in range(2, len(stems) + 1):
            if name.lower() not in taken:
                break
            name = fitted(stem, f"-{number}{ending}")
        taken.add(name.lower())
        names[key] = name
    return names


def merged(*maps: Mapping[str, str] | None) -> dict[str, str]:
    """Later maps win."""
    out: dict[str, str] = {}
    for tags in maps:
        out.update(tags or {})
    return out


def _part_after(ref: str, word: str) -> str:
    parts = ref.split("/")
    for index, part in enumerate(parts[:-1]):
        if part.lower() == word:
            return parts[index + 1]
    raise ValueError(f"{ref} has no {word}")

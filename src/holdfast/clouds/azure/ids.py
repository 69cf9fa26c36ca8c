"""ARM ids: `/subscriptions/S/resourceGroups/G/providers/Namespace/type/name[/type/name]`. Case-blind, kept verbatim."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from holdfast.core.errors import InvalidInput

__all__ = ["ArmId", "is_within", "machine_id", "parse_id", "parse_id_or_none", "scopes_of"]

VIRTUAL_MACHINE = "Microsoft.Compute/virtualMachines"


@dataclass(frozen=True)
class ArmId:
    """An id's parts, as written. type: `Microsoft.Compute/virtualMachines/extensions`; names: one for each level."""

    subscription: str
    resource_group: str
    type: str
    names: tuple[str, ...]

    @property
    def name(self) -> str:
        return self.names[-1]

    @property
    def namespace(self) -> str:
        return self.type.split("/", 1)[0]

    @property
    def group_id(self) -> str:
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.resource_group}"

    @property
    def parent_id(self) -> str | None:
        """The id of the resource that this one is part of; None for a resource of the first level."""
        if len(self.names) == 1:
            return None
        namespace, *kinds = self.type.split("/")
        way = "".join(f"/{kind}/{name}" for kind, name in zip(kinds[:-1], self.names[:-1], strict=True))
        return f"{self.group_id}/providers/{namespace}{way}"


def parse_id(ref: str) -> ArmId:
    """Raises InvalidInput for anything that is not the id of a resource in a resource group."""
    found = parse_id_or_none(ref)
    if found is None:
        raise InvalidInput(field="ref", problem=f"'{ref}' is not the id of an Azure resource in a resource group")
    return found


def parse_id_or_none(ref: str) -> ArmId | None:
    parts = ref.split("/")
    if len(parts) < 9 or len(parts) % 2 == 0 or not all(parts[1:]) or parts[0]:
        return None
    keys = [parts[i].lower() for i in (1, 3, 5)]
    if keys != ["subscriptions", "resourcegroups", "providers"]:
        return None
    kinds, names = parts[7::2], parts[8::2]
    return ArmId(parts[2], parts[4], "/".join([parts[6], *kinds]), tuple(names))


def machine_id(subscription: str, resource_group: str, name: str) -> str:
    """Names are quoted, so that a name can never reach another path."""
    group, machine = quote(resource_group, safe="()"), quote(name, safe="")
    return f"/subscriptions/{subscription}/resourceGroups/{group}/providers/{VIRTUAL_MACHINE}/{machine}"


def is_within(ref: str, scope: str) -> bool:
    """Whether `ref` is `scope` or lies below it."""
    one, other = ref.lower().rstrip("/"), scope.lower().rstrip("/")
    return one == other or one.startswith(other + "/")


def scopes_of(ref: str) -> tuple[str, ...]:
    """Every scope whose locks and roles reach `ref`: itself, its parents, its group, its subscription."""
    scopes = [ref]
    found = parse_id(ref)
    while found.parent_id is not None:
        scopes.append(found.parent_id)
        found = parse_id(found.parent_id)
    return (*scopes, found.group_id, f"/subscriptions/{found.subscription}")

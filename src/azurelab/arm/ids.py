"""ARM ids: parsed once, compared without case, echoed as their creator wrote them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

__all__ = ["ResourceId", "group_key", "key_of", "parse_id"]


def key_of(resource_id: str) -> str:
    """The form in which ids are compared and indexed."""
    return resource_id.rstrip("/").lower()


def group_key(subscription: str, group: str) -> str:
    return f"/subscriptions/{subscription}/resourcegroups/{group}".lower()


@dataclass(frozen=True, slots=True)
class ResourceId:
    """`scope` is what stands before the last `/providers/`; `types` and `names` alternate after it.

    With one type more than names it is no resource but a collection, an action or a named view:
    `…/virtualMachines/vm1/start` has types (virtualMachines, start) and names (vm1,). A resource group has no
    provider: its id is the scope.
    """

    scope: str
    subscription: str | None
    group: str | None
    provider: str
    types: tuple[str, ...]
    names: tuple[str, ...]

    @property
    def text(self) -> str:
        if not self.provider:
            return self.scope
        rest = "".join(f"/{t}/{n}" for t, n in zip(self.types, self.names, strict=False))
        if len(self.types) > len(self.names):
            rest += f"/{self.types[-1]}"
        return f"{self.scope}/providers/{self.provider}{rest}"

    @property
    def key(self) -> str:
        return self.text.lower()

    @property
    def type(self) -> str:
        """`Microsoft.Network/virtualNetworks/subnets`, as written."""
        return "/".join((self.provider, *self.types)) if self.provider else "Microsoft.Resources/resourceGroups"

    @property
    def name(self) -> str:
        return self.names[-1] if self.names else self.scope.rsplit("/", 1)[-1]

    @property
    def is_resource(self) -> bool:
        return len(self.types) == len(self.names) and bool(self.names or not self.provider)

    @property
    def parent(self) -> ResourceId | None:
        """The resource that this one is a child of, or whose collection or action it is."""
        keep = len(self.names) - (1 if self.is_resource else 0)
        if keep < 1:
            return None
        return ResourceId(
            self.scope, self.subscription, self.group, self.provider, self.types[:keep], self.names[:keep]
        )

    def named(self) -> str:
        """`Microsoft.Compute/disks/d1`, or for children `Microsoft.Network/virtualNetworks/v/subnets/s`."""
        rest = "".join(f"/{t}/{n}" for t, n in zip(self.types, self.names, strict=False))
        return f"{self.provider}{rest}"


@lru_cache(maxsize=8192)
def parse_id(text: str) -> ResourceId | None:
    """The id, or None where the text names neither a resource group nor a `/providers/<namespace>/<type>`."""
    parts = [p for p in text.split("/") if p]
    lowered = [p.lower() for p in parts]
    if len(parts) == 4 and lowered[0] == "subscriptions" and lowered[2] == "resourcegroups":
        scope = f"/{parts[0]}/{parts[1]}/resourceGroups/{parts[3]}"
        return ResourceId(scope, parts[1], parts[3], "", (), ())
    try:
        at = len(lowered) - 1 - lowered[::-1].index("providers")
    except ValueError:
        return None
    rest = parts[at + 2 :]
    if at + 1 >= len(parts) or not rest:
        return None
    subscription = parts[1] if len(parts) > 1 and lowered[0] == "subscriptions" else None
    group = parts[3] if len(parts) > 3 and lowered[0] == "subscriptions" and lowered[2] == "resourcegroups" else None
    scope_parts = list(parts[:at])
    # The one spelling of ours: clients write resourcegroups, Azure answers resourceGroups.
    for i, word in enumerate(lowered[:at]):
        if word == "resourcegroups" and i == 2:
            scope_parts[i] = "resourceGroups"
    scope = "".join(f"/{p}" for p in scope_parts)
    return ResourceId(scope, subscription, group, parts[at + 1], tuple(rest[0::2]), tuple(rest[1::2]))

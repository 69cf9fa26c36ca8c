"""Management locks: CanNotDelete and ReadOnly at any scope, enforced on every ARM write below it."""

from __future__ import annotations

from azurelab.arm.errors import ArmError
from azurelab.arm.store import Resource, Store
from azurelab.arm.types import Field, ResourceType, Verb

__all__ = ["LOCKS", "Locks"]

LOCKS = ResourceType(
    name="Microsoft.Authorization/locks",
    put=Verb(new=201, existing=200),
    delete=Verb(existing=200, empty=True),
    located=False,
    stateful=False,
    any_scope=True,
    in_resources_list=False,
    fields=(Field(path="properties.level", values=("CanNotDelete", "ReadOnly", "NotSpecified"), required=True),),
    body_error="InvalidRequestContent",
)
_AT = "/providers/microsoft.authorization/locks/"


class Locks:
    """What the stored locks forbid. Without any lock both checks cost nothing."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def check_write(self, resource_id: str) -> None:
        """ArmError 409 ScopeLocked under a ReadOnly lock."""
        self._check(resource_id, "write", {"readonly"}, below=False)

    def check_delete(self, resource_id: str, *, cascade: bool = False) -> None:
        """ArmError 409 ScopeLocked; with `cascade` a lock on anything below counts, too."""
        self._check(resource_id, "delete", {"readonly", "cannotdelete"}, below=cascade)

    def _check(self, resource_id: str, verb: str, levels: set[str], *, below: bool) -> None:
        locks = self._store.of_type(LOCKS.name)
        if not locks:
            return
        key = resource_id.lower()
        if _AT in key:
            return  # locks themselves are taken away by whoever may
        hits = [r for r in locks if str(r.properties["level"]).lower() in levels and _covers(r, key, below)]
        if hits:
            scopes = ",".join(sorted({_scope(r) for r in hits}))
            raise ArmError(
                409,
                "ScopeLocked",
                f"The scope '{resource_id}' cannot perform {verb} operation because following scope(s) are locked: "
                f"'{scopes}'. Please remove the lock and try again.",
            )


def _scope(lock: Resource) -> str:
    return lock.id[: lock.key.index(_AT)]


def _covers(lock: Resource, key: str, below: bool) -> bool:
    scope = _scope(lock).lower()
    return key == scope or key.startswith(scope + "/") or (below and scope.startswith(key + "/"))

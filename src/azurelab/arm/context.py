"""What an effect sees of the world: the resource, the store, the lab, and the operation it works for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, not_found
from azurelab.arm.http import Principal
from azurelab.arm.ids import ResourceId, parse_id
from azurelab.arm.store import Resource, Store

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.arm.operations import Operation
    from azurelab.arm.types import ResourceType

__all__ = ["Context"]


class Context:
    """Given to every hook of a `Verb` and to `view`.

    In `prepare`, `resource` is the new private document (PUT, PATCH) or the stored one (DELETE, actions); afterwards
    it is always the stored one as it stands now, or None when it is gone. `before` is what stood there at the start
    (None for a new resource); it is not kept over a restart, so `run` and `finish` use `memo`.
    """

    def __init__(
        self,
        lab: Lab,
        rtype: ResourceType,
        rid: ResourceId,
        *,
        method: str,
        api_version: str,
        body: Any,
        query: Mapping[str, str],
        caller: Principal,
        headers: Mapping[str, str],
        base_url: str = "",
    ) -> None:
        self.lab = lab
        self.type = rtype
        self.id = rid
        self.method = method
        """PUT, PATCH, DELETE, GET, or the action's name."""
        self.api_version = api_version
        self.body = body
        self.query = query
        self.caller = caller
        self.headers = headers
        self.base_url = base_url
        self.before: Resource | None = None
        self.draft: Resource | None = None
        self.memo: dict[str, Any] = {}
        self.operation: Operation | None = None
        self._checkpoints = 0

    # -- the resource itself ------------------------------------------------------------------------------------

    @property
    def found(self) -> Resource | None:
        """The resource, or None when it is gone."""
        return self.draft if self.draft is not None else self.store.get(self.id.text)

    @property
    def resource(self) -> Resource:
        """The resource; its own 404 when it is gone."""
        found = self.found
        if found is None:
            raise not_found(self.id.named(), self.id.group)
        return found

    @property
    def is_new(self) -> bool:
        return self.before is None

    @contextmanager
    def edit(self, resource_id: str | None = None) -> Iterator[Resource]:
        """Change a stored resource (default: this one) in one transaction; ResourceNotFound when it is gone."""
        target = resource_id or self.id.text
        if self.draft is not None and (resource_id is None or resource_id.lower() == self.draft.key):
            yield self.draft
            return
        if self.store.get(target) is None:
            raise self.missing(target)
        with self.store.edit(target) as r:
            yield r

    # -- others -------------------------------------------------------------------------------------------------

    @property
    def store(self) -> Store:
        return self.lab.store

    def transaction(self) -> AbstractContextManager[None]:
        """Several changes as one; also the way to read consistently from a worker thread."""
        return self.store.transaction()

    def get(self, resource_id: str) -> Resource:
        """Another resource, read only; ResourceNotFound when there is none."""
        found = self.store.get(resource_id)
        if found is None:
            raise self.missing(resource_id)
        return found

    @staticmethod
    def missing(resource_id: str) -> ArmError:
        parsed = parse_id(resource_id)
        if parsed is None:
            return ArmError(400, "InvalidResourceReference", f"Resource id '{resource_id}' is not valid.")
        return not_found(parsed.named(), parsed.group)

    def create(self, resource_id: str, type_name: str, doc: dict[str, Any], **hidden: Any) -> Resource:
        """Store a resource that an effect makes (a VM's implicit OS disk): no hooks run, an event is logged.

        `id`, `name` and `type` are filled in. Through hooks instead: `lab.arm.perform("PUT", id, body, version)`.
        """
        parsed = parse_id(resource_id)
        assert parsed is not None, resource_id
        made = Resource(
            resource_id,
            type_name,
            {**doc, "id": resource_id, "name": parsed.name, "type": type_name},
            dict(hidden),
            self.api_version,
        )
        with self.transaction():
            self.store.put(made)
            self.store.log("created", resource_id, type=type_name, by=self.id.text)
        return made

    def remove(self, resource_id: str) -> None:
        """Take a resource away without its type's hooks; absent already is fine."""
        with self.transaction():
            if self.store.delete(resource_id) is not None:
                self.store.log("deleted", resource_id, by=self.id.text)

    def log(self, kind: str, resource_id: str | None = None, **facts: Any) -> None:
        """Append to the event log: power, attached, detached, evicted …"""
        self.store.log(kind, resource_id or self.id.text, **facts)

    # -- the world ----------------------------------------------------------------------------------------------

    def now(self) -> float:
        return self.lab.clock.now()

    def timestamp(self) -> str:
        """Azure's form of this moment: 2026-11-21T14:03:05.1234567+00:00."""
        return self.lab.clock.timestamp()

    def checkpoint(self, name: str = "") -> None:
        """Call between the parts of an effect: a `half_done` fault may end the effect here with its error."""
        self._checkpoints += 1
        fault = self.operation.fault if self.operation is not None else None
        if fault is not None and fault.get("kind") == "half_done" and not fault.get("spent"):
            wanted = fault.get("at", 1)
            if wanted in (name, self._checkpoints):
                fault["spent"] = True
                raise ArmError.of(int(fault.get("status", 500)), fault["error"])

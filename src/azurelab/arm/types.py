"""What a resource type is: a value. One file per type makes one `ResourceType` and the effects that it names.

`arm/__init__.py` shows how; nothing here does anything.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azurelab.arm.context import Context
    from azurelab.arm.http import Call, Response
    from azurelab.arm.store import Resource

__all__ = [
    "COMPUTE",
    "DEPLOYMENT",
    "DISKS",
    "GALLERY",
    "NETWORK",
    "PLAIN",
    "Effect",
    "Etags",
    "Field",
    "Flavor",
    "Lro",
    "ResourceType",
    "Route",
    "Verb",
    "Versions",
]

Effect = Callable[["Context"], None]


class Lro(Enum):
    """Which headers announce a long-running operation. The value: (Azure-AsyncOperation, Location)."""

    NONE = (False, False)
    AAO = (True, False)
    LOC = (False, True)
    BOTH = (True, True)


class Etags(Enum):
    """NONE: no etag, conditions are ignored. WEAK: network's `W/"<guid>"` in header and document. COUNTER: the VM's
    `"3"` in the header, and in the document from api-version 2024-03-01. Both enforce If-Match and If-None-Match on
    PUT and PATCH. An etag changes when the stored document does; `azurelab.arm.etag_of` makes it for child entries."""

    NONE = "none"
    WEAK = "weak"
    COUNTER = "counter"


@dataclass(frozen=True, kw_only=True)
class Flavor:
    """The dialect of one resource provider: where its operations are polled, what its answers look like.

    `operations` / `results` = last path words of the AAO and LOC polling URLs; `monitor`: LOC is the AAO URL plus
    `monitor=true`. `poll_bucket` is what a poll costs. `bare_polls`: the AAO body holds only status and error.
    """

    provider: str
    operations: str
    results: str
    base: str = "/subscriptions/{subscription}/providers/{provider}/locations/{location}"
    monitor: bool = False
    poll_bucket: str = ""
    bare_polls: bool = False
    output: bool = False
    """The AAO body carries the finished resource in `properties.output`."""


COMPUTE = Flavor(
    provider="Microsoft.Compute",
    operations="operations",
    results="operations",
    monitor=True,
    poll_bucket="GetOperation",
)
DISKS = Flavor(
    provider="Microsoft.Compute",
    operations="DiskOperations",
    results="DiskOperations",
    monitor=True,
    poll_bucket="GetOperation",
    output=True,
)
GALLERY = Flavor(
    provider="Microsoft.Compute",
    operations="capsOperations",
    results="capsOperations",
    monitor=True,
    poll_bucket="GetOperationStatus",
)
NETWORK = Flavor(provider="Microsoft.Network", operations="operations", results="operationResults", bare_polls=True)
PLAIN = Flavor(
    provider="Microsoft.Resources",
    operations="operations",
    results="operationresults",
    base="/subscriptions/{subscription}",
)
DEPLOYMENT = Flavor(
    provider="Microsoft.Resources",
    operations="operationStatuses",
    results="operationStatuses",
    base="/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Resources/deployments/{name}",
    bare_polls=True,
)


@dataclass(frozen=True, kw_only=True)
class Verb:
    """One thing that can be done to a resource of the type.

    Order of a mutating call, the first three under the store's lock and in one transaction with the acceptance:

    1. `prepare(ctx)`: validates (raises ArmError = the answer, nothing has changed), completes `ctx.resource`,
       changes other resources (`ctx.edit`). What `run` must know later goes into `ctx.memo` (JSON, kept on disk).
    2. the resource is stored with `provisioningState` = `state` (PUT: Creating/Updating), the operation recorded.
    3. `answer(ctx)` makes the body of the immediate answer (default: the resource as `view` shows it).
    4. `run(ctx)`: without lock, in a worker thread (`quick=True`: at once, in the same transaction; it must not block).
       May block (start a guest). Must be repeatable: after a kill -9 it is called again. Raises ArmError = the
       operation fails with that error and `failed(ctx, error)` is called under the lock.
    5. `finish(ctx)`: under the lock, when the operation's time is over; the resource becomes Succeeded.

    `run` and `finish` read `ctx.resource` afresh (it is the stored one) and change it with `ctx.edit()`.
    A verb with `lro=NONE` runs all five before it answers. `seconds` is the duration in the `azure` time profile.
    `result(ctx)`: the body of the finished operation (`properties.output` and the LOC answer), kept with it; default
    for PUT/PATCH: the resource; for others: none. `done_status`: LOC answer when done (default: 204 DELETE, else 200).
    """

    new: int = 201
    existing: int = 200
    lro: Lro = Lro.NONE
    seconds: float = 0.0
    bucket: str = ""
    prepare: Effect | None = None
    run: Effect | None = None
    finish: Effect | None = None
    failed: Callable[[Context, dict[str, Any]], None] | None = None
    answer: Callable[[Context], Any] | None = None
    result: Callable[[Context], Any] | None = None
    quick: bool = False
    state: str | None = None
    """provisioningState while it runs; None: Creating/Updating (PUT, PATCH), Deleting (DELETE), else unchanged."""
    done_status: int | None = None
    locks: Callable[[Context], Iterable[str]] | None = None
    """Ids of other resources that wait for this operation; its own resource always does."""
    idle: Callable[[Context], bool] | None = None
    """After `prepare`: nothing is to be done, so the answer announces no operation and nothing runs."""
    empty: bool = False
    """The immediate answer has no body (deletes, power actions)."""
    method: str = "POST"
    """For `actions` only: POST, or GET for a view such as instanceView."""
    action: str | None = None
    """For `actions` only: the RBAC action's last words; default `<name>/action` (POST) or `<name>/read` (GET)."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field that we act on: Azure refuses a wrong kind or value of it, so we do too.

    `path` is dotted from the document's root, `[]` steps into every element: `properties.ipConfigurations[].name`.
    """

    path: str
    kind: type | tuple[type, ...] = str
    values: tuple[str, ...] = ()
    required: bool = False


@dataclass(frozen=True)
class Versions:
    """The window of api-versions that is answered, as dates."""

    first: str = "2015-06-15"
    last: str = "2026-04-01"

    def hold(self, version: str) -> bool:
        return self.first <= version[:10] <= self.last


@dataclass(frozen=True, kw_only=True)
class ResourceType:
    name: str
    """`Microsoft.Network/virtualNetworks/subnets`, in Azure's spelling."""
    flavor: Flavor = PLAIN
    put: Verb | None = None
    patch: Verb | None = None
    delete: Verb | None = None
    actions: Mapping[str, Verb] = field(default_factory=dict)
    """By their last path word, in Azure's spelling: start, deallocate, instanceView (method GET) …"""
    versions: Versions = Versions()
    etags: Etags = Etags.NONE
    located: bool = True
    """PUT needs `location`; it can never change."""
    stateful: bool = True
    """Has `properties.provisioningState`."""
    any_scope: bool = False
    """An extension resource: lives under any id (locks, role assignments)."""
    readonly: tuple[str, ...] = ()
    """Dotted paths that clients cannot set: dropped from bodies, carried over from the stored document."""
    fields: tuple[Field, ...] = ()
    spelling: Mapping[str, str] = field(default_factory=dict)
    """Member names in lower case → Azure's spelling: bodies may write them in any case (`FrontendPort`, `Id`)."""
    body_error: str = "InvalidParameter"
    """The code for a wrong field: compute InvalidParameter, network InvalidRequestFormat."""
    merge: Callable[[Resource | None, dict[str, Any]], dict[str, Any]] | None = None
    """(stored or None, body of the PUT) → document; default: the body replaces all but `readonly`, name, id, type."""
    merge_patch: Callable[[Resource, dict[str, Any]], dict[str, Any]] | None = None
    """Default: `tags` replaces the map, objects merge deeply, null removes, lists replace."""
    view: Callable[[Context, Resource], dict[str, Any]] | None = None
    """What GET and LIST show; default: the document. `ctx.query` holds `$expand` … Never changes anything."""
    read_bucket: str = ""
    list_bucket: str = ""
    missing: Callable[[Context], Exception] | None = None
    """Makes the 404 of this type; default ResourceNotFound."""
    delete_order: int = 50
    """When a resource group goes, lower numbers go first (VMs 10, extensions 5, NICs 30, IPs 60, networks 70)."""
    parent_etag: bool = False
    """Shown within its parent's document (subnets): parent and children change their etag together."""
    refs: Callable[[Resource], Iterable[str]] | None = None
    """Ids that a document refers to; `store.referring(id)` finds it by them, which makes back-references cheap."""
    delete_missing: int = 204
    """DELETE of what is not there."""
    listed: Callable[[Context, Resource], bool] | None = None
    """Whether LIST shows a resource: what the type's own `$filter` asks for."""
    list_scopes: frozenset[str] = frozenset({"group", "subscription"})
    in_resources_list: bool = True
    """Shown by GET /resources (top-level, tracked resources)."""


@dataclass(frozen=True, kw_only=True)
class Route:
    """An endpoint that is no resource. `path` has `{names}` for single segments and may end in `{rest...}`;
    it is matched without case. `handle(call, params)` runs in the event loop's thread and must not block."""

    method: str
    path: str
    handle: Callable[[Call, dict[str, str]], Response]
    auth: bool = True
    versioned: bool = True
    polls: bool = False
    """Its `{id}` is an operation."""
    action: str = ""
    """RBAC action; empty = derived: `<provider>/<path words>/read`."""
    bucket: str = ""

"""What a cloud is to us: small protocols, cut by what features need.

All verbs block and repeat safely under the same call. Verbs that change something take a `Call`; directly before every
mutating request (and before each retry of it) they ask `call.check()`, which raises when the operation was cancelled or
its lease was lost. Retries of transient errors live inside the cloud's client and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, Protocol

from holdfast.clouds.documents import Document
from holdfast.core.clock import Clock

__all__ = [
    "Agent",
    "AttachedDisk",
    "Call",
    "Changes",
    "Claim",
    "ClaimReason",
    "Cloud",
    "Facts",
    "Finding",
    "Headroom",
    "Inventory",
    "MarketData",
    "Observation",
    "Power",
    "PowerLevel",
    "Price",
    "Priority",
    "Probe",
    "ProbeResult",
    "Prober",
    "Severity",
    "priority_of",
]


class Priority(IntEnum):
    """Who goes first when a cloud's request budget is short; lower goes first. Reads without a call count as USER."""

    EVICTION = 0
    USER = 1
    REPAIR = 2
    SYNC = 3
    HOUSEKEEPING = 4


class Call(Protocol):
    """On whose behalf a request is made: one step of one operation. It may also carry `priority: Priority`."""

    @property
    def key(self) -> str: ...  # idempotency key: operation + step; also the client request id's seed
    @property
    def operation(self) -> str: ...
    @property
    def clock(self) -> Clock: ...
    def check(self) -> None: ...  # raises Cancelled, Draining or LeaseLost
    def progress(self, percent: float | None, message: str) -> None: ...


def priority_of(call: Call | None) -> Priority:
    """The call's priority; USER where it names none."""
    return Priority(getattr(call, "priority", Priority.USER))


class ClaimReason(StrEnum):
    SUCCESSOR_PROVEN = "successor proven"  # re-proven right before
    RECREATABLE = "recreatable"  # a machine object: parts kept, document recorded, losses shown in the plan
    OURS = "ours"  # made by this operation and never handed over: unwinding its own work


@dataclass(frozen=True)
class Claim:
    """The right to delete one recorded resource. Made by `machines/claims.py` only (a house test checks that)."""

    ref: str
    identity: str | None  # None only for a resource of ours whose creation never answered
    reason: ClaimReason
    operation: str


class Power(StrEnum):
    """What a machine's power is. STOPPED still holds (and is billed for) its hardware, DEALLOCATED does not."""

    RUNNING = "running"
    STOPPED = "stopped"
    DEALLOCATED = "deallocated"
    CHANGING = "changing"
    UNKNOWN = "unknown"


class PowerLevel(StrEnum):
    """What a machine's power shall be: a level, not an edge."""

    RUNNING = "running"
    STOPPED = "stopped"
    DEALLOCATED = "deallocated"


class Agent(StrEnum):
    READY = "ready"
    NOT_READY = "not ready"
    ABSENT = "absent"


@dataclass(frozen=True)
class AttachedDisk:
    """A disk of a machine. lun None = the OS disk. document is None for an unmanaged disk (a blob, `vhd_uri`)."""

    lun: int | None
    document: Document | None
    vhd_uri: str | None = None


@dataclass(frozen=True)
class Facts:
    """A machine and all it owns, as read in one go. Documents are lossless."""

    cloud: str
    machine: Document
    power: Power
    agent: Agent
    generalized: bool
    disks: tuple[AttachedDisk, ...]  # OS disk first, then by lun
    nics: tuple[Document, ...]  # primary first
    public_ips: tuple[Document, ...]
    extensions: tuple[Document, ...] = ()
    locks: tuple[Document, ...] = ()  # on the machine, its parts or their groups
    role_assignments: tuple[Document, ...] = ()  # of the system-assigned identity, where it may be read
    size: dict[str, Any] | None = None  # the SKU document of the machine's own size


@dataclass(frozen=True)
class Observation:
    """One machine as a list call shows it."""

    ref: str
    name: str
    resource_group: str
    location: str
    zones: tuple[str, ...]
    size: str
    priority: str  # Regular | Spot
    power: Power
    os: str  # Linux | Windows
    disks: int  # OS disk included
    tags: Mapping[str, str] = field(default_factory=dict)
    identity: str | None = None
    private_ip: str | None = None
    public_ip: str | None = None


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    REFUSAL = "refusal"


@dataclass(frozen=True)
class Finding:
    """Something a person should know: stable code, severity, text, what to do, and what it is about."""

    code: str
    severity: Severity
    text: str
    remedy: str
    about: str | None = None


@dataclass(frozen=True)
class Headroom:
    """Quota left. name: the cloud's (lowPriorityCores, cores, standardDSv5Family …)."""

    name: str
    used: int
    limit: int


@dataclass(frozen=True)
class Price:
    """US dollars per hour. spot False = on-demand."""

    size: str
    os: str
    spot: bool
    usd_per_hour: float
    read_at: datetime


@dataclass(frozen=True)
class Probe:
    """`tcp://[host]:22`, `http://[host]:8080/health`, `https://…`. Without a host the machine's own address is used."""

    url: str


@dataclass(frozen=True)
class ProbeResult:
    passed: bool
    detail: str


class Inventory(Protocol):
    def observe(self, resource_group: str | None = None) -> Iterator[Observation]:
        """All machines, by list calls only. An absent resource group is NotFound where the cloud knows groups."""

    def describe(self, machine: str) -> Facts:
        """The machine and all it owns. Raises NotFound."""

    def read(self, ref: str, api_version: str | None = None) -> Document | None:
        """One resource, None where it is absent. With `api_version` it is read at that version."""

    def power_of(self, machine: str) -> tuple[Power, Agent]:
        """Power and agent now (instance view). Raises NotFound."""

    def find(self, tags: Mapping[str, str]) -> Iterator[Document]:
        """Every resource that carries all these tags."""

    def sizes(self, location: str) -> Sequence[dict[str, Any]]:
        """The cloud's own size documents of a location, cached for minutes."""

    def locks_on(self, refs: Sequence[str]) -> Sequence[Document]:
        """Locks that reach any of these: on it, on what it is part of, its group, the account."""

    def missing_permissions(self, scope: str, actions: Sequence[str]) -> Sequence[str]:
        """Those of `actions` that the credential may not do at `scope`."""

    def check(self) -> Sequence[Finding]:
        """Credential, permissions, providers, quotas, clock offset."""

    def ref_of(self, resource_group: str, name: str) -> str:
        """The id of a machine by its user-visible names. No I/O."""


class Changes(Protocol):
    """Every write. Creation is tagged by the document itself; nothing here decides."""

    def ensure(self, call: Call, document: Document) -> Document:
        """Make the resource exist as composed, and return it as read. If it exists and carries the operation tag of the
        document, it is ours from an earlier try and is returned once it is finished; otherwise raises NameTaken.
        Never overwrites. Raises NoCapacity, QuotaExceeded (both let the caller try the next market)."""

    def write(self, call: Call, document: Document) -> Document:
        """PUT the whole document back at its api-version (If-Match with its etag where the type has that), return it as
        read. For changing what exists and was read. Raises ChangedMeanwhile."""

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Document:
        """PATCH at the type's api-version and read back."""

    def mark(self, call: Call, ref: str, tags: Mapping[str, str]) -> None:
        """Merge tags."""

    def unmark(self, call: Call, ref: str, names: Sequence[str]) -> None:
        """Remove these tags; an absent resource or tag is success."""

    def power(self, call: Call, machine: str, level: PowerLevel) -> None:
        """Bring the machine to the level and return when it is there. Raises NoCapacity when it cannot be allocated."""

    def convert_disks(self, call: Call, machine: str) -> None:
        """Make every disk of the machine that is a blob a managed disk, and return when it is done. The machine is off.
        None left is success. It cannot be taken back; the blobs stay."""

    def delete(self, call: Call, claim: Claim) -> None:
        """Delete what the claim names and return when it is gone. Absent already is success; a resource of another
        identity under that name is left alone (that is success too: what was claimed is gone)."""


class Prober(Protocol):
    def probe(self, machine: str, probe: Probe) -> ProbeResult:
        """One look, no waiting beyond a few seconds. Not reachable is a result, not an error."""


class MarketData(Protocol):
    def prices(self, location: str) -> Sequence[Price]:
        """Known prices, empty where no price source is configured. Cached for an hour."""

    def headroom(self, location: str) -> Sequence[Headroom]: ...


class Cloud(Inventory, Changes, Prober, MarketData, Protocol):
    """A cloud that can serve imports and nodes."""

    @property
    def name(self) -> str: ...

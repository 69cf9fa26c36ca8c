"""A working `Cloud` in memory: Azure-shaped documents, identities, power, attachments, capacity, faults, an event log.

It keeps those of Azure's rules that matter to takeovers: a disk or card in use cannot be taken or deleted, a machine is
deleted with the parts that are marked so, a card keeps its private address, a re-created resource has a new identity,
tags merge. It does everything at once: there is nothing to wait for. `violations` lists every moment at which two
machines ran on the same data; a test that cares asserts that it is empty.
"""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from fakes import blobs
from fakes.faults import Fault, Faults
from fakes.shapes import (
    SIZES,
    cards_of,
    disk_body,
    give_principal,
    group_of,
    ip_configuration,
    machine_body,
    merge,
    parts_of,
    size_document,
)
from holdfast.clouds.documents import Document, same_ref
from holdfast.clouds.errors import (
    ChangedMeanwhile,
    CloudRefused,
    NameTaken,
    NoCapacity,
    ResourceMissing,
)
from holdfast.clouds.protocols import (
    Agent,
    AttachedDisk,
    Call,
    Claim,
    Facts,
    Finding,
    Headroom,
    Observation,
    Power,
    PowerLevel,
    Price,
    Probe,
    ProbeResult,
)
from holdfast.core.clock import Clock, ManualClock, format_utc
from holdfast.core.errors import NotFound
from holdfast.core.tags import OPERATION, ROLE

SUBSCRIPTION = "11111111-2222-3333-4444-555555555555"
MACHINES = "Microsoft.Compute/virtualMachines"
DISKS = "Microsoft.Compute/disks"
SNAPSHOTS = "Microsoft.Compute/snapshots"
NICS = "Microsoft.Network/networkInterfaces"
PUBLIC_IPS = "Microsoft.Network/publicIPAddresses"
EXTENSIONS = "Microsoft.Compute/virtualMachines/extensions"

_IDENTITY = {
    MACHINES: "vmId",
    DISKS: "uniqueId",
    SNAPSHOTS: "uniqueId",
    NICS: "resourceGuid",
    PUBLIC_IPS: "resourceGuid",
}
_VERSION = "2024-07-01"


@dataclass
class _Stored:
    body: dict[str, Any]
    type: str
    version: int = 1


@dataclass
class _Disk:
    """What is on a disk or snapshot. origin: the disk that the data began on; equal origins hold the same data."""

    origin: str
    content: str


@dataclass
class FakeCloud:
    """capacity_out: (size, priority), lower case, that cannot be allocated, e.g. ("standard_d2s_v5", "spot")."""

    name: str = "lab"
    clock: Clock = field(default_factory=ManualClock)
    location: str = "westeurope"
    capacity_out: set[tuple[str, str]] = field(default_factory=set)
    missing_actions: set[str] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    price_list: list[Price] = field(default_factory=list)
    quota: list[Headroom] = field(default_factory=list)
    size_list: list[dict[str, Any]] = field(default_factory=list)
    locks: list[Document] = field(default_factory=list)
    role_assignments: list[Document] = field(default_factory=list)
    agents: dict[str, Agent] = field(default_factory=dict)  # by lower-case machine id; READY while it runs by default
    failing_probes: set[str] = field(default_factory=set)  # probe URLs
    generalized: set[str] = field(default_factory=set)  # lower-case machine ids
    faults: list[Fault] = field(default_factory=list)
    events: list[tuple[str, str]] = field(default_factory=list)  # (verb, ref) of every change that took effect
    violations: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._resources: dict[str, _Stored] = {}
        self._power: dict[str, Power] = {}
        self._data: dict[str, _Disk] = {}  # by lower-case id of a disk or snapshot, or by a blob's URL
        self._numbers = itertools.count(4)  # the first addresses of a subnet are Azure's own
        self._lock = threading.RLock()
        if not self.size_list:
            self.size_list = [size_document(name, vcpus, gib, self.location) for name, vcpus, gib in SIZES]

    # ------------------------------------------------------------------------------------------- what a test may do

    def add_machine(
        self,
        name: str = "db-1",
        group: str = "rg-1",
        *,
        size: str = "Standard_D2s_v5",
        data_disks: int = 1,
        power: Power = Power.RUNNING,
        priority: str = "Regular",
        public_ip: bool = True,
        tags: Mapping[str, str] | None = None,
        delete_option: str = "Detach",
        zones: Sequence[str] = (),
    ) -> str:
        """A machine with an OS disk, data disks, a card and an address, as an image makes it. Returns its id."""
        with self._lock:
            refs = [self.ref(group, DISKS, f"{name}-os")]
            refs += [self.ref(group, DISKS, f"{name}-data-{lun}") for lun in range(data_disks)]
            for index, ref in enumerate(refs):
                self._put(ref, DISKS, disk_body(self.location, index == 0, zones))
            card = self._add_network(name, group, public_ip)
            ref = self.ref(group, MACHINES, name)
            body = machine_body(self.location, name, size, priority, refs, card, delete_option, tags or {})
            if zones:
                body["zones"] = list(zones)
            self._put(ref, MACHINES, body)
            self._attach(ref, body)
            self._power[ref.lower()] = power
            return ref

    def make_unmanaged(self, machine: str) -> None:
        """The machine's disks become blobs in a storage account, as machines had before 2017."""
        with self._lock:
            for ref, uri in blobs.as_blobs(self._stored(machine).body):
                self._data[uri] = self._data.pop(ref.lower())
                self._resources.pop(ref.lower())

    def _add_network(self, name: str, group: str, public_ip: bool) -> str:
        configuration = ip_configuration(self.ref(group, "Microsoft.Network/virtualNetworks", "vnet"))
        if public_ip:
            address = self.ref(group, PUBLIC_IPS, f"{name}-ip")
            properties = {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"}
            body = {"location": self.location, "sku": {"name": "Standard"}, "properties": properties}
            self._put(address, PUBLIC_IPS, body)
            configuration["properties"]["publicIPAddress"] = {"id": address}
        card = self.ref(group, NICS, f"{name}-nic")
        self._put(card, NICS, {"location": self.location, "properties": {"ipConfigurations": [configuration]}})
        return card

    def ref(self, group: str, type_name: str, name: str) -> str:
        return f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{group}/providers/{type_name}/{name}"

    def fail(self, verb: str, error: Exception, *, about: str = "", times: int = 1, after: bool = False) -> None:
        """Let coming calls of a verb (`ensure`, `power`, `delete`, `read` …) fail."""
        self.faults.append(Fault(verb, error, about, times, after))

    def remove(self, ref: str) -> None:
        """Somebody deletes a resource outside Holdfast, against no rule."""
        with self._lock:
            self._forget(ref)

    def change(self, ref: str, path: str, value: Any) -> None:
        """Somebody changes a resource outside Holdfast."""
        with self._lock:
            stored = self._stored(ref)
            stored.body = self._document(ref).with_value(path, value).body
            stored.version += 1

    def set_power(self, machine: str, power: Power) -> None:
        """The cloud or a person changes a machine's power: an eviction is DEALLOCATED."""
        with self._lock:
            self._power[machine.lower()] = power
            self._look_for_twins(machine)

    def write_data(self, disk: str, text: str) -> None:
        """What a guest writes: appended to the disk's content."""
        with self._lock:
            self._data[disk.lower()].content += text

    def content_of(self, disk: str) -> str:
        with self._lock:
            return self._data[disk.lower()].content

    def exists(self, ref: str) -> bool:
        with self._lock:
            return ref.lower() in self._resources

    def refs(self, type_name: str | None = None) -> list[str]:
        """Ids of all resources, of a type if given, sorted."""
        with self._lock:
            return sorted(
                str(stored.body["id"])
                for stored in self._resources.values()
                if type_name is None or stored.type.lower() == type_name.lower()
            )

    def state_of(self, machine: str) -> dict[str, Any]:
        """All that "exactly as before" means for a machine: documents without etags, power, disk contents."""
        facts = self.describe(machine)
        disks = [d.document for d in facts.disks if d.document is not None]
        documents = [facts.machine, *disks, *facts.nics, *facts.public_ips]
        return {
            "documents": {d.ref.lower(): {k: v for k, v in d.body.items() if k != "etag"} for d in documents},
            "power": facts.power,
            "contents": {d.ref.lower(): self.content_of(d.ref) for d in disks},
        }

    # --------------------------------------------------------------------------------------------------- inventory

    def observe(self, resource_group: str | None = None) -> Iterator[Observation]:
        with self._lock, self._faults("observe", ""):
            return iter(
                [
                    self._observation(self._document(ref))
                    for ref in self.refs(MACHINES)
                    if resource_group is None or group_of(ref).lower() == resource_group.lower()
                ]
            )

    def _observation(self, vm: Document) -> Observation:
        cards = [self._document(c["id"]) for c in vm.get("properties.networkProfile.networkInterfaces", [])]
        configurations = [c["properties"] for card in cards for c in card.get("properties.ipConfigurations", [])]
        public = [c["publicIPAddress"]["id"] for c in configurations if c.get("publicIPAddress")]
        return Observation(
            ref=vm.ref,
            name=vm.name,
            resource_group=group_of(vm.ref),
            location=str(vm.body["location"]),
            zones=tuple(vm.body.get("zones") or ()),
            size=str(vm.get("properties.hardwareProfile.vmSize")),
            priority=str(vm.get("properties.priority", "Regular")),
            power=self._power[vm.ref.lower()],
            os=str(vm.get("properties.storageProfile.osDisk.osType", "Linux")),
            disks=1 + len(vm.get("properties.storageProfile.dataDisks", [])),
            tags=vm.tags,
            identity=vm.identity,
            private_ip=next((c["privateIPAddress"] for c in configurations), None),
            public_ip=next((self._document(ref).get("properties.ipAddress") for ref in public), None),
        )

    def describe(self, machine: str) -> Facts:
        with self._lock, self._faults("describe", machine):
            self._must_be_machine(machine)
            vm = self._document(machine)
            storage = vm.get("properties.storageProfile", {})
            data = sorted(storage.get("dataDisks") or [], key=lambda disk: int(disk["lun"]))
            disks = [(None, storage["osDisk"]), *((int(d["lun"]), d) for d in data)]
            cards = [self._document(c["id"]) for c in cards_of(vm)]
            addresses = [
                self._document(c["properties"]["publicIPAddress"]["id"])
                for card in cards
                for c in card.get("properties.ipConfigurations", [])
                if c["properties"].get("publicIPAddress")
            ]
            size, below = str(vm.get("properties.hardwareProfile.vmSize")), machine.lower() + "/"
            power, agent = self._power_of(machine)
            return Facts(
                cloud=self.name,
                machine=vm,
                power=power,
                agent=agent,
                generalized=machine.lower() in self.generalized,
                disks=tuple(self._attached(lun, disk) for lun, disk in disks),
                nics=tuple(cards),
                public_ips=tuple(addresses),
                extensions=tuple(self._document(ref) for ref in self.refs(EXTENSIONS) if ref.lower().startswith(below)),
                locks=tuple(self.locks),
                role_assignments=tuple(self.role_assignments),
                size=next((s for s in self.size_list if s["name"].lower() == size.lower()), None),
            )

    def _attached(self, lun: int | None, disk: Mapping[str, Any]) -> AttachedDisk:
        managed = disk.get("managedDisk")
        if not managed:
            return AttachedDisk(lun, None, str((disk.get("vhd") or {}).get("uri", "")))
        return AttachedDisk(lun, self._document(managed["id"]))

    def read(self, ref: str, api_version: str | None = None) -> Document | None:
        with self._lock, self._faults("read", ref):
            if ref.lower() not in self._resources:
                return None
            found = self._document(ref)
            return replace(found, api_version=api_version) if api_version else found

    def power_of(self, machine: str) -> tuple[Power, Agent]:
        with self._lock, self._faults("power_of", machine):
            return self._power_of(machine)

    def _power_of(self, machine: str) -> tuple[Power, Agent]:
        self._must_be_machine(machine)
        power = self._power[machine.lower()]
        ready = self.agents.get(machine.lower(), Agent.READY)
        return power, ready if power is Power.RUNNING else Agent.ABSENT

    def find(self, tags: Mapping[str, str]) -> Iterator[Document]:
        with self._lock, self._faults("find", ""):
            found = [self._document(ref) for ref in self.refs()]
            return iter([d for d in found if all(d.tags.get(name) == value for name, value in tags.items())])

    def sizes(self, location: str) -> Sequence[dict[str, Any]]:
        return tuple(deepcopy(self.size_list)) if same_ref(location, self.location) else ()

    def locks_on(self, refs: Sequence[str]) -> Sequence[Document]:
        return tuple(self.locks)

    def missing_permissions(self, scope: str, actions: Sequence[str]) -> Sequence[str]:
        return tuple(action for action in actions if action in self.missing_actions)

    def check(self) -> Sequence[Finding]:
        return tuple(self.findings)

    def ref_of(self, resource_group: str, name: str) -> str:
        return self.ref(resource_group, MACHINES, name)

    # ----------------------------------------------------------------------------------------------------- changes

    def ensure(self, call: Call, document: Document) -> Document:
        call.check()
        with self._lock, self._faults("ensure", document.ref):
            if document.ref.lower() in self._resources:
                found = self._document(document.ref)
                ours = all(found.tags.get(name) == document.tags.get(name) for name in (OPERATION, ROLE))
                if OPERATION not in document.tags or not ours:
                    raise NameTaken(cloud_code="Exists", message="it exists and is not ours", ref=document.ref)
                return found
            body = deepcopy(document.body)
            if document.type == MACHINES:
                self._allocate(body)
                self._require_free_parts(document.ref, body)
            self._put(document.ref, document.type, body)
            if document.type == MACHINES:
                self._attach(document.ref, body)
                self._power[document.ref.lower()] = Power.RUNNING
                self._look_for_twins(document.ref)
            self.events.append(("ensure", document.ref))
            return self._document(document.ref)

    def write(self, call: Call, document: Document) -> Document:
        call.check()
        with self._lock, self._faults("write", document.ref):
            stored = self._stored(document.ref)
            if document.type == MACHINES and document.etag not in (None, str(stored.version)):
                raise ChangedMeanwhile(cloud_code="PreconditionFailed", message="etag", ref=document.ref)
            kept = {key: stored.body[key] for key in ("id", "name", "type")}
            identity = _IDENTITY.get(stored.type)
            properties = deepcopy(document.body.get("properties", {}))
            if identity:
                properties[identity] = stored.body["properties"][identity]
            stored.body = {**deepcopy(document.body), **kept, "properties": properties}
            stored.version += 1
            self.events.append(("write", document.ref))
            return self._document(document.ref)

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Document:
        call.check()
        with self._lock, self._faults("patch", ref):
            stored = self._stored(ref)
            merge(stored.body, body)
            stored.version += 1
            self.events.append(("patch", ref))
            return self._document(ref)

    def mark(self, call: Call, ref: str, tags: Mapping[str, str]) -> None:
        call.check()
        with self._lock, self._faults("mark", ref):
            stored = self._stored(ref)
            stored.body["tags"] = {**(stored.body.get("tags") or {}), **tags}
            stored.version += 1
            self.events.append(("mark", ref))

    def unmark(self, call: Call, ref: str, names: Sequence[str]) -> None:
        call.check()
        with self._lock, self._faults("unmark", ref):
            stored = self._resources.get(ref.lower())
            if stored is None:
                return
            unwanted = {name.lower() for name in names}
            tags = {k: v for k, v in (stored.body.get("tags") or {}).items() if k.lower() not in unwanted}
            if tags != (stored.body.get("tags") or {}):
                stored.body["tags"] = tags
                stored.version += 1
                self.events.append(("unmark", ref))

    def power(self, call: Call, machine: str, level: PowerLevel) -> None:
        call.check()
        with self._lock, self._faults("power", machine):
            self._must_be_machine(machine)
            now = self._power[machine.lower()]
            if now is Power(level.value):
                return
            if now is Power.DEALLOCATED:
                self._allocate(self._stored(machine).body)
            self._power[machine.lower()] = Power(level.value)
            self.events.append((f"power {level}", machine))
            self._look_for_twins(machine)

    def convert_disks(self, call: Call, machine: str) -> None:
        call.check()
        with self._lock, self._faults("convert_disks", machine):
            body = self._stored(machine).body
            if self._power[machine.lower()] is not Power.DEALLOCATED:
                raise CloudRefused(cloud_code="OperationNotAllowed", message="it must be deallocated", ref=machine)
            for ref, uri, is_os in blobs.as_disks(body, self.ref(group_of(machine), DISKS, "")):
                self._put(ref, DISKS, disk_body(self.location, is_os, ()))
                self._data[ref.lower()] = self._data[uri]
            self._attach(machine, body)
            self.events.append(("convert_disks", machine))

    def delete(self, call: Call, claim: Claim) -> None:
        call.check()
        with self._lock, self._faults("delete", claim.ref):
            stored = self._resources.get(claim.ref.lower())
            if stored is None:
                return
            found = self._document(claim.ref)
            if claim.identity is not None:
                if found.identity is None or found.identity != claim.identity.lower():
                    return
            elif found.tags.get(OPERATION) != claim.operation:
                return
            self._delete(found)

    def _delete(self, found: Document) -> None:
        user = self._user_of(found)
        if user is not None:
            raise CloudRefused(cloud_code="InUse", message=f"it is used by {user}", ref=found.ref)
        parts = parts_of(found.body) if found.type == MACHINES else []
        self._forget(found.ref)
        self.events.append(("delete", found.ref))
        for ref, option in parts:
            if option == "Delete" and ref.lower() in self._resources:
                self._delete(self._document(ref))

    # ----------------------------------------------------------------------------------------- probes and the market

    def probe(self, machine: str, probe: Probe) -> ProbeResult:
        with self._lock, self._faults("probe", machine):
            power, _ = self._power_of(machine)
            passed = power is Power.RUNNING and probe.url not in self.failing_probes
            return ProbeResult(passed, "answers" if passed else "does not answer")

    def prices(self, location: str) -> Sequence[Price]:
        return tuple(self.price_list) if same_ref(location, self.location) else ()

    def headroom(self, location: str) -> Sequence[Headroom]:
        return tuple(self.quota) if same_ref(location, self.location) else ()

    # -------------------------------------------------------------------------------------------------------- inside

    def _faults(self, verb: str, ref: str) -> Faults:
        return Faults(self.faults, verb, ref)

    def _put(self, ref: str, type_name: str, body: Mapping[str, Any]) -> None:
        key = ref.lower()
        full = {"id": ref, "name": ref.rsplit("/", 1)[-1], "type": type_name, **deepcopy(dict(body))}
        properties = full.setdefault("properties", {})
        properties["provisioningState"] = "Succeeded"
        if type_name in _IDENTITY:
            properties[_IDENTITY[type_name]] = str(uuid.uuid4())
        if type_name == MACHINES:
            properties["timeCreated"] = format_utc(self.clock.now())
            give_principal(full)
        elif type_name in (DISKS, SNAPSHOTS):
            self._fill(ref, full)
        elif type_name == NICS:
            for configuration in properties.get("ipConfigurations") or ():
                configuration["properties"].setdefault("privateIPAddress", f"10.0.0.{next(self._numbers)}")
        elif type_name == PUBLIC_IPS:
            properties["ipAddress"] = f"127.9.0.{next(self._numbers)}"  # loopback: a probe must reach nobody
        self._resources[key] = _Stored(full, type_name)

    def _fill(self, ref: str, body: dict[str, Any]) -> None:
        source = body["properties"].get("creationData", {}).get("sourceResourceId")
        if source is None:
            self._data[ref.lower()] = _Disk(origin=str(body["properties"]["uniqueId"]), content="")
            return
        if source.lower() not in self._data:
            raise ResourceMissing(cloud_code="InvalidResourceReference", message="no such source", ref=source)
        was = self._data[source.lower()]
        self._data[ref.lower()] = _Disk(was.origin, was.content)
        body["properties"].setdefault("diskSizeGB", self._stored(source).body["properties"].get("diskSizeGB", 32))

    def _allocate(self, body: Mapping[str, Any]) -> None:
        properties = body["properties"]
        size = str(properties["hardwareProfile"]["vmSize"])
        priority = str(properties.get("priority", "Regular"))
        if (size.lower(), priority.lower()) in self.capacity_out:
            raise NoCapacity(cloud_code="AllocationFailed", message=f"no {size} as {priority}", ref=body.get("id"))

    def _require_free_parts(self, machine: str, body: Mapping[str, Any]) -> None:
        for ref, _ in parts_of(body):
            if ref.lower() not in self._resources:
                raise CloudRefused(cloud_code="InvalidResourceReference", message="it does not exist", ref=ref)
            user = self._user_of(self._document(ref))
            if user is not None and not same_ref(user, machine):
                raise CloudRefused(cloud_code="InUse", message=f"it is used by {user}", ref=ref)

    def _attach(self, machine: str, body: Mapping[str, Any]) -> None:
        for ref, _ in parts_of(body):
            stored = self._stored(ref)
            if stored.type == DISKS:
                stored.body["managedBy"] = machine
            else:
                stored.body["properties"]["virtualMachine"] = {"id": machine}

    def _user_of(self, found: Document) -> str | None:
        if found.type == DISKS:
            return str(found.get("managedBy", "")) or None
        if found.type == NICS:
            return str(found.get("properties.virtualMachine.id", "")) or None
        if found.type == PUBLIC_IPS:
            for ref in self.refs(NICS):
                for one in self._document(ref).get("properties.ipConfigurations", []):
                    if same_ref((one["properties"].get("publicIPAddress") or {}).get("id"), found.ref):
                        return ref
        return None

    def _forget(self, ref: str) -> None:
        stored = self._resources.pop(ref.lower(), None)
        self._power.pop(ref.lower(), None)
        self._data.pop(ref.lower(), None)
        if stored is None or stored.type != MACHINES:
            return
        for part, _ in parts_of(stored.body):
            other = self._resources.get(part.lower())
            if other is not None:
                other.body.pop("managedBy", None)
                other.body["properties"].pop("virtualMachine", None)
        for key in [k for k in self._resources if k.startswith(ref.lower() + "/")]:
            del self._resources[key]  # extensions go with their machine

    def _look_for_twins(self, machine: str) -> None:
        """Note if this machine runs on data that another running machine has too."""
        if self._power.get(machine.lower()) is not Power.RUNNING:
            return
        mine = self._origins(machine)
        for ref in self.refs(MACHINES):
            if not same_ref(ref, machine) and self._power[ref.lower()] is Power.RUNNING and mine & self._origins(ref):
                self.violations.append(f"{machine} and {ref} run on the same data")

    def _origins(self, machine: str) -> set[str]:
        parts = [ref.lower() for ref, _ in parts_of(self._stored(machine).body)]
        return {self._data[ref].origin for ref in parts if ref in self._data}

    def _stored(self, ref: str) -> _Stored:
        stored = self._resources.get(ref.lower())
        if stored is None:
            raise ResourceMissing(cloud_code="ResourceNotFound", message="there is no such resource", ref=ref)
        return stored

    def _document(self, ref: str) -> Document:
        stored = self._stored(ref)
        body = deepcopy(stored.body)
        key = _IDENTITY.get(stored.type)
        identity = str(body["properties"][key]).lower() if key else None
        return Document(
            ref=str(body["id"]),
            type=stored.type,
            api_version=_VERSION,
            body=body,
            etag=str(stored.version),
            identity=identity,
            read_at=self.clock.now(),
        )

    def _must_be_machine(self, ref: str) -> None:
        stored = self._resources.get(ref.lower())
        if stored is None or stored.type != MACHINES:
            raise NotFound(kind="machine", name=ref)


__all__ = ["SUBSCRIPTION", "FakeCloud", "Fault"]

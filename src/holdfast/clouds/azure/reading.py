"""Reading: single resources, all machines in a few list calls, and one machine with everything it owns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from holdfast.clouds.azure import versions
from holdfast.clouds.azure.arm import Arm
from holdfast.clouds.azure.documents import document_of, identity_of, tag
from holdfast.clouds.azure.ids import VIRTUAL_MACHINE, parse_id, scopes_of
from holdfast.clouds.azure.keeping import Kept
from holdfast.clouds.azure.versions import version_for, version_of_type
from holdfast.clouds.azure.views import Nic, Vm, agent_of, is_generalized, power_of
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import CloudRefused, PermissionMissing, ResourceMissing
from holdfast.clouds.protocols import Agent, AttachedDisk, Facts, Observation, Power
from holdfast.core.clock import Clock
from holdfast.core.errors import NotFound

__all__ = ["Reader"]

# Every type that Holdfast creates or marks. Typed lists show a resource the moment its PUT was accepted; the
# subscription's own index (`/resources`) lags behind by minutes, and a sweep that trusts it would leave orphans.
_TAGGED_TYPES = (
    VIRTUAL_MACHINE,
    "Microsoft.Compute/disks",
    "Microsoft.Compute/snapshots",
    "Microsoft.Compute/images",
    "Microsoft.Network/networkInterfaces",
    "Microsoft.Network/publicIPAddresses",
)
_NICS = "Microsoft.Network/networkInterfaces"
_PUBLIC_IPS = "Microsoft.Network/publicIPAddresses"
_SIZES_KEPT = timedelta(minutes=10)  # restrictions change by the hour; the answer is megabytes


class Reader:
    def __init__(self, cloud: str, arm: Arm, clock: Clock) -> None:
        self._cloud = cloud
        self._arm = arm
        self._clock = clock
        self._sizes: Kept[tuple[dict[str, Any], ...]] = Kept(clock, _SIZES_KEPT)

    def read(self, ref: str, api_version: str | None = None) -> Document | None:
        """A machine is read with its userData, which Azure shows only on request and a rewrite would lose."""
        version = api_version or version_for(ref)
        expand = "&$expand=userData" if ref.count("/") == 8 and f"/{VIRTUAL_MACHINE}/".lower() in ref.lower() else ""
        answer = self._arm.find(f"{ref}?api-version={version}{expand}")
        if answer is None:
            return None
        return document_of(answer.body, version, self._clock.now(), answer.headers.get("etag"))

    def must_read(self, ref: str, api_version: str | None = None) -> Document:
        found = self.read(ref, api_version)
        if found is None:
            raise ResourceMissing(cloud_code="ResourceNotFound", message="it was there a moment ago", ref=ref)
        return found

    def instance_view(self, machine: str) -> dict[str, Any]:
        answer = self._arm.find(f"{machine}/instanceView?api-version={version_for(machine)}")
        if answer is None:
            raise _no_machine(machine)
        return dict(answer.body or {})

    def power_of(self, machine: str) -> tuple[Power, Agent]:
        view = self.instance_view(machine)
        return power_of(view), agent_of(view)

    def documents(self, type_name: str, resource_group: str | None = None) -> Iterator[Document]:
        """All resources of a type, in the subscription or in one group. Raises ResourceMissing for an absent group."""
        version = version_of_type(type_name)
        scope = self._arm.subscription_path
        if resource_group is not None:
            scope += f"/resourceGroups/{quote(resource_group, safe='()')}"
        for item in self._arm.pages(f"{scope}/providers/{type_name}?api-version={version}"):
            yield document_of(item, version, self._clock.now())

    def find(self, tags: Mapping[str, str]) -> Iterator[Document]:
        for type_name in _TAGGED_TYPES:
            for document in self.documents(type_name):
                if all(tag(document, name) == value for name, value in tags.items()):
                    yield document

    def observe(self, resource_group: str | None = None) -> Iterator[Observation]:
        """Four list calls, however many machines there are: models, states, cards, addresses.

        Raises NotFound for a resource group that does not exist.
        """
        try:
            machines = list(self.documents(VIRTUAL_MACHINE, resource_group))
        except ResourceMissing as exc:
            if resource_group is None:
                raise
            raise NotFound(kind="resource group", name=resource_group) from exc
        if not machines:
            return
        views = self._views()
        # A machine's cards may lie in another group than the machine: these lists are always the whole subscription's.
        nics = {nic.ref.lower(): nic for nic in self.documents(_NICS)}
        addresses = {ip.ref.lower(): ip for ip in self.documents(_PUBLIC_IPS)}
        for vm in machines:
            view = views.get(vm.ref.lower()) or vm.get("properties.instanceView")
            cards = [nics[ref.lower()] for ref in Vm.nic_refs(vm) if ref.lower() in nics]
            yield Observation(
                ref=vm.ref,
                name=vm.name,
                resource_group=parse_id(vm.ref).resource_group,
                location=str(vm.body.get("location", "")),
                zones=Vm.zones(vm),
                size=Vm.size(vm),
                priority=Vm.priority(vm),
                power=power_of(view),
                os=Vm.os(vm),
                disks=1 + len(Vm.data_disks(vm)),
                tags=vm.tags,
                identity=vm.identity,
                private_ip=next(filter(None, map(Nic.private_ip, cards)), None),
                public_ip=_public_ip(cards, addresses),
            )

    def _views(self) -> dict[str, dict[str, Any]]:
        """Instance views by machine id (lower case): `statusOnly` gives those of the whole subscription at once."""
        version = version_of_type(VIRTUAL_MACHINE)
        path = f"{self._arm.subscription_path}/providers/{VIRTUAL_MACHINE}?api-version={version}&statusOnly=true"
        return {
            str(item["id"]).lower(): dict((item.get("properties") or {}).get("instanceView") or {})
            for item in self._arm.pages(path)
        }

    def describe(self, machine: str) -> Facts:
        vm = self.read(machine)
        if vm is None or vm.type.lower() != VIRTUAL_MACHINE.lower():
            raise _no_machine(machine)
        view = self.instance_view(machine)
        nics = tuple(self.must_read(ref) for ref in Vm.nic_refs(vm))
        addresses = tuple(self.must_read(ref) for nic in nics for ref in Nic.public_ip_refs(nic))
        disks = (self._attached(None, Vm.os_disk(vm)), *(self._attached(d["lun"], d) for d in Vm.data_disks(vm)))
        parts = [d.document.ref for d in disks if d.document is not None]
        parts += [part.ref for part in (*nics, *addresses)]
        return Facts(
            cloud=self._cloud,
            machine=vm,
            power=power_of(view),
            agent=agent_of(view),
            generalized=is_generalized(view),
            disks=disks,
            nics=nics,
            public_ips=addresses,
            extensions=tuple(self._extensions(vm)),
            locks=tuple(self.locks_on((vm.ref, *parts))),
            role_assignments=tuple(self._role_assignments(Vm.system_identity(vm))),
            size=self._size(str(vm.body.get("location", "")), Vm.size(vm)),
        )

    def _attached(self, lun: int | None, disk: Mapping[str, Any]) -> AttachedDisk:
        managed = disk.get("managedDisk") or {}
        if managed.get("id"):
            return AttachedDisk(lun, self.must_read(str(managed["id"])))
        return AttachedDisk(lun, None, str((disk.get("vhd") or {}).get("uri") or ""))

    def _extensions(self, vm: Document) -> Iterator[Document]:
        path = f"{vm.ref}/extensions?api-version={version_of_type(VIRTUAL_MACHINE + '/extensions')}"
        for item in self._arm.pages(path):
            yield document_of(item, version_of_type(VIRTUAL_MACHINE + "/extensions"), self._clock.now())

    def locks_on(self, refs: Sequence[str]) -> Iterator[Document]:
        """Locks that reach any of these: on it, its parents, its group, the subscription."""
        scopes = {scope.lower() for ref in refs for scope in scopes_of(ref)}
        path = f"{self._arm.subscription_path}/providers/Microsoft.Authorization/locks?api-version={versions.LOCKS}"
        for item in self._arm.pages(path):
            scope = str(item["id"]).lower().rpartition("/providers/microsoft.authorization/locks/")[0]
            if scope in scopes:
                yield _plain(item, "Microsoft.Authorization/locks", versions.LOCKS, self._clock.now())

    def _role_assignments(self, principal: str | None) -> Iterator[Document]:
        """Of a system-assigned identity, below this subscription. None where Azure does not let us read them."""
        if not principal:
            return
        kind = "Microsoft.Authorization/roleAssignments"
        wanted = quote(f"principalId eq '{principal}'")
        query = f"api-version={versions.ROLE_ASSIGNMENTS}&$filter={wanted}"
        path = f"{self._arm.subscription_path}/providers/{kind}?{query}"
        try:
            found = list(self._arm.pages(path))
        except (PermissionMissing, ResourceMissing, CloudRefused):
            return  # listing roles needs a permission of its own, and the plan says what may be lost in any case
        for item in found:
            yield _plain(item, kind, versions.ROLE_ASSIGNMENTS, self._clock.now())

    def sizes(self, location: str) -> tuple[dict[str, Any], ...]:
        place = location.lower().replace(" ", "")
        return self._sizes.get(place, lambda: self._sizes_now(place))

    def _sizes_now(self, place: str) -> tuple[dict[str, Any], ...]:
        wanted = quote(f"location eq '{place}'")
        path = f"{self._arm.subscription_path}/providers/Microsoft.Compute/skus?api-version={versions.SKUS}"
        return tuple(
            item
            for item in self._arm.pages(f"{path}&$filter={wanted}")
            if str(item.get("resourceType", "")).lower() == "virtualmachines"
        )

    def _size(self, location: str, name: str) -> dict[str, Any] | None:
        return next((size for size in self.sizes(location) if str(size.get("name", "")).lower() == name.lower()), None)

    def address_of(self, machine: str) -> str | None:
        """Where the machine can be reached: its public address, else its private one."""
        vm = self.read(machine)
        if vm is None:
            raise _no_machine(machine)
        nics = [nic for nic in map(self.read, Vm.nic_refs(vm)) if nic is not None]
        refs = [ref for nic in nics for ref in Nic.public_ip_refs(nic)]
        public = [ip.get("properties.ipAddress") for ip in map(self.read, refs) if ip is not None]
        return next(filter(None, [*public, *map(Nic.private_ip, nics)]), None)


def _public_ip(cards: Sequence[Document], addresses: Mapping[str, Document]) -> str | None:
    refs = [ref.lower() for card in cards for ref in Nic.public_ip_refs(card)]
    return next((str(ip) for r in refs if r in addresses and (ip := addresses[r].get("properties.ipAddress"))), None)


def _plain(item: Mapping[str, Any], kind: str, version: str, read_at: datetime) -> Document:
    """A document whose id may lie at any scope, so that it is not taken apart."""
    body = dict(item)
    return Document(str(body["id"]), kind, version, body, None, identity_of(kind, body), read_at)


def _no_machine(machine: str) -> NotFound:
    return NotFound(kind="machine", name=machine, listed_by="holdfast vm list")

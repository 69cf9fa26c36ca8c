"""All documents of a succession, named and composed from the facts of a machine and a wish."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from holdfast.clouds.azure.succession.cards import CardWish, cards_from_wishes
from holdfast.clouds.azure.succession.disks import disk_from_snapshot, snapshot_of
from holdfast.clouds.azure.succession.machine import successor_machine
from holdfast.clouds.azure.succession.names import all_fitted, fitted
from holdfast.clouds.azure.succession.network import new_nic, new_public_ip, public_ip_refs
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Facts

__all__ = ["DiskSource", "Naming", "NetworkSource", "Succession", "SuccessionWish", "role_of_disk", "successor"]


class NetworkSource(StrEnum):
    """Where the successor's cards come from."""

    NEW = "new"
    KEEP = "keep"


class DiskSource(StrEnum):
    """Where the successor's disks come from."""

    SNAPSHOT = "snapshot"
    REATTACH = "reattach"


@dataclass(frozen=True)
class Naming:
    """machine: its name. seed: six hex digits that make the other new names unique. resource_group: where all goes."""

    machine: str
    seed: str
    resource_group: str


@dataclass(frozen=True)
class SuccessionWish:
    naming: Naming
    network: NetworkSource
    disks: DiskSource
    user_tags: dict[str, str] = field(default_factory=dict)
    cards: tuple[CardWish, ...] = ()  # empty: cards like the original's
    snapshot_stems: dict[int | None, str] = field(default_factory=dict)  # by lun, where not the disk's own name


@dataclass(frozen=True)
class Succession:
    """Documents by role (`os-disk`, `data-disk-0`, `nic-0`, `public-ip-0` …), each still without our tags.

    `machine` has no market yet (`at_market`). `early` and `final` are snapshots of the original's disks: taken while it
    runs, and after it stopped. Empty maps: nothing of that kind is made.
    """

    machine: Document
    early: dict[str, Document]
    final: dict[str, Document]
    disks: dict[str, Document]
    public_ips: dict[str, Document]
    nics: dict[str, Document]


def role_of_disk(lun: int | None) -> str:
    return "os-disk" if lun is None else f"data-disk-{lun}"


def successor(facts: Facts, wish: SuccessionWish) -> Succession:
    """Compose everything. Requires managed disks only (a refusal comes first)."""
    names, tags = wish.naming, wish.user_tags
    group = names.resource_group
    early: dict[str, Document] = {}
    final: dict[str, Document] = {}
    disks: dict[str, Document] = {}
    attach: dict[int | None, str] = {}
    taken = {disk.document.name.lower() for disk in facts.disks if disk.document is not None}
    stems = {
        disk.lun: wish.snapshot_stems.get(disk.lun, disk.document.name)
        for disk in facts.disks
        if disk.document is not None
    }
    early_names = all_fitted(stems, f"-hf-{names.seed}-early")
    final_names = all_fitted(stems, f"-hf-{names.seed}-final")
    for disk in facts.disks:
        if disk.document is None:
            raise ValueError("unmanaged disks have no succession")
        role = role_of_disk(disk.lun)
        early[role] = snapshot_of(disk.document, group, early_names[disk.lun], tags)
        final[role] = snapshot_of(disk.document, group, final_names[disk.lun], tags)
        if wish.disks is DiskSource.REATTACH:
            attach[disk.lun] = disk.document.ref
            continue
        new = disk_from_snapshot(disk.document, final[role].ref, group, _disk_name(names, disk.lun, taken), tags)
        disks[role], attach[disk.lun] = new, new.ref

    public_ips, nics = _network(facts, wish)
    kept = wish.network is NetworkSource.KEEP
    cards = [nic.ref for nic in (facts.nics if kept else nics.values())]
    return Succession(
        machine=successor_machine(facts.machine, group, names.machine, attach, cards, tags),
        early=early,
        final=final,
        disks=disks,
        public_ips=public_ips,
        nics=nics,
    )


def _network(facts: Facts, wish: SuccessionWish) -> tuple[dict[str, Document], dict[str, Document]]:
    """New addresses and cards by role; none when the network is kept."""
    names, tags = wish.naming, wish.user_tags
    if wish.network is NetworkSource.KEEP:
        return {}, {}
    if wish.cards:
        body = facts.machine.body
        return cards_from_wishes(
            wish.cards, facts.machine.ref, names.resource_group, names.machine, names.seed, body["location"],
            list(body.get("zones") or []), tags,
        )  # fmt: skip
    addresses: dict[str, Document] = {}
    renamed: dict[str, str] = {}
    known = {address.ref.lower(): address for address in facts.public_ips}
    for nic in facts.nics:
        for ref in public_ip_refs(nic):
            name = fitted(names.machine, f"-ip-{len(addresses)}-{names.seed}")
            address = new_public_ip(known[ref.lower()], names.resource_group, name, tags)
            addresses[f"public-ip-{len(addresses)}"] = address
            renamed[ref.lower()] = address.ref
    cards = {}
    for index, nic in enumerate(facts.nics):
        name = fitted(names.machine, f"-nic-{index}-{names.seed}")
        cards[f"nic-{index}"] = new_nic(nic, names.resource_group, name, renamed, tags)
    return addresses, cards


def _disk_name(names: Naming, lun: int | None, taken: set[str]) -> str:
    if lun is not None:
        return fitted(names.machine, f"-dataDisk-{lun}-{names.seed}")
    plain = fitted(names.machine, "-osDisk")
    return plain if plain.lower() not in taken else fitted(names.machine, f"-osDisk-{names.seed}")

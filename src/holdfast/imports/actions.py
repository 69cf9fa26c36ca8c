"""The plan in words: every resource, in order, with what happens to it, why, and what takes it back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from holdfast.clouds.azure.succession import Succession, blobs_of, expected_after_conversion
from holdfast.clouds.azure.succession.composing import role_of_disk
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Facts, Power
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource
from holdfast.imports.plan import Action, LaunchMarket, Verb

__all__ = ["actions_of", "originals", "wants_early"]


def wants_early(power: Power, disks: DiskSource) -> bool:
    """Early snapshots make the final ones small. A machine that is off needs none, nor do disks that only move."""
    return power is Power.RUNNING and disks is DiskSource.SNAPSHOT


def originals(facts: Facts) -> Iterator[tuple[str, Document]]:
    """(role, document) of the machine and all its parts, by role: original/machine, original/os-disk …"""
    yield "original/machine", facts.machine
    for disk in facts.disks:
        if disk.document is not None:
            yield f"original/{role_of_disk(disk.lun)}", disk.document
    for index, nic in enumerate(facts.nics):
        yield f"original/nic-{index}", nic
    for index, address in enumerate(facts.public_ips):
        yield f"original/public-ip-{index}", address


def actions_of(
    facts: Facts,
    succession: Succession,
    options: ImportOptions,
    markets: Sequence[LaunchMarket],
    extensions: Sequence[Document],
) -> tuple[Action, ...]:
    """In the order in which they happen."""
    return tuple(_actions(facts, succession, options, markets, extensions))


def _actions(
    facts: Facts,
    succession: Succession,
    options: ImportOptions,
    markets: Sequence[LaunchMarket],
    extensions: Sequence[Document],
) -> Iterator[Action]:
    machine, running = facts.machine, facts.power is Power.RUNNING
    for role, document in originals(facts):
        yield Action(Verb.MARK, document.ref, role, "three tags say whose it is", "the tags are removed")
    yield from _preparation(succession, options)
    if any(pools_of(nic) for nic in facts.nics):
        reason = f"new connections stop; {options.draining_timeout_s} s for the open ones"
        for nic in facts.nics:
            if pools_of(nic):
                yield Action(Verb.LEAVE_POOLS, nic.ref, "nic", reason, "it joins them again")
    if running:
        yield Action(Verb.STOP, machine.ref, "original/machine", "its disks must not change any more",
                     "it is started again")  # fmt: skip
    yield from _conversion(facts)
    final = (
        "a safety snapshot of the disks as they are at the stop" if _reattach(options) else "the state to go on from"
    )
    for role, document in succession.final.items():
        yield Action(Verb.CREATE, document.ref, f"final/{role}", final, "it is deleted", document)
    for role, document in succession.disks.items():
        yield Action(Verb.CREATE, document.ref, role, "the new machine's disk", "it is deleted", document)
    if options.object_goes:
        yield Action(
            Verb.DELETE_OBJECT,
            machine.ref,
            "original/machine",
            "Azure frees its network card and OS disk no other way; every part is set to outlive it and read back, and "
            "its document is recorded first",
            "it is created again under the same id from the same parts",
        )
    first = str(markets[0]) if markets else "no market"
    yield Action(Verb.LAUNCH, succession.machine.ref, "machine", f"first try {first}, {len(markets)} in all",
                 "it is deleted; its parts are detached first", succession.machine)  # fmt: skip
    yield Action(Verb.PROVE, succession.machine.ref, "machine", _proof(options), "any failure gives the original back")
    if any(pools_of(nic) for nic in facts.nics):
        yield Action(Verb.JOIN_POOLS, succession.machine.ref, "machine", "it is proven", "it leaves them again")
    for extension in extensions:
        yield Action(Verb.CREATE, extension.ref, f"extension/{extension.name}", "it was asked for",
                     "it goes with the machine", extension)  # fmt: skip
    if facts.power is not Power.RUNNING:
        yield Action(Verb.STOP, succession.machine.ref, "machine", "the original was off; it ran once, as its proof",
                     "start the node's machine")  # fmt: skip
    yield from _afterwards(facts, succession, options)


def _preparation(succession: Succession, options: ImportOptions) -> Iterator[Action]:
    if options.object_goes:
        yield Action(Verb.DETACH, "all parts", "original/machine", "no part may go with the machine object",
                     "the former delete options are set again")  # fmt: skip
    for made in (succession.public_ips, succession.nics):
        for role, document in made.items():
            yield Action(Verb.CREATE, document.ref, role, "the new machine's network", "it is deleted", document)
    for role, document in succession.early.items():
        yield Action(Verb.CREATE, document.ref, f"early/{role}", "while it runs, so that the final one is small",
                     "it is deleted", document)  # fmt: skip


def _conversion(facts: Facts) -> Iterator[Action]:
    expected = {disk.lun: disk.document for disk in expected_after_conversion(facts).disks}
    for disk in blobs_of(facts):
        document = expected[disk.lun]
        assert document is not None
        yield Action(Verb.CONVERT, document.ref, f"original/{role_of_disk(disk.lun)}",
                     f"Azure makes a managed disk of {disk.vhd_uri}, under a name of its own",
                     "nothing takes it back; the blob stays")  # fmt: skip


def _afterwards(facts: Facts, succession: Succession, options: ImportOptions) -> Iterator[Action]:
    hours = f"{options.retention_s / 3600:g} h"
    kept_network, kept_disks = options.network is NetworkSource.KEEP, _reattach(options)
    for role, document in originals(expected_after_conversion(facts)):
        part = role.removeprefix("original/")
        if part == "machine":
            if not options.object_goes:
                yield Action(Verb.RETAIN, document.ref, role, f"stopped, for undo, {hours}", "undo starts it again")
                yield Action(Verb.DELETE_LATER, document.ref, role, f"after {hours}", "extend, or undo before")
        elif (kept_disks and "disk" in part) or (kept_network and "disk" not in part):
            yield Action(Verb.KEEP, document.ref, role, "the node uses it", "undo gives it back")
        else:
            yield Action(Verb.RETAIN, document.ref, role, f"for undo, {hours}", "undo uses it again")
            yield Action(Verb.DELETE_LATER, document.ref, role, f"after {hours}", "extend, or undo before")
    for role, document in succession.final.items():
        yield Action(Verb.DELETE_LATER, document.ref, f"final/{role}", f"after {hours}", "extend")
    for role, document in succession.early.items():
        yield Action(Verb.DELETE_LATER, document.ref, f"early/{role}", f"after {hours}", "extend")


def _reattach(options: ImportOptions) -> bool:
    return options.disks is DiskSource.REATTACH


def _proof(options: ImportOptions) -> str:
    words = [f"running for {options.prove_for_s} s", "guest agent ready if it was"]
    words += [f"{probe} answers" for probe in options.probes]
    return f"{', '.join(words)}, within {options.prove_timeout_s} s"

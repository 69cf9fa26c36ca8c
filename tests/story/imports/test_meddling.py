"""Somebody acts while an import, its retention or its undo is under way: what is theirs stays theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from fakes.cloud import DISKS, EXTENSIONS, MACHINES, NICS, PUBLIC_IPS, SNAPSHOTS
from fakes.shapes import disk_body, group_of
from holdfast.clouds.azure.succession import recreated
from holdfast.clouds.errors import NoCapacity
from holdfast.clouds.protocols import Power
from holdfast.core.tags import OUR_TAGS
from holdfast.engine import Crash, Crashed, Direction, State, When
from holdfast.imports.options import DiskSource, NetworkSource
from holdfast.imports.plan import PlanRefused
from holdfast.imports.records import ImportRow
from holdfast.machines.ledger import Fate
from holdfast.nodes.records import NodeRow, happened
from holdfast.nodes.states import NodeEvent
from story.imports.counting import REFUSED, CountingCloud
from story.imports.import_rig import VARIANTS, ImportRig, options
from story.imports.test_importing import as_before

NEW, KEEP = NetworkSource.NEW, NetworkSource.KEEP
SNAPSHOT, REATTACH = DiskSource.SNAPSHOT, DiskSource.REATTACH

OBJECT_GOES = [(KEEP, SNAPSHOT), (NEW, REATTACH), (KEEP, REATTACH)]


def some_slow(names: tuple[str, ...], cases: list[tuple[Any, ...]], *quick: tuple[Any, ...]) -> pytest.MarkDecorator:
    """All cases as parameters; those that are not among the quick ones run with the slow tests."""
    marked = [pytest.param(*case, marks=[] if case in quick else [pytest.mark.slow]) for case in cases]
    return pytest.mark.parametrize(names, marked, ids=lambda value: value.value)


variants = pytest.mark.parametrize(("network", "disks"), VARIANTS, ids=lambda value: value.value)
object_goes = some_slow(("network", "disks"), OBJECT_GOES, (KEEP, REATTACH))
CHECKED_BEFORE_SNAPSHOTS = [(*variant, power) for variant in VARIANTS for power in (Power.RUNNING, Power.DEALLOCATED)]
powers = pytest.mark.parametrize("power", [Power.RUNNING, Power.DEALLOCATED], ids=lambda value: value.value)


@dataclass
class MeddledCloud(CountingCloud):
    """Somebody acts once, right after the first change `after_verb` of a resource whose id contains `about`."""

    after_verb: str = ""
    about: str = ""
    act: Callable[[], Any] | None = None

    def meddle(self, after_verb: str, about: str, act: Callable[[], Any]) -> None:
        self.after_verb, self.about, self.act = after_verb, about.lower(), act

    def _counted(self, verb: str, ref: str, act: Callable[[], Any]) -> Any:
        done = super()._counted(verb, ref, act)
        if self.act is not None and verb == self.after_verb and self.about in ref.lower():
            somebody, self.act = self.act, None
            somebody()
        return done


class Rig(ImportRig):
    cloud: MeddledCloud


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path, cloud=MeddledCloud())
    yield made
    made.database.close()


def imported(rig: Rig, network: NetworkSource = NEW, disks: DiskSource = SNAPSHOT, **more: Any) -> ImportRow:
    row, view = rig.run_import(rig.cloud.add_machine(delete_option="Delete", **more), options(network, disks))
    assert view.state is State.DONE, view.error
    return row


def undone(rig: Rig, row: ImportRow, *, to_import_point: bool = False) -> ImportRow:
    view = rig.run(rig.service.undo(row.id, actor="test", to_import_point=to_import_point))
    assert view.state is State.DONE, view.error
    assert rig.row(row.id).state == "undone"
    return rig.row(row.id)


def pass_hours(rig: Rig, hours: float) -> None:
    rig.clock.advance(timedelta(hours=hours))
    rig.engine.tick()


def bodies(rig: Rig, *refs: str) -> list[dict[str, Any]]:
    found = [rig.cloud.read(ref) for ref in refs]
    return [document.body for document in found if document is not None]


def disks_of(rig: Rig, machine: str) -> list[str]:
    return [disk.document.ref for disk in rig.cloud.describe(machine).disks if disk.document is not None]


def replace_by_a_stranger(rig: Rig, original: str) -> list[str]:
    """Somebody deletes the original and makes a machine of their own under its name. Returns the stranger's ids."""
    made = rig.cloud.add_machine("stranger", delete_option="Delete", public_ip=False)
    facts = rig.cloud.describe(made)
    rig.cloud.remove(made)
    rig.cloud.remove(original)
    body = {key: facts.machine.body[key] for key in ("location", "properties")}
    rig.cloud._put(original, MACHINES, {**body, "tags": {"who": "somebody"}})
    rig.cloud._attach(original, body)
    rig.cloud.set_power(original, Power.RUNNING)
    return [original, *(disk.document.ref for disk in facts.disks if disk.document), facts.nics[0].ref]


# --- during the import ------------------------------------------------------------------------------------------------


@powers
@pytest.mark.parametrize(("verb", "about"), [("ensure", "-final"), ("ensure", "-osDisk")])
def test_import_whose_original_is_started_meanwhile_fails_and_no_two_machines_run(
    rig: Rig, power: Power, verb: str, about: str
) -> None:
    machine = rig.cloud.add_machine(power=power)
    before = rig.cloud.state_of(machine)
    rig.cloud.meddle(verb, about, lambda: rig.cloud.set_power(machine, Power.RUNNING))

    row, view = rig.run_import(machine, options(NEW, SNAPSHOT))

    assert rig.cloud.act is None, "nobody has acted"
    assert rig.cloud.violations == []
    assert view.state is State.FAILED
    assert row.state == "failed"
    now = rig.cloud.state_of(machine)
    assert as_before({**now, "power": before["power"]}, before)
    assert now["power"] in (before["power"], Power.RUNNING)
    assert len(rig.cloud.refs()) == len(before["documents"])


@some_slow(
    ("network", "disks", "power"),
    CHECKED_BEFORE_SNAPSHOTS,
    (NEW, SNAPSHOT, Power.RUNNING),
    (KEEP, REATTACH, Power.RUNNING),
    (KEEP, SNAPSHOT, Power.DEALLOCATED),
)
def test_disk_attached_between_plan_and_stop_fails_the_import_and_stays_attached(
    rig: Rig, network: NetworkSource, disks: DiskSource, power: Power
) -> None:
    machine = rig.cloud.add_machine(power=power, delete_option="Delete")
    before = rig.cloud.state_of(machine)
    rig.cloud.meddle("mark", "/virtualMachines/", lambda: rig.attach_disk(machine, "theirs"))

    row, view = rig.run_import(machine, options(network, disks))

    assert rig.cloud.act is None, "nobody has acted"
    assert (view.state, row.state) == (State.FAILED, "failed"), view.error
    assert view.error is not None
    assert view.error.code == "import.original_changed"
    theirs = rig.cloud.ref("rg-1", DISKS, "theirs")
    assert rig.cloud.exists(theirs)
    document = rig.cloud.read(machine)
    assert document is not None
    attached = document.get("properties.storageProfile.dataDisks")
    mine = [disk for disk in attached if disk["managedDisk"]["id"] != theirs]
    assert len(attached) == len(mine) + 1
    rig.cloud.change(machine, "properties.storageProfile.dataDisks", mine)
    assert as_before(rig.cloud.state_of(machine), before)
    assert len(rig.cloud.refs()) == len(before["documents"]) + 1


@pytest.mark.parametrize("disks", list(DiskSource), ids=lambda value: value.value)
def test_restored_delete_options_do_not_detach_a_disk_that_somebody_attached(rig: Rig, disks: DiskSource) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete")
    before = rig.cloud.state_of(machine)
    rig.cloud.meddle("patch", "/virtualMachines/", lambda: rig.attach_disk(machine, "theirs"))

    row, view = rig.run_import(machine, options(KEEP, disks))

    assert rig.cloud.act is None, "nobody has acted"
    assert (view.state, row.state) == (State.FAILED, "failed"), view.error
    theirs = rig.cloud.ref("rg-1", DISKS, "theirs")
    document = rig.cloud.read(machine)
    assert document is not None
    attached = document.get("properties.storageProfile.dataDisks")
    assert theirs in [disk["managedDisk"]["id"] for disk in attached]
    rig.cloud.change(
        machine, "properties.storageProfile.dataDisks", [d for d in attached if d["managedDisk"]["id"] != theirs]
    )
    assert as_before(rig.cloud.state_of(machine), before)


@variants
def test_machine_that_somebody_made_under_the_originals_name_is_not_touched_when_the_import_fails(
    rig: Rig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = rig.cloud.add_machine(power=Power.DEALLOCATED, delete_option="Delete")
    own: dict[str, Any] = {}

    def act() -> None:
        own["refs"] = replace_by_a_stranger(rig, machine)
        own["before"] = bodies(rig, *own["refs"])

    rig.cloud.meddle("ensure", "-final", act)
    rig.cloud.fail("ensure", REFUSED, about="/virtualMachines/")

    row, view = rig.run_import(machine, options(network, disks))

    assert rig.cloud.act is None, "nobody has acted"
    assert (view.state, row.state) == (State.FAILED, "failed"), view.error
    assert bodies(rig, *own["refs"]) == own["before"]
    assert rig.cloud.power_of(machine)[0] is Power.RUNNING
    assert rig.unrecorded() == []


@pytest.mark.parametrize("network", list(NetworkSource), ids=lambda value: value.value)
def test_failed_proof_of_reattached_disks_keeps_their_safety_snapshots_for_96_hours(
    rig: Rig, network: NetworkSource
) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete")
    before = rig.cloud.state_of(machine)
    rig.cloud.failing_probes.add("tcp://:22")

    row, view = rig.run_import(machine, options(network, REATTACH, probes=("tcp://:22",)))

    assert (view.state, row.state) == (State.FAILED, "failed"), view.error
    assert as_before(rig.cloud.state_of(machine), before)
    kept = [entry for entry in rig.ledger(row.id) if entry.fate is Fate.RETAINED]
    assert sorted(entry.ref for entry in kept) == rig.cloud.refs(SNAPSHOTS)
    assert len(kept) == 2
    assert all(entry.role.startswith("final/") for entry in kept)
    assert len(rig.cloud.refs()) == len(before["documents"]) + len(kept)
    assert rig.unrecorded() == []
    pass_hours(rig, 95)
    assert len(rig.cloud.refs(SNAPSHOTS)) == len(kept)
    pass_hours(rig, 1.5)
    assert rig.cloud.refs(SNAPSHOTS) == []
    assert as_before(rig.cloud.state_of(machine), before)


@pytest.mark.parametrize("network", list(NetworkSource), ids=lambda value: value.value)
def test_name_that_somebody_has_taken_is_refused_before_anything_is_written(rig: Rig, network: NetworkSource) -> None:
    machine = rig.cloud.add_machine()
    chosen = options(network, SNAPSHOT)
    agreed = rig.service.plan(rig.cloud.name, machine, chosen, seed="0a1b2c")
    planned = agreed.succession.disks["os-disk"]
    assert planned.name.endswith("-osDisk")
    rig.cloud._put(planned.ref, DISKS, disk_body(rig.cloud.location, False, ()))
    theirs = bodies(rig, planned.ref)

    plan = rig.service.plan(rig.cloud.name, machine, chosen, seed="0a1b2c")

    assert "NAME_TAKEN" in [finding.code for finding in plan.refusals]
    with pytest.raises(PlanRefused):
        rig.service.start(plan, actor="test", fresh=True)
    late = rig.service.start(agreed, actor="test", fresh=True)  # it was taken after the plan had been made
    assert rig.run(late.operation).state is State.FAILED
    assert rig.cloud.events == []
    assert bodies(rig, planned.ref) == theirs


# --- during the retention ---------------------------------------------------------------------------------------------


def test_node_that_went_off_by_itself_suspends_the_clean_up(rig: Rig) -> None:
    row = imported(rig)
    went_off(rig, row)
    kept = rig.cloud.refs()

    pass_hours(rig, 96.1)

    assert rig.row(row.id).state == "imported"
    assert "NODE_NOT_HEALTHY" in str(rig.row(row.id).attention)
    assert rig.cloud.refs() == kept


@some_slow(("network", "disks"), VARIANTS, (NEW, SNAPSHOT), (KEEP, REATTACH))
def test_node_that_came_off_is_healthy_while_it_is_off(rig: Rig, network: NetworkSource, disks: DiskSource) -> None:
    row = imported(rig, network, disks, power=Power.DEALLOCATED)

    pass_hours(rig, 96.1)

    assert rig.row(row.id).state == "finished"
    assert rig.cloud.power_of(str(rig.node(row).machine))[0] is Power.DEALLOCATED


def went_off(rig: Rig, row: ImportRow) -> None:
    """Its guest shut down, and the watch over nodes has seen it."""
    rig.cloud.set_power(str(rig.node(row).machine), Power.STOPPED)
    with rig.database.write() as session:
        happened(session.get_one(NodeRow, row.node_id), NodeEvent.MACHINE_OFF, rig.clock.now())


def test_retained_address_that_was_moved_to_the_nodes_card_suspends_the_clean_up_before_it_deletes(rig: Rig) -> None:
    row = imported(rig)
    node = str(rig.node(row).machine)
    moved = {"id": rig.cloud.ref("rg-1", PUBLIC_IPS, "db-1-ip")}
    for card, address in (
        (rig.cloud.ref("rg-1", NICS, "db-1-nic"), None),
        (rig.cloud.describe(node).nics[0].ref, moved),
    ):
        document = rig.cloud.read(card)
        assert document is not None
        configurations = document.get("properties.ipConfigurations")
        configurations[0]["properties"]["publicIPAddress"] = address
        rig.cloud.change(card, "properties.ipConfigurations", configurations)
    kept = rig.cloud.refs()

    pass_hours(rig, 96.1)

    assert rig.row(row.id).state == "imported"
    assert "RETAINED_PART_IN_USE" in str(rig.row(row.id).attention)
    assert rig.cloud.refs() == kept


def test_original_that_somebody_made_again_from_its_retained_disks_suspends_the_clean_up(rig: Rig) -> None:
    row = imported(rig)
    original = rig.cloud.ref_of("rg-1", "db-1")
    document = rig.cloud.read(original)
    assert document is not None
    body = {key: value for key, value in recreated(document).body.items() if key != "tags"}
    rig.cloud.remove(original)
    rig.cloud._put(original, MACHINES, body)
    rig.cloud._attach(original, body)
    rig.cloud.set_power(original, Power.DEALLOCATED)
    kept = rig.cloud.refs()

    pass_hours(rig, 96.1)
    pass_hours(rig, 1.1)

    assert rig.row(row.id).state == "imported"
    assert rig.row(row.id).attention
    assert rig.cloud.refs() == kept


# --- before and during the undo ---------------------------------------------------------------------------------------


@variants
def test_disk_that_somebody_attached_to_the_node_outlives_the_undo(
    rig: Rig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = rig.cloud.ref_of("rg-1", "db-1")
    row = imported(rig, network, disks)
    theirs = rig.attach_disk(str(rig.node(row).machine), "theirs", delete_option="Delete")
    rig.cloud.write_data(theirs, "somebody's own")

    undone(rig, row)

    assert rig.cloud.content_of(theirs) == "somebody's own"
    pass_hours(rig, 97)
    assert rig.cloud.exists(theirs)
    assert rig.cloud.refs(MACHINES) == [machine]


@pytest.mark.parametrize("network", list(NetworkSource), ids=lambda value: value.value)
def test_undo_to_the_import_point_of_copied_disks_brings_the_originals_own_disks_back_and_keeps_them(
    rig: Rig, network: NetworkSource
) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete", tags={"team": "db"})
    rig.cloud.write_data(rig.cloud.ref("rg-1", DISKS, "db-1-os"), "before")
    before, refs = rig.cloud.state_of(machine), rig.cloud.refs()
    row, view = rig.run_import(machine, options(network, SNAPSHOT))
    assert view.state is State.DONE, view.error
    rig.cloud.write_data(disks_of(rig, str(rig.node(row).machine))[0], " and after")

    undone(rig, row, to_import_point=True)

    assert as_before(rig.cloud.state_of(machine), before)
    pass_hours(rig, 97)
    assert rig.cloud.refs() == refs
    assert as_before(rig.cloud.state_of(machine), before)


@object_goes
@pytest.mark.parametrize("then", ["undo", "finish"])
def test_node_made_again_by_an_undo_that_died_right_then_is_known_by_its_new_identity(
    rig: Rig, network: NetworkSource, disks: DiskSource, then: str
) -> None:
    row = imported(rig, network, disks)
    was = rig.node(row).machine_identity
    operation = rig.service.undo(row.id, actor="test")
    rig.start_engine(Crash("dissolve_node", When.DONE_UNRECORDED, Direction.UNWIND))
    with pytest.raises(Crashed):
        rig.run(operation)

    rig.start_engine()
    rig.engine.recover()

    row, node = rig.row(row.id), rig.node(row)
    assert row.state == "imported"
    machine = rig.cloud.read(str(node.machine))
    assert machine is not None
    assert machine.identity == node.machine_identity == row.successor["identity"] != was
    assert rig.cloud.power_of(machine.ref)[0] is Power.RUNNING
    assert rig.cloud.violations == []
    if then == "undo":
        undone(rig, row)
    else:
        view = rig.run(rig.service.finish(row.id, actor="test", confirmed=True))
        assert view.state is State.DONE, view.error
        assert rig.row(row.id).state == "finished"
        assert rig.cloud.power_of(machine.ref)[0] is Power.RUNNING
    assert rig.cloud.violations == []


def test_retried_undo_whose_node_was_started_by_hand_never_lets_both_run(rig: Rig) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete")
    named = {"compute": {"launchSpecification": {"vmName": "node-1"}}}
    row, _ = rig.run_import(machine, options(NEW, SNAPSHOT), named)
    node = str(rig.node(row).machine)
    no_hardware = NoCapacity(cloud_code="AllocationFailed", message="no hardware")
    rig.cloud.fail("power", no_hardware, about="virtualMachines/db-1", times=10_000)
    view = rig.run(rig.service.undo(row.id, actor="test"))
    assert view.state is State.STUCK
    rig.cloud.faults.clear()
    rig.cloud.set_power(node, Power.RUNNING)

    rig.service.retry(row.id, actor="test")
    view = rig.run(view.id)

    assert rig.cloud.violations == []
    if view.state is State.STUCK:  # it may leave the choice to the person: then stopping the node is what helps
        rig.cloud.set_power(node, Power.DEALLOCATED)
        rig.service.retry(row.id, actor="test")
        view = rig.run(view.id)
    assert view.state is State.DONE, view.error
    assert rig.row(row.id).state == "undone"
    assert rig.cloud.power_of(machine)[0] is Power.RUNNING
    assert rig.cloud.violations == []


@pytest.mark.parametrize("gone", ["data disk", "machine and disks"])
def test_undo_of_copied_disks_does_without_what_somebody_deleted_of_the_node(rig: Rig, gone: str) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete")
    before = rig.cloud.state_of(machine)
    row, view = rig.run_import(machine, options(NEW, SNAPSHOT))
    assert view.state is State.DONE, view.error
    node = str(rig.node(row).machine)
    disks = disks_of(rig, node)
    if gone == "data disk":
        rig.cloud.change(node, "properties.storageProfile.dataDisks", [])
        rig.cloud.remove(disks[1])
    else:
        for ref in (node, *disks):
            rig.cloud.remove(ref)

    undone(rig, row)

    assert as_before(rig.cloud.state_of(machine), before)
    assert rig.unrecorded() == []
    pass_hours(rig, 97)
    assert len(rig.cloud.refs()) == len(before["documents"])


# --- extensions and tags of what is made again ------------------------------------------------------------------------


def with_extension(rig: Rig) -> tuple[str, str]:
    """A machine and its extension, which has a tag of its own."""
    machine = rig.cloud.add_machine(delete_option="Delete", tags={"team": "db"})
    properties = {"publisher": "p", "type": "t", "typeHandlerVersion": "1.0", "settings": {"a": 1}}
    body = {"location": rig.cloud.location, "tags": {"team": "watch"}, "properties": properties}
    extension = f"{machine}/extensions/watch"
    rig.cloud._put(extension, EXTENSIONS, body)
    return machine, extension


@object_goes
def test_extension_that_cannot_be_made_again_is_named_and_does_not_block_the_way_back(
    rig: Rig, network: NetworkSource, disks: DiskSource
) -> None:
    machine, _ = with_extension(rig)
    before = rig.cloud.state_of(machine)
    rig.cloud.fail("ensure", REFUSED, about="/extensions/watch", times=10_000)
    rig.cloud.failing_probes.add("tcp://:22")

    failed, view = rig.run_import(machine, options(network, disks, probes=("tcp://:22",)))

    assert (view.state, failed.state) == (State.FAILED, "failed"), view.error
    assert as_before(rig.cloud.state_of(machine), before)
    assert "watch" in f"{failed.attention} {failed.warnings}"


@object_goes
def test_extension_that_cannot_be_made_again_is_named_and_does_not_block_an_undo(
    rig: Rig, network: NetworkSource, disks: DiskSource
) -> None:
    machine, _ = with_extension(rig)
    before = rig.cloud.state_of(machine)
    row, _ = rig.run_import(machine, options(network, disks))
    rig.cloud.fail("ensure", REFUSED, about="/extensions/watch", times=10_000)

    row = undone(rig, row)

    assert as_before(rig.cloud.state_of(machine), before)
    assert "watch" in f"{row.attention} {row.warnings}"


@object_goes
@pytest.mark.parametrize("way", ["unwind", "undo"])
def test_extension_made_again_carries_its_own_tags_and_none_of_ours(
    rig: Rig, network: NetworkSource, disks: DiskSource, way: str
) -> None:
    machine, extension = with_extension(rig)
    if way == "unwind":
        rig.cloud.failing_probes.add("tcp://:22")
        _, view = rig.run_import(machine, options(network, disks, probes=("tcp://:22",)))
        assert view.state is State.FAILED
    else:
        row, _ = rig.run_import(machine, options(network, disks))
        undone(rig, row)

    made = rig.cloud.read(extension)
    assert made is not None
    assert made.tags == {"team": "watch"}
    assert made.get("properties.settings") == {"a": 1}


@some_slow(("network", "disks"), VARIANTS, (KEEP, SNAPSHOT), (KEEP, REATTACH))
def test_nothing_of_the_original_carries_our_tags_after_an_undo_to_the_import_point(
    rig: Rig, network: NetworkSource, disks: DiskSource
) -> None:
    machine, extension = with_extension(rig)
    os_disk = rig.cloud.ref("rg-1", DISKS, "db-1-os")
    rig.cloud.change(os_disk, "tags", {"team": "disks"})
    row, _ = rig.run_import(machine, options(network, disks))

    undone(rig, row, to_import_point=True)

    facts = rig.cloud.describe(machine)
    documents = [facts.machine, *(d.document for d in facts.disks if d.document), *facts.nics, *facts.public_ips]
    documents += [document for document in (rig.cloud.read(extension),) if document is not None]
    assert [d.ref for d in documents if set(d.tags) & set(OUR_TAGS)] == []
    assert facts.machine.tags == {"team": "db"}
    assert facts.disks[0].document is not None
    assert facts.disks[0].document.tags == {"team": "disks"}
    assert all(group_of(document.ref) == "rg-1" for document in documents)

"""What a dead worker's request does after its import has closed is made good, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fakes.call import FakeCall
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Power
from holdfast.core.ids import OperationId
from holdfast.imports.sweeping import POWER_FOR, SWEEP_FOR_S
from holdfast.machines import ledger
from unit.api.api_rig import OWNER, ApiRig, api_rigs


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)


def cancelled(rig: ApiRig) -> dict[str, Any]:
    """An import that was cancelled after it had made things."""
    begun = rig.start()
    stopped: list[bool] = []
    original = rig.cloud.power

    def cancel_then(*args: Any) -> None:
        if not stopped:
            stopped.append(rig.engine.cancel(OperationId(begun["operation"])))
        original(*args)

    rig.cloud.power = cancel_then  # type: ignore[method-assign]
    rig.run(begun["operation"])
    rig.cloud.power = original  # type: ignore[method-assign]
    told = rig.shown(begun["id"])
    assert told["state"] == "cancelled"
    return told


def made_by(rig: ApiRig, told: dict[str, Any], role: str) -> tuple[ledger.Entry, Document]:
    """A resource of the import as it would land late."""
    with rig.database.read() as session:
        entry = ledger.entry(session, told["operation"], role)
    tags = {**entry.document.tags, **OWNER.tags(OperationId(told["operation"]), role)}
    return entry, entry.document.with_value("tags", tags)


def test_snapshot_that_lands_after_the_unwind_is_deleted(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    told = cancelled(rig)
    entry, late = made_by(rig, told, "early/os-disk")
    rig.cloud.ensure(FakeCall(rig.clock), late)

    rig.engine.advance(61)

    assert rig.cloud.read(entry.ref) is None
    (line,) = rig.client.get("/v1/audit", params={"action": "import.swept"}).json()
    assert (line["operation"], line["subject"]) == (told["operation"], entry.ref)


def test_resource_of_the_same_name_that_is_not_ours_is_left_alone(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    told = cancelled(rig)
    entry, late = made_by(rig, told, "early/os-disk")
    rig.cloud.ensure(FakeCall(rig.clock), late.with_value("tags", {"owner": "somebody"}))

    rig.engine.advance(61)

    assert rig.cloud.read(entry.ref) is not None


def test_tag_of_the_operation_on_something_it_never_recorded_deletes_nothing(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    other = rig.cloud.add_machine("db-2")
    told = cancelled(rig)
    rig.cloud.change(other, "tags", OWNER.tags(OperationId(told["operation"]), "machine"))

    rig.engine.advance(61)

    assert rig.cloud.read(other) is not None


def test_stop_that_lands_late_is_made_good(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    cancelled(rig)
    rig.cloud.set_power(machine, Power.DEALLOCATED)

    rig.engine.advance(61)

    assert rig.cloud.power_of(machine)[0] is Power.RUNNING


def test_machine_that_was_off_before_stays_off(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    told = cancelled(rig)
    rig.engine.advance(POWER_FOR.total_seconds() + 61)

    rig.cloud.set_power(machine, Power.DEALLOCATED)  # a person, minutes later
    rig.engine.advance(61)

    assert told["state"] == "cancelled"
    assert rig.cloud.power_of(machine)[0] is Power.DEALLOCATED


def test_original_is_not_started_beside_a_successor_that_landed_late_and_lasts(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    told = cancelled(rig)
    _, late = made_by(rig, told, "early/os-disk")
    rig.cloud.ensure(FakeCall(rig.clock), late)
    rig.cloud.set_power(machine, Power.DEALLOCATED)

    rig.engine.advance(61)

    assert rig.cloud.violations == []
    assert rig.cloud.power_of(machine)[0] is Power.RUNNING


def test_tags_that_land_late_on_an_original_are_taken_off(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine(tags={"owner": "me"})
    told = cancelled(rig)
    ours = OWNER.tags(OperationId(told["operation"]), "original/machine")
    rig.cloud.change(machine, "tags", {"owner": "me", **ours})

    rig.engine.advance(61)

    found = rig.cloud.read(machine)
    assert found is not None
    assert found.tags == {"owner": "me"}


def test_import_that_succeeded_is_not_swept(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.imported()
    before = list(rig.cloud.events)

    rig.engine.advance(61)
    rig.engine.advance(SWEEP_FOR_S)

    assert rig.cloud.events == before

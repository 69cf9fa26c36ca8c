"""An import tells the history of markets what each one answered, once, whatever happens to the process."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from holdfast.engine import Crash, State
from holdfast.engine.crashing import Crashed, When
from holdfast.imports.options import DiskSource, NetworkSource
from holdfast.market.observing.tables import LookRow
from story.imports.import_rig import ImportRig, options

CHOSEN = options(NetworkSource.NEW, DiskSource.SNAPSHOT)


def answers(rig: ImportRig) -> list[bool | None]:
    with rig.database.read() as session:
        return list(session.scalars(select(LookRow.answered).order_by(LookRow.id)))


@pytest.mark.parametrize("when", [When.BEFORE_CALL, When.ANSWER_LOST, When.DONE_UNRECORDED], ids=str)
@pytest.mark.parametrize("step", ["launch_machine#0", "launch_machine#1"])
def test_launch_that_is_repeated_after_a_crash_is_recorded_once(rig: ImportRig, when: When, step: str) -> None:
    machine = rig.cloud.add_machine()
    markets = rig.service.plan(rig.cloud.name, machine, CHOSEN).markets
    rig.cloud.capacity_out = {(markets[0].size.lower(), "spot" if markets[0].spot else "regular")}
    started = rig.begin(machine, CHOSEN)
    rig.start_engine(Crash(step, when))
    with pytest.raises(Crashed):
        rig.engine.run(started.operation)

    rig.start_engine()
    rig.engine.recover()
    view = rig.engine.run(started.operation)

    assert view.state is State.DONE, view.error
    assert answers(rig) == [False, True]

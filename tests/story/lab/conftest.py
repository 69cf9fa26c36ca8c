from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from story.lab.lab_rig import LabRig, Town


@pytest.fixture(scope="session")
def town(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    built = Town.build(tmp_path_factory.mktemp("town"))
    yield built
    assert built.lab.bugs == []
    built.close()


@pytest.fixture
def rig(tmp_path: Path, town: Town) -> Iterator[LabRig]:
    home = LabRig(tmp_path / "home", town)
    yield home
    home.close()

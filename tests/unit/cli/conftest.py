from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.api.api_rig import ApiRig, api_rigs
from unit.cli.cli_rig import Cli


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)


@pytest.fixture
def cli(rig: ApiRig, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(rig, capsys)

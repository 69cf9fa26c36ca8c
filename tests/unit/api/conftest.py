from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from unit.api.api_rig import ApiRig, api_rigs


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)

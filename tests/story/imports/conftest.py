from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from story.imports.import_rig import ImportRig, rigs


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ImportRig]:
    yield from rigs(tmp_path)

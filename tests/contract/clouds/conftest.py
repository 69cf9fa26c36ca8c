"""Every conformance test runs on every implementation."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from stages import InMemory, OverTheWire, Stage

STAGES: dict[str, Callable[[], Stage]] = {"in-memory": InMemory, "azure-over-http": OverTheWire}


@pytest.fixture(params=list(STAGES))
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    opened = STAGES[request.param]()
    yield opened
    opened.close()

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "engine"))

from postgres_cluster import Cluster, Given, NoPostgres, postgres


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster | Given]:
    try:
        with postgres() as server:
            yield server
    except NoPostgres as why:
        pytest.skip(f"no PostgreSQL here: {why}")

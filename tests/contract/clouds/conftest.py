"""Every conformance test runs on every implementation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from stages import InMemory, OnAzurelab, OverTheWire, Stage, connected

from azurelab.app import Lab
from holdfast.clouds.azure.cloud import AzureCloud


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab.start(tmp_path_factory.mktemp("lab")) as started:
        yield started
        assert started.bugs == []


@pytest.fixture(scope="session")
def cloud_on_lab(lab: Lab) -> Iterator[AzureCloud]:
    cloud = connected(lab)
    yield cloud
    cloud.close()


@pytest.fixture(params=["in-memory", "azure-over-http", "azure-on-azurelab"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    opened: Stage
    if request.param == "in-memory":
        opened = InMemory()
    elif request.param == "azure-over-http":
        opened = OverTheWire()
    else:
        opened = OnAzurelab(request.getfixturevalue("lab"), request.getfixturevalue("cloud_on_lab"))
    yield opened
    opened.close()

"""AzureCloud on a wire that tests can cut."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fakes.arm import FakeArm, StaticCredential
from fakes.call import FakeCall
from fakes.cloud import SUBSCRIPTION, FakeCloud
from holdfast.clouds.azure.arm import CloudWrite
from holdfast.clouds.azure.cloud import AzureCloud
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.core.clock import ManualClock


class Stage:
    """arm: the wire. world: what is behind it. cloud: the client under test. writes: its audit."""

    def __init__(self, arm: FakeArm, clock: ManualClock) -> None:
        self.arm, self.world, self.clock = arm, arm.cloud, clock
        self.writes: list[CloudWrite] = []
        self.call = FakeCall(clock=clock)
        self.connection = AzureConnection(SUBSCRIPTION, endpoint=arm.url, prices_endpoint=arm.url, timeout_s=2.0)
        self.cloud = AzureCloud("lab", self.connection, clock, self.writes.append, StaticCredential())


@pytest.fixture
def stage_with() -> Iterator[Callable[..., Stage]]:
    """Make a stage: `stage_with(polls=2, async_capacity=True)`."""
    open_stages: list[tuple[Stage, object]] = []

    def make(**options: object) -> Stage:
        clock = ManualClock()
        arm = FakeArm(FakeCloud(clock=clock), **options)  # type: ignore[arg-type]
        serving = arm.serving()
        serving.__enter__()
        stage = Stage(arm, clock)
        open_stages.append((stage, serving))
        return stage

    yield make
    for stage, serving in open_stages:
        stage.cloud.close()
        serving.__exit__(None, None, None)  # type: ignore[attr-defined]


@pytest.fixture
def stage(stage_with: Callable[..., Stage]) -> Stage:
    return stage_with()

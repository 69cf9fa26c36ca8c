"""Whatever the wire does, a repeated story ends with each thing made once, and its unwinding with nothing left."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from fakes.arm import FakeArm, StaticCredential, WireFault
from fakes.call import FakeCall
from fakes.cloud import DISKS, MACHINES, SNAPSHOTS, SUBSCRIPTION, FakeCloud
from holdfast.clouds.azure.cloud import AzureCloud
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import CloudError
from holdfast.clouds.protocols import Claim, ClaimReason, Power, PowerLevel
from holdfast.core.clock import ManualClock
from holdfast.core.tags import OPERATION

# Without shrinking: each example starts a server, and a failing one is short enough to read.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
OURS = "op-00112233445566aa"

faults = st.builds(
    WireFault,
    method=st.sampled_from(["PUT", "GET", "POST", "DELETE", "PATCH"]),
    about=st.sampled_from(["", "new", "db-1", "/operations/", "snapshots"]),
    kind=st.sampled_from(["lose", "drop", "refuse", "fail", "half"]),
    status=st.sampled_from([429, 500, 503]),
    code=st.just("InternalExecutionError"),
    times=st.integers(1, 3),
)


@dataclass
class Story:
    """Stop the original, snapshot its OS disk, make a disk of it, then a machine."""

    cloud: AzureCloud
    world: FakeCloud
    original: str

    def documents(self) -> tuple[Document, Document, Document]:
        facts = self.world.describe(self.original)
        disk = facts.disks[0].document
        assert disk is not None
        snapshot = self._document(SNAPSHOTS, "new-snap", {"creationData": copy_of(disk.ref)})
        fresh = self._document(DISKS, "new-disk", {"creationData": copy_of(snapshot.ref)})
        os_disk = {"createOption": "Attach", "osType": "Linux", "managedDisk": {"id": fresh.ref}}
        properties = {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "storageProfile": {"osDisk": {**os_disk, "deleteOption": "Detach"}, "dataDisks": []},
            "networkProfile": {"networkInterfaces": []},
        }
        return snapshot, fresh, self._document(MACHINES, "new-vm", properties)

    def _document(self, kind: str, name: str, properties: dict[str, Any]) -> Document:
        body = {"location": "westeurope", "tags": {OPERATION: OURS}, "properties": properties}
        return Document(self.world.ref("rg-1", kind, name), kind, "2024-07-01", body)

    def forward(self, call: FakeCall) -> None:
        self.cloud.mark(call, self.original, {OPERATION: OURS})
        self.cloud.power(call, self.original, PowerLevel.DEALLOCATED)
        for document in self.documents():
            self.cloud.ensure(call, document)

    def back(self, call: FakeCall) -> None:
        for document in reversed(self.documents()):
            self.cloud.delete(call, Claim(document.ref, None, ClaimReason.OURS, OURS))
        self.cloud.power(call, self.original, PowerLevel.RUNNING)
        self.cloud.unmark(call, self.original, [OPERATION])


def copy_of(ref: str) -> dict[str, str]:
    return {"createOption": "Copy", "sourceResourceId": ref}


@settings(max_examples=12, derandomize=True, deadline=None, phases=PHASES, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(faults, max_size=8), st.lists(faults, max_size=8), st.integers(0, 2))
def test_a_story_repeated_through_any_faults_ends_whole_and_unwinds_to_nothing(
    there: list[WireFault], back: list[WireFault], polls: int
) -> None:
    clock = ManualClock()
    world = FakeCloud(clock=clock)
    original = world.add_machine(public_ip=False)
    before = world.state_of(original)
    everything = world.refs()
    arm = FakeArm(world, polls=polls)
    call = FakeCall(operation=OURS, clock=clock)
    with arm.serving():
        connection = AzureConnection(SUBSCRIPTION, endpoint=arm.url)
        cloud = AzureCloud("lab", connection, clock, lambda write: None, StaticCredential())
        story = Story(cloud, world, original)
        try:
            arm.faults = there
            with suppress(CloudError):
                story.forward(call)
            arm.faults = []
            story.forward(call)

            made = [ref for ref in world.refs() if ref not in everything]
            assert sorted(made) == sorted(document.ref for document in story.documents())
            assert world.power_of(made[-1])[0] is Power.RUNNING
            states = {world.read(ref).get("properties.provisioningState") for ref in made}  # type: ignore[union-attr]
            assert states == {"Succeeded"}

            arm.faults = back
            with suppress(CloudError):
                story.back(call)
            arm.faults = []
            story.back(call)

            assert world.refs() == everything
            assert world.state_of(original) == before
            assert world.violations == []
        finally:
            cloud.close()

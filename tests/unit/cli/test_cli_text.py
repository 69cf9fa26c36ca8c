"""What people read, kept as files."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from holdfast.api import shown
from holdfast.cli.plan_text import plan_text, short, undo_text
from holdfast.clouds.protocols import Price
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource
from unit.api.api_rig import ApiRig
from unit.cli.cli_rig import golden

UPDATE = os.environ.get("HOLDFAST_UPDATE_GOLDEN") == "1"


def text_of(rig: ApiRig, options: ImportOptions) -> str:
    ref = rig.cloud.ref_of("rg-1", "db-1")
    plan = rig.house.imports.plan("lab", ref, options, seed="0a1b2c")
    return re.sub(r"Digest [0-9a-f]{32}", "Digest <digest>", plan_text(shown.plan(plan)))


@pytest.mark.parametrize("network", NetworkSource)
@pytest.mark.parametrize("disks", DiskSource)
def test_plan_reads_as_it_did(rig: ApiRig, network: NetworkSource, disks: DiskSource) -> None:
    rig.cloud.add_machine(data_disks=2)
    rig.cloud.price_list = [
        Price("Standard_D2s_v5", "Linux", spot, usd, rig.clock.now()) for spot, usd in ((True, 0.0192), (False, 0.096))
    ]

    text = text_of(rig, ImportOptions(network=network, disks=disks))

    golden(f"plan_{network.value}_{disks.value}.txt", text, update=UPDATE)


def test_refused_plan_reads_as_it_did(rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    rig.cloud.generalized.add(machine.lower())
    rig.cloud.missing_actions.add("Microsoft.Compute/virtualMachines/write")

    golden("plan_refused.txt", text_of(rig, ImportOptions()), update=UPDATE)


def test_undo_plan_reads_as_it_did(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    plan = rig.house.imports.plan(
        "lab",
        rig.cloud.ref_of("rg-1", "db-1"),
        ImportOptions(network=NetworkSource.KEEP, prove_for_s=5, prove_timeout_s=60),
        given=frozenset({"network"}),
        seed="0a1b2c",
    )
    started = rig.house.imports.start(plan, actor="test", fresh=True)
    rig.engine.run(started.operation)
    told: dict[str, Any] = rig.client.post(f"/v1/imports/{started.import_id}/undo-plan", json={}).json()

    text = undo_text(told).replace(started.import_id, "sin-01234567")

    golden("undo_keep_snapshot.txt", text, update=UPDATE)


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/os", "disk os"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/VirtualMachines/db-1", "machine db-1"),
        ("/subscriptions/s/resourceGroups/g/providers/Microsoft.Storage/storageAccounts/x", "storageAccounts x"),
        ("all parts", "all parts"),
    ],
)
def test_id_is_shown_as_kind_and_name(ref: str, text: str) -> None:
    assert short(ref) == text

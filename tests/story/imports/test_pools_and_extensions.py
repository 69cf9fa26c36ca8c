"""Load-balancer pools are left for draining, joined by the successor, restored on every way back; extensions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from fakes.cloud import EXTENSIONS, NICS
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.engine import State
from holdfast.imports.options import DiskSource, NetworkSource
from story.imports.import_rig import VARIANTS, ImportRig, options

POOL = {"id": "/subscriptions/s/resourceGroups/rg-1/providers/Microsoft.Network/loadBalancers/lb/backendAddressPools/p"}
variants = pytest.mark.parametrize(("network", "disks"), VARIANTS, ids=lambda value: value.value)


def in_a_pool(rig: ImportRig) -> str:
    machine = rig.cloud.add_machine()
    card = rig.cloud.ref("rg-1", NICS, "db-1-nic")
    document = rig.cloud.read(card)
    assert document is not None
    configurations = document.get("properties.ipConfigurations")
    configurations[0]["properties"]["loadBalancerBackendAddressPools"] = [POOL]
    rig.cloud.change(card, "properties.ipConfigurations", configurations)
    return machine


def members(rig: ImportRig) -> list[str]:
    found = [rig.cloud.read(ref) for ref in rig.cloud.refs(NICS)]
    return [card.ref for card in found if card is not None and pools_of(card)]


@variants
def test_successor_joins_the_pools_after_its_proof_and_the_original_leaves_them_for_draining(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = in_a_pool(rig)
    began = rig.clock.now()

    row, view = rig.run_import(machine, options(network, disks, draining_timeout_s=120))

    assert view.state is State.DONE, view.error
    assert rig.clock.now() - began >= timedelta(seconds=120)
    node = rig.cloud.describe(str(rig.node(row).machine))
    assert members(rig) == [node.nics[0].ref]
    steps = [step.key for step in rig.engine.steps(view.id)]
    assert steps.index("leave_pools") < steps.index("stop_original") < steps.index("prove_machine")
    assert steps.index("prove_machine") < steps.index("join_pools")


@variants
def test_failed_import_and_undo_put_the_original_back_into_its_pools(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = in_a_pool(rig)
    card = rig.cloud.ref("rg-1", NICS, "db-1-nic")
    rig.cloud.failing_probes.add("tcp://:22")

    _, failed = rig.run_import(machine, options(network, disks, probes=("tcp://:22",)))
    assert failed.state is State.FAILED
    assert members(rig) == [card]

    rig.cloud.failing_probes.clear()
    row, view = rig.run_import(machine, options(network, disks))
    assert view.state is State.DONE, view.error
    rig.run(rig.service.undo(row.id, actor="test"))
    assert members(rig) == [card]


def test_named_extension_is_created_again_with_its_public_settings_after_the_proof(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    properties: dict[str, Any] = {"publisher": "p", "type": "t", "typeHandlerVersion": "1.0", "settings": {"a": 1}}
    rig.cloud._put(f"{machine}/extensions/watch", EXTENSIONS, {"location": "westeurope", "properties": properties})
    rig.cloud._put(f"{machine}/extensions/left", EXTENSIONS, {"location": "westeurope", "properties": properties})
    chosen = options(NetworkSource.NEW, DiskSource.SNAPSHOT, recreate_extensions=("watch",))

    plan = rig.service.plan(rig.cloud.name, machine, chosen)
    row, view = rig.run_import(machine, chosen)

    assert {"EXTENSIONS_NOT_RECREATED", "EXTENSION_PUBLIC_ONLY"} <= {finding.code for finding in plan.findings}
    assert view.state is State.DONE, view.error
    node = str(rig.node(row).machine)
    assert [ref for ref in rig.cloud.refs(EXTENSIONS) if ref.startswith(node + "/")] == [f"{node}/extensions/watch"]
    made = rig.cloud.read(f"{node}/extensions/watch")
    assert made is not None
    assert made.get("properties.settings") == {"a": 1}

"""What a plan says, when it is refused, and when it no longer fits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakes.cloud import FakeCloud
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Agent, Headroom, Power, Price
from holdfast.core.errors import HoldfastError, InvalidInput
from holdfast.imports.options import DiskSource, ImportOptions, NetworkSource, Priority
from holdfast.imports.plan import PlanRefused, PlanStale, Verb, differences, load_plan, plan_to_json
from story.imports.import_rig import OWNER, VARIANTS, ImportRig, options, rigs

NEW, KEEP = NetworkSource.NEW, NetworkSource.KEEP
SNAPSHOT, REATTACH = DiskSource.SNAPSHOT, DiskSource.REATTACH


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    yield from rigs(tmp_path)


def plan_of(rig: ImportRig, machine: str, chosen: ImportOptions | None = None, **how: Any) -> Any:
    return rig.service.plan(rig.cloud.name, machine, chosen or options(NEW, SNAPSHOT), **how)


def codes(rig: ImportRig, machine: str, chosen: ImportOptions | None = None) -> list[str]:
    return [finding.code for finding in plan_of(rig, machine, chosen).refusals]


def lock(level: str) -> Document:
    ref = "/subscriptions/s/resourceGroups/rg-1/providers/Microsoft.Authorization/locks/l"
    return Document(ref, "Microsoft.Authorization/locks", "2020-05-01", {"properties": {"level": level}})


def generalized(cloud: FakeCloud, machine: str) -> None:
    cloud.generalized.add(machine.lower())


def ephemeral(cloud: FakeCloud, machine: str) -> None:
    cloud.change(machine, "properties.storageProfile.osDisk.diffDiskSettings", {"option": "Local"})


def unmanaged(cloud: FakeCloud, machine: str) -> None:
    cloud.change(machine, "properties.storageProfile.osDisk.managedDisk", None)
    cloud.change(machine, "properties.storageProfile.osDisk.vhd", {"uri": "https://x/vhds/os.vhd"})


def shared(cloud: FakeCloud, machine: str) -> None:
    cloud.change(cloud.ref("rg-1", "Microsoft.Compute/disks", "db-1-data-0"), "properties.maxShares", 2)


def open_disk(cloud: FakeCloud, machine: str) -> None:
    cloud.change(cloud.ref("rg-1", "Microsoft.Compute/disks", "db-1-data-0"), "properties.diskState", "ActiveSAS")


def encrypted(cloud: FakeCloud, machine: str) -> None:
    disk = cloud.ref("rg-1", "Microsoft.Compute/disks", "db-1-os")
    cloud.change(disk, "properties.encryptionSettingsCollection", {"enabled": True})


def dynamic_address(cloud: FakeCloud, machine: str) -> None:
    address = cloud.ref("rg-1", "Microsoft.Network/publicIPAddresses", "db-1-ip")
    cloud.change(address, "properties.publicIPAllocationMethod", "Dynamic")


REFUSED: list[tuple[str, Callable[[FakeCloud, str], None], ImportOptions]] = [
    ("GENERALIZED", generalized, options(NEW, SNAPSHOT)),
    ("EPHEMERAL_OS_DISK", ephemeral, options(NEW, SNAPSHOT)),
    ("UNMANAGED_DISKS", unmanaged, options(NEW, SNAPSHOT)),
    ("SHARED_DISK", shared, options(NEW, SNAPSHOT)),
    ("DISK_ACCESS_OPEN", open_disk, options(NEW, SNAPSHOT)),
    ("AZURE_DISK_ENCRYPTION", encrypted, options(NEW, SNAPSHOT)),
    ("SCALE_SET_MEMBER",
     lambda c, m: c.change(m, "properties.virtualMachineScaleSet", {"id": "/x/set"}), options(NEW, SNAPSHOT)),
    ("AVAILABILITY_SET",
     lambda c, m: c.change(m, "properties.availabilitySet", {"id": "/x/set"}), options(NEW, SNAPSHOT)),
    ("MACHINE_CHANGING",
     lambda c, m: c.change(m, "properties.provisioningState", "Updating"), options(NEW, SNAPSHOT)),
    ("LOCKED_READ_ONLY", lambda c, m: c.locks.append(lock("ReadOnly")), options(NEW, SNAPSHOT)),
    ("LOCKED_CAN_NOT_DELETE", lambda c, m: c.locks.append(lock("CanNotDelete")), options(KEEP, SNAPSHOT)),
    ("IDENTITY_CHANGES", lambda c, m: c.change(m, "identity", {"type": "SystemAssigned", "principalId": "p"}),
     options(NEW, SNAPSHOT)),
    ("ALREADY_MANAGED", lambda c, m: c.change(m, "tags", {"holdfast-owner": str(OWNER)}), options(NEW, SNAPSHOT)),
    ("FOREIGN_OWNER", lambda c, m: c.change(m, "tags", {"holdfast-owner": "hf-ffffffffffff/3"}),
     options(NEW, SNAPSHOT)),
    ("CONFIDENTIAL_NEEDS_REATTACH",
     lambda c, m: c.change(m, "properties.securityProfile", {"securityType": "ConfidentialVM"}),
     options(NEW, SNAPSHOT)),
    ("WEAK_PROOF", lambda c, m: c.agents.update({m.lower(): Agent.ABSENT}), options(NEW, SNAPSHOT)),
    ("PERMISSION_MISSING", lambda c, m: c.missing_actions.add("Microsoft.Compute/snapshots/write"),
     options(NEW, SNAPSHOT)),
    ("DYNAMIC_ADDRESS", dynamic_address, options(KEEP, SNAPSHOT)),
    ("EXTENSION_UNKNOWN", lambda c, m: None, options(NEW, SNAPSHOT, recreate_extensions=("backup",))),
]  # fmt: skip


@pytest.mark.parametrize(("code", "make", "chosen"), REFUSED, ids=lambda value: value if isinstance(value, str) else "")
def test_machine_that_cannot_be_imported_is_refused_with_its_code_and_nothing_is_changed(
    rig: ImportRig, code: str, make: Callable[[FakeCloud, str], None], chosen: ImportOptions
) -> None:
    machine = rig.cloud.add_machine()
    make(rig.cloud, machine)
    rig.cloud.events.clear()

    plan = plan_of(rig, machine, chosen)

    found = [finding for finding in plan.refusals if finding.code == code]
    assert found
    assert all(finding.remedy for finding in found)
    with pytest.raises(PlanRefused):
        rig.service.start(plan, actor="test", fresh=True)
    assert rig.cloud.events == []
    with rig.database.read() as session:
        assert session.execute(_count_imports()).scalar() == 0


def _count_imports() -> Any:
    from sqlalchemy import func, select

    from holdfast.imports.records import ImportRow

    return select(func.count()).select_from(ImportRow)


@pytest.mark.parametrize("code", ["IDENTITY_CHANGES", "WEAK_PROOF"])
def test_accepted_finding_becomes_a_warning(rig: ImportRig, code: str) -> None:
    machine = rig.cloud.add_machine()
    rig.cloud.change(machine, "identity", {"type": "SystemAssigned", "principalId": "p"})
    rig.cloud.agents[machine.lower()] = Agent.ABSENT
    accepted = options(NEW, SNAPSHOT, accept=("IDENTITY_CHANGES", "WEAK_PROOF"))

    plan = plan_of(rig, machine, accepted)

    assert plan.refusals == ()
    assert code in [finding.code for finding in plan.findings]


@pytest.mark.parametrize(("network", "disks"), VARIANTS)
def test_plan_changes_nothing_and_is_the_same_again_from_its_json(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    machine = rig.cloud.add_machine()

    plan = plan_of(rig, machine, options(network, disks))

    assert rig.cloud.events == []
    assert load_plan(json.loads(json.dumps(plan_to_json(plan)))) == plan
    again = plan_of(rig, machine, options(network, disks), seed=plan.seed)
    assert again.digest == plan.digest
    assert differences(plan, again) == []


def test_plan_says_in_words_that_the_machine_object_is_deleted_before_proof_only_where_it_is(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()

    for network, disks in VARIANTS:
        plan = plan_of(rig, machine, options(network, disks))
        verbs = [action.verb for action in plan.actions]
        assert (Verb.DELETE_OBJECT in verbs) is (network is KEEP or disks is REATTACH)
        assert bool(plan.lost) is (network is KEEP or disks is REATTACH)
        if Verb.DELETE_OBJECT in verbs:
            assert verbs.index(Verb.DETACH) < verbs.index(Verb.DELETE_OBJECT) < verbs.index(Verb.LAUNCH)


def test_changed_machine_makes_the_plan_stale_and_the_difference_is_told(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    plan = plan_of(rig, machine)
    rig.cloud.change(machine, "properties.hardwareProfile.vmSize", "Standard_D4s_v5")
    rig.cloud.events.clear()

    with pytest.raises(PlanStale) as stale:
        rig.service.start(plan, actor="test")

    assert any("vmSize" in line and "D4s" in line for line in stale.value.details["differences"])
    assert rig.cloud.events == []


def test_stale_plan_says_first_why_the_machine_cannot_be_imported_any_more(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    plan = plan_of(rig, machine)
    rig.service.start(plan_of(rig, machine), actor="test", fresh=True)
    rig.cloud.change(machine, "tags", {"holdfast-owner": str(OWNER), "holdfast-operation": "op-1"})

    with pytest.raises(PlanStale) as stale:
        rig.service.start(plan, actor="test")

    first, *others = stale.value.details["differences"]
    assert first.startswith("ALREADY_MANAGED: ")
    assert others
    assert not any(line.startswith(("actions", "succession")) for line in others)


def test_changed_prices_do_not_make_a_plan_stale(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    plan = plan_of(rig, machine)
    rig.cloud.price_list = [Price("Standard_D2s_v5", "Linux", True, 0.02, rig.clock.now())]

    # Only D2s has a spot price now, so other spot sizes fall out: that is material. Its own price alone is not.
    rig.cloud.price_list += [Price(str(s["name"]), "Linux", True, 0.01, rig.clock.now()) for s in rig.cloud.size_list]
    again = plan_of(rig, machine, seed=plan.seed)

    assert again.digest == plan.digest


def test_edited_plan_is_refused(rig: ImportRig) -> None:
    told = plan_to_json(plan_of(rig, rig.cloud.add_machine()))
    told["successor_name"] = "other"

    with pytest.raises(InvalidInput) as refused:
        load_plan(told)

    assert refused.value.about == "plan.digest"


def test_unknown_machine_is_not_found(rig: ImportRig) -> None:
    with pytest.raises(HoldfastError) as missing:
        plan_of(rig, rig.cloud.ref_of("rg-1", "ghost"))

    assert missing.value.exit_code == 3


def test_markets_are_the_cheapest_known_first_then_own_size_then_on_demand(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    now = rig.clock.now()
    rig.cloud.price_list = [
        Price("Standard_D2as_v5", "Linux", True, 0.02, now),
        Price("Standard_D2s_v5", "Linux", True, 0.03, now),
        Price("Standard_D2s_v5", "Linux", False, 0.11, now),
    ]

    markets = plan_of(rig, machine).markets

    assert [(m.size, m.spot) for m in markets] == [
        ("Standard_D2as_v5", True),
        ("Standard_D2s_v5", True),
        ("Standard_D2s_v5", False),
    ]


def test_place_that_the_specification_names_and_nobody_has_is_refused_at_plan_time(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    network = {
        "resourceGroupName": "rg-1",
        "virtualNetworkName": "ghost",
        "networkInterfaces": [
            {"isPrimary": True, "subnetName": "s", "networkSecurityGroup": {"name": "n", "resourceGroupName": "rg-1"}}
        ],
    }
    node = {"resourceGroupName": "rg-2", "compute": {"launchSpecification": {"network": network}}}

    refusals = plan_of(rig, machine, node=node).refusals

    assert [(one.code, one.about) for one in refusals] == [
        ("PLACE_MISSING", "resourceGroupName"),
        ("PLACE_MISSING", "compute.launchSpecification.network"),
        ("PLACE_MISSING", "compute.launchSpecification.network.networkInterfaces"),
    ]
    assert rig.cloud.events == []


def test_on_demand_sizes_that_cannot_run_it_are_told_before_spot_capacity_fails(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    sizes = {"compute": {"vmSizes": {"odSizes": ["standard_ghost"]}}}

    plan = plan_of(rig, machine, node=sizes)
    on_purpose = plan_of(rig, machine, node={**sizes, "strategy": {"fallbackToOd": False}})

    assert [finding.code for finding in plan.findings] == ["NO_FALLBACK"]
    assert on_purpose.findings == ()


def test_regular_priority_asks_for_no_spot_and_no_fallback_means_none(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()

    regular = plan_of(rig, machine, options(NEW, SNAPSHOT, priority=Priority.REGULAR))
    strict = plan_of(rig, machine, node={"strategy": {"fallbackToOd": False}})

    assert not any(market.spot for market in regular.markets)
    assert all(market.spot for market in strict.markets)


def test_spot_without_quota_warns_and_runs_on_demand(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    rig.cloud.quota = [Headroom("lowPriorityCores", 10, 10), Headroom("cores", 0, 100)]

    plan = plan_of(rig, machine)

    assert "NO_SPOT_MARKET" in [finding.code for finding in plan.findings]
    assert [market.spot for market in plan.markets] == [False]


@pytest.mark.parametrize(
    ("given", "chosen", "field"),
    [
        ({"retention_s": -1}, {}, "retention"),
        ({"retention_s": 3600}, {}, "retention"),
        ({"draining_timeout_s": 5000}, {}, "drainingTimeout"),
        ({"probes": ("ftp://x",)}, {}, "probe"),
        ({"probes": ("tcp://host",)}, {}, "probe"),
        ({"prove_for_s": 100, "prove_timeout_s": 50}, {}, "prove"),
        ({"prove_timeout_s": 10**18}, {}, "prove"),
        ({"retention_s": 10**18}, {}, "retention"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(
    rig: ImportRig, given: dict[str, Any], chosen: dict[str, Any], field: str
) -> None:
    machine = rig.cloud.add_machine()

    with pytest.raises(HoldfastError) as refused:
        plan_of(rig, machine, ImportOptions(**given))

    assert refused.value.about == field


def test_short_retention_is_taken_when_it_is_said_in_words(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    chosen = options(NEW, SNAPSHOT, retention_s=3600, delete_originals_immediately=True)

    assert plan_of(rig, machine, chosen).options.retention_s == 3600


def test_specification_and_options_that_contradict_each_other_are_refused(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine()
    node = {"persistence": {"shouldPersistNetwork": True}}

    with pytest.raises(InvalidInput):
        plan_of(rig, machine, node=node, given=frozenset({"network"}))

    assert plan_of(rig, machine, node=node).options.network is KEEP


def test_configuration_can_be_sent_back_unchanged_and_gives_the_same_plan(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine(tags={"team": "db"})
    configuration = rig.service.configuration(rig.cloud.name, machine)

    plain = plan_of(rig, machine, seed="abcdef")
    sent_back = plan_of(rig, machine, node=configuration, seed="abcdef")

    assert "spotSizes" not in configuration["compute"]["vmSizes"]
    assert configuration["compute"]["vmSizes"]["spotSizeAttributes"]["minCpu"] == 2
    assert sent_back.succession.nics == plain.succession.nics
    assert sent_back.markets == plain.markets


def test_stopped_machine_has_no_downtime_and_needs_no_early_snapshots(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine(power=Power.DEALLOCATED)

    plan = plan_of(rig, machine)

    assert plan.downtime.usual_s == 0
    assert not any(action.role.startswith("early/") for action in plan.actions)

"""Clock, timers, faults, sizes and the market, without a lab."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Principal
from azurelab.arm.store import Resource, Store
from azurelab.world.clock import LabClock, TimeProfile, Timers
from azurelab.world.faults import Faults
from azurelab.world.market import VM_TYPE, Market
from azurelab.world.regions import REGIONS, Regions
from azurelab.world.roles import Roles
from azurelab.world.sizes import all_sizes, find_size

WEST = "westeurope"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(tmp_path / "s.sqlite3", lambda: 0.0)
    yield opened
    opened.close()


@pytest.fixture
def market(store: Store) -> Market:
    return Market(store, Regions())


def _check(market: Market, **wish: object) -> None:
    market.check(**{"location": WEST, "size": "Standard_D2s_v5", "priority": "Spot", "zone": None, **wish})  # type: ignore[arg-type]


# -- time ---------------------------------------------------------------------------------------------------------


def test_the_clock_jumps_stops_and_speeds_up_but_never_goes_back() -> None:
    real = [100.0]
    clock = LabClock(lambda: real[0])
    clock.advance(50)
    clock.set_rate(10)
    real[0] += 2
    fast = clock.now()
    clock.set_rate(0)
    real[0] += 1000

    assert fast == 170.0
    assert clock.now() == 170.0
    with pytest.raises(ValueError, match="never goes back"):
        clock.advance(-1)


def test_the_clock_goes_on_where_it_was_after_a_restart(store: Store) -> None:
    first = LabClock(lambda: 100.0)
    first.restore(store)
    first.advance(3600)

    second = LabClock(lambda: 130.0)
    second.restore(store)

    assert second.now() == 130.0 + 3600


def test_timers_fire_when_the_clock_is_moved_past_them_in_order() -> None:
    clock = LabClock(lambda: 0.0)
    timers = Timers(clock)
    fired: list[str] = []
    done = threading.Event()
    timers.at(20, lambda: (fired.append("second"), done.set())[0])
    timers.at(10, lambda: fired.append("first"))

    clock.advance(15)
    clock.advance(15)

    assert done.wait(5)
    timers.close()
    assert fired == ["first", "second"]


def test_time_profiles_scale_the_recorded_durations(store: Store) -> None:
    profile = TimeProfile(store, LabClock(lambda: 0.0))
    instant = profile.seconds(40)
    profile.set("azure", 0.5)

    assert (instant, profile.seconds(40), profile.retry_after(100)) == (0.0, 20.0, 15)


# -- faults and roles ---------------------------------------------------------------------------------------------


def test_faults_count_their_own_matches_and_end_after_their_times(store: Store) -> None:
    faults = Faults(store)
    faults.add("error", method="put", path="/disks/", nth=2, times=2)

    met = [faults.take("PUT", "/x/DISKS/d") is not None for _ in range(5)]
    other = faults.take("GET", "/x/disks/d")

    assert met == [False, True, True, False, False]
    assert other is None
    assert Faults(store).all()[0]["hits"] == 2, "a restart remembers what was met"


def test_a_fault_without_end_and_one_that_is_cleared(store: Store) -> None:
    faults = Faults(store)
    name = faults.add("throttle", times=0)

    met = [faults.take("GET", "/a")["status"] for _ in range(3)]  # type: ignore[index]
    faults.clear(name)

    assert met == [429] * 3
    assert faults.take("GET", "/a") is None
    with pytest.raises(ValueError, match="no such kind"):
        faults.add("explode")


def test_roles_match_wildcards_and_not_actions_win(store: Store) -> None:
    roles = Roles(store)
    caller = Principal("app", "oid")
    roles.set("*", ["Microsoft.Compute/*", "*/read"], ["Microsoft.Compute/disks/delete"])

    allowed = {
        action: roles.allowed(caller, action)
        for action in ("Microsoft.Compute/disks/write", "microsoft.compute/DISKS/delete", "X/y/read", "X/y/write")
    }

    assert list(allowed.values()) == [True, False, True, False]


# -- sizes --------------------------------------------------------------------------------------------------------


def test_sizes_have_the_facts_that_decide_where_disks_can_follow() -> None:
    def facts(name: str) -> dict[str, str]:
        size = find_size(name)
        assert size is not None, name
        return size.capabilities()

    assert len(all_sizes()) > 500
    assert facts("Standard_D2s_v5")["MaxResourceVolumeMB"] == "0"
    assert facts("Standard_D2s_v3")["MaxResourceVolumeMB"] == "16384"
    assert facts("Standard_D2_v3")["PremiumIO"] == "False"
    assert facts("Standard_D2_v3")["HyperVGenerations"] == "V1"
    assert facts("Standard_D2as_v6")["HyperVGenerations"] == "V2"
    assert facts("Standard_D2as_v6")["DiskControllerTypes"] == "NVMe"
    assert facts("Standard_D128ds_v6")["NvmeDiskSizeInMiB"] == "7208960"
    assert facts("Standard_D16plds_v5")["CpuArchitectureType"] == "Arm64"
    assert facts("Standard_B2s")["LowPriorityCapable"] == "False"
    assert (facts("Standard_E4-2s_v5")["vCPUs"], facts("Standard_E4-2s_v5")["vCPUsAvailable"]) == ("4", "2")
    assert "DiskControllerTypes" not in facts("Standard_D2s_v5"), "absent, as in recorded answers, means SCSI"


def test_every_region_that_the_product_names_is_there() -> None:
    names = {r.name for r in REGIONS}

    assert {"germanywestcentral", "northeurope", "westeurope", "swedencentral", "westus", "westus3", "eastus2"} <= names
    assert Regions().normalise("West Europe") == WEST
    assert Regions().normalise("Atlantis") is None


# -- market -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "wish", "code"),
    [
        ({"priority": "spot"}, {}, "SkuNotAvailable"),
        ({"priority": "regular"}, {"priority": "Regular"}, "AllocationFailed"),
        ({"priority": "regular", "zone": "2"}, {"priority": "Regular", "zone": "2"}, "ZonalAllocationFailed"),
    ],
)
def test_capacity_that_is_gone_is_refused_in_azures_words(
    market: Market, limits: dict[str, str], wish: dict[str, str], code: str
) -> None:
    market.set_capacity(location=WEST, left=0, **limits)

    with pytest.raises(ArmError) as refused:
        _check(market, **wish)

    assert refused.value.code == code
    _check(market, location="northeurope")


def test_capacity_counts_down(market: Market) -> None:
    market.set_capacity(size="Standard_D2s_v5", left=2)
    _check(market)
    _check(market)

    with pytest.raises(ArmError, match="SkuNotAvailable"):
        _check(market)
    _check(market, size="Standard_D4s_v5")


def test_quota_counts_spot_apart_and_names_limit_usage_and_need(market: Market, store: Store) -> None:
    at = f"/subscriptions/s/resourceGroups/g/providers/{VM_TYPE}/vm"
    doc = {"id": at, "name": "vm", "location": WEST, "properties": {"priority": "Spot"}}
    store.put(Resource(at, VM_TYPE, doc, {"allocated": {"size": "Standard_D4s_v5"}}))
    market.set_quota(WEST, "lowPriorityCores", 5)

    with pytest.raises(ArmError) as refused:
        _check(market, subscription="s")
    _check(market, subscription="s", priority="Regular")
    _check(market, subscription="s", already=at)

    assert refused.value.code == "OperationNotAllowed"
    assert "LowPriorityCores quota" in refused.value.message
    assert (
        "Current Limit: 5, Current Usage: 4, Additional Required: 2, (Minimum) New Limit Required: 6"
        in refused.value.message
    )


def test_what_is_not_sold_to_this_subscription_is_not_available(market: Market) -> None:
    market.restrict(WEST, "Standard_D2s_v5")
    with pytest.raises(ArmError, match="SkuNotAvailable"):
        _check(market)
    market.unrestrict(WEST, "Standard_D2s_v5")
    _check(market)

    with pytest.raises(ArmError, match="InvalidParameter"):
        _check(market, size="Standard_Nothing")
    with pytest.raises(ArmError, match="InvalidParameter"):
        _check(market, size="Standard_B2s")


def test_a_spot_price_above_the_maximum_is_refused_and_minus_one_means_any(market: Market) -> None:
    market.set_price(WEST, "Standard_D2s_v5", 0.05)

    with pytest.raises(ArmError, match="SpotPriceGreaterThanProvidedMaxPrice"):
        _check(market, max_price=0.04)
    _check(market, max_price=0.05)
    _check(market, max_price=-1.0)


def test_spot_is_cheaper_than_on_demand_and_windows_dearer_than_linux(market: Market) -> None:
    for name in ("Standard_D2s_v5", "Standard_E8as_v5", "Standard_F2s_v2"):
        size = find_size(name)
        assert size is not None
        assert market.price(WEST, size, spot=True) < 0.5 * market.price(WEST, size, spot=False)
        assert market.price(WEST, size, spot=False) < market.price(WEST, size, spot=False, windows=True)

"""The funnel: counts after each rule, every refusal with all its reasons, and the nearest misses when none is left."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.sizes import (
    MachineTraits,
    NoSizeMatches,
    PriceBook,
    Priority,
    Size,
    SizeWish,
    price_table,
    qualify,
    require_some,
    same_attributes,
)
from holdfast.market.deciding.sizes.answer import sizes_for
from holdfast.market.deciding.sizes.wish import wish_from_vm_sizes

TODAY = date(2026, 1, 5)


def size(name: str, vcpus: int = 4, memory: float = 16, **capabilities: str) -> Size:
    told = {
        "vCPUs": str(vcpus),
        "MemoryGB": str(memory),
        "HyperVGenerations": "V1,V2",
        "LowPriorityCapable": "True",
        "MaxResourceVolumeMB": "0",
        "MaxNetworkInterfaces": "2",
        "MaxDataDiskCount": "8",
        **capabilities,
    }
    return Size(name, "family", "westeurope", frozenset({"1", "2"}), told)


MACHINE = MachineTraits(name="db-1", location="westeurope", own_size="Standard_D4s_v5", zone="1")
SIZES = [
    size("Standard_D4s_v5"),
    size("Standard_D4as_v5"),
    size("Standard_D8s_v5", 8, 32),
    size("Standard_E4s_v5", 4, 32, LowPriorityCapable="False"),
]


def test_counts_fall_after_each_rule_and_end_with_the_qualified():
    funnel = qualify(MACHINE, SIZES, SizeWish(min_cpu=4, max_cpu=4), today=TODAY)

    assert funnel.stages[0].remain == 4
    assert funnel.remaining("size.spot") == 3
    assert funnel.remaining("size.vcpus") == 2
    assert funnel.stages[-1].remain == len(funnel.qualified) == 2


def test_a_refused_size_tells_all_its_reasons_not_only_the_first():
    funnel = qualify(MACHINE, SIZES, SizeWish(max_memory_gib=16), today=TODAY)

    refused = next(r for r in funnel.refused if r.name == "Standard_E4s_v5")
    assert [r.code for r in refused.reasons] == ["size.spot", "size.memory"]


def test_same_attributes_of_a_size_keep_its_equals_and_itself_as_on_demand_size():
    wish = same_attributes(SIZES[0])

    funnel = qualify(MACHINE, SIZES, wish, today=TODAY)

    assert funnel.names == ("Standard_D4as_v5", "Standard_D4s_v5")
    assert wish.od_sizes == ("Standard_D4s_v5",)


def test_named_sizes_are_the_whole_field_and_unknown_names_are_refused():
    wish = SizeWish(spot_sizes=("standard_d8S_v5", "Standard_Nope"), min_cpu=64)

    funnel = qualify(MACHINE, SIZES, wish, today=TODAY)

    assert funnel.names == ("Standard_D8s_v5",)
    assert [(r.name, r.reasons[0].code) for r in funnel.refused] == [("Standard_Nope", "size.unknown")]
    assert [s.remain for s in funnel.stages[:2]] == [2, 1]


def test_excluded_and_storage_ranges_refuse_by_their_own_rules():
    funnel = qualify(MACHINE, SIZES, SizeWish(excluded=("STANDARD_D4S_V5",), min_storage_gib=1), today=TODAY)

    refused = {r.name: [x.code for x in r.reasons] for r in funnel.refused}
    assert refused["Standard_D4s_v5"] == ["size.excluded", "size.storage"]
    assert refused["Standard_D8s_v5"] == ["size.storage"]


def test_attributes_that_match_nothing_are_refused_with_the_nearest_misses():
    funnel = qualify(MACHINE, SIZES, SizeWish(min_cpu=64), today=TODAY)

    with pytest.raises(NoSizeMatches) as refused:
        require_some(funnel, "westeurope")

    assert refused.value.exit_code == 4
    assert "at least 64 asked for" in refused.value.message
    assert refused.value.details["misses"][0]["size"] == "Standard_D4as_v5"


def test_on_demand_sizes_are_checked_by_the_same_rules_without_the_spot_rule():
    wish = SizeWish(od_sizes=("Standard_E4s_v5", "Standard_M"))

    funnel = qualify(MACHINE, SIZES, wish, today=TODAY, priority=Priority.ON_DEMAND)

    assert funnel.names == ("Standard_E4s_v5",)
    assert [r.name for r in funnel.refused] == ["Standard_M"]


def test_an_unknown_price_is_unknown_and_never_zero():
    funnel = qualify(MACHINE, SIZES, SizeWish(preferred=("Standard_D8s_v5",)), today=TODAY)

    rows = price_table(funnel, PriceBook(spot={"standard_d4as_v5": 0.05}, dated="2026-01-01"))

    assert [r.name for r in rows] == ["Standard_D8s_v5", "Standard_D4as_v5", "Standard_D4s_v5"]
    assert [r.spot_per_month for r in rows] == [None, 36.5, None]
    answer = sizes_for(MACHINE, SIZES, SizeWish(), today=TODAY).to_json()
    assert {row["spotCostPerMonth"] for row in answer["sizes"]} == {"unknown"}


def test_vm_sizes_are_read_with_both_spellings_and_unknown_fields_are_refused_by_path():
    wish = wish_from_vm_sizes(
        {"odSizes": ["a"], "spotSizeAttributes": {"minCpu": 2, "MaxStorage": 10, "minMemory": None}}
    )

    assert (wish.min_cpu, wish.max_storage_gib, wish.min_memory_gib) == (2, 10, None)
    with pytest.raises(InvalidInput) as refused:
        wish_from_vm_sizes({"spotSizeAttributes": {"minGpu": 1}})
    assert refused.value.about == "compute.vmSizes.spotSizeAttributes.minGpu"
    with pytest.raises(InvalidInput):
        wish_from_vm_sizes({"spotSizes": ["a"], "preferredSpotSizes": ["b"]})


@given(
    st.lists(
        st.tuples(
            st.sampled_from([2, 4, 8]),
            st.sampled_from([8, 16, 32]),
            st.sampled_from(["True", "False"]),
            st.sampled_from(["V1", "V2", "V1,V2"]),
        ),
        max_size=20,
    )
)
def test_every_size_is_either_qualified_or_refused_and_the_counts_agree(drawn: list[tuple[int, int, str, str]]):
    sizes = [
        size(f"Standard_D{i}s_v5", c, m, LowPriorityCapable=spot, HyperVGenerations=gen)
        for i, (c, m, spot, gen) in enumerate(drawn)
    ]

    funnel = qualify(MACHINE, sizes, SizeWish(min_cpu=4), today=TODAY)

    remain = [s.remain for s in funnel.stages]
    assert remain == sorted(remain, reverse=True)
    assert remain[-1] == len(funnel.qualified)
    assert {r.name for r in funnel.refused} | set(funnel.names) == {s.name for s in sizes}
    assert len(funnel.refused) + len(funnel.qualified) == len(sizes)
    assert all(q.zones or q.regional for q in funnel.qualified)

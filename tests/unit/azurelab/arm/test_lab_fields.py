"""What Azure's deserialiser does with a body: refuses, converts, spells, and leaves the rest alone."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from azurelab.arm.errors import ArmError
from azurelab.arm.fields import check_fields, fields_of
from azurelab.arm.types import ResourceType

_TABLE = fields_of(
    """
properties! object
properties.size int
properties.rate number
properties.on bool
properties.mode enum Off|OnDemand
properties.disks[].lun! int
properties.disks[].link.id text
properties.names[] text
"""
)
_COMPUTE = ResourceType(name="Microsoft.Test/things")
_NETWORK = ResourceType(name="Microsoft.Test/nets", body_error="InvalidRequestFormat")


def _read(**properties: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"properties": properties}
    check_fields(_COMPUTE, _TABLE, body)
    return dict(body["properties"])


@pytest.mark.parametrize(
    ("given_value", "read"),
    [
        ({"size": "12"}, {"size": 12}),
        ({"size": 12.0}, {"size": 12}),
        ({"rate": "0.5"}, {"rate": 0.5}),
        ({"rate": -1}, {"rate": -1}),
        ({"on": "True"}, {"on": True}),
        ({"mode": "ondemand"}, {"mode": "OnDemand"}),
        ({"names": ["a", 1]}, {"names": ["a", "1"]}),
        ({"disks": [{"lun": "3"}]}, {"disks": [{"lun": 3}]}),
        ({"size": None, "unknown": {"x": [1]}}, {"size": None, "unknown": {"x": [1]}}),
    ],
)
def test_numbers_truth_and_words_are_read_from_what_says_them(given_value: dict[str, Any], read: Any) -> None:
    assert _read(**given_value) == read


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": "many"},
        {"size": 1.5},
        {"size": True},
        {"size": {}},
        {"on": 1},
        {"on": "perhaps"},
        {"mode": "Sometimes"},
        {"mode": ["Off"]},
        {"disks": {}},
        {"disks": ["text"]},
        {"disks": [{}]},
        {"disks": [{"lun": 1, "link": "text"}]},
        {"disks": [{"lun": 1, "link": {"id": {}}}]},
        {"names": [{}]},
    ],
)
def test_wrong_kinds_words_and_absent_fields_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ArmError) as refused:
        _read(**wrong)

    assert (refused.value.status, refused.value.code) == (400, "InvalidParameter")
    assert refused.value.target is not None


def test_compute_names_the_field_as_target_and_the_network_tells_it_in_details() -> None:
    with pytest.raises(ArmError) as compute:
        check_fields(_COMPUTE, _TABLE, {"properties": {"mode": "x"}})
    with pytest.raises(ArmError) as network:
        check_fields(_NETWORK, _TABLE, {"properties": {"mode": "x"}})

    assert compute.value.target == "mode"
    assert network.value.error()["details"][0]["code"] == "InvalidJson"
    assert "target" not in network.value.error()


@settings(max_examples=80, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["size", "rate", "on", "mode", "names", "other"]),
        st.one_of(st.integers(), st.booleans(), st.text(max_size=4), st.lists(st.text(max_size=3)), st.just("Off")),
    )
)
def test_what_was_read_once_is_read_again_without_a_change(properties: dict[str, Any]) -> None:
    body = {"properties": properties}
    try:
        check_fields(_COMPUTE, _TABLE, body)
    except ArmError:
        return
    once = copy.deepcopy(body)

    check_fields(_COMPUTE, _TABLE, body)

    assert body == once

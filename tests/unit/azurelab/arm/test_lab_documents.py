"""Merging bodies into documents, field checks, ids and routes: pure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from azurelab.arm.documents import merge_patch, merge_put, respell, without_nulls
from azurelab.arm.errors import ArmError
from azurelab.arm.fields import check_fields
from azurelab.arm.http import Response
from azurelab.arm.ids import parse_id
from azurelab.arm.routing import Routes
from azurelab.arm.store import Resource
from azurelab.arm.types import Field, ResourceType, Route

_TYPE = ResourceType(
    name="Microsoft.Test/things",
    readonly=("properties.made", "managedBy"),
    fields=(
        Field(path="properties.mode", values=("On", "Off"), required=True),
        Field(path="properties.items[].size", kind=int),
    ),
)
_JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=10,
)


def _stored(**doc: Any) -> Resource:
    return Resource(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Test/things/t", _TYPE.name, {"name": "t", **doc}
    )


def test_put_replaces_all_but_what_clients_cannot_set() -> None:
    before = _stored(properties={"made": "then", "a": 1}, managedBy="vm", tags={"old": "x"})

    doc = merge_put(_TYPE, before, {"properties": {"made": "forged", "b": None, "c": 2}, "managedBy": "me"})

    assert doc == {"properties": {"made": "then", "c": 2}, "managedBy": "vm"}


def test_patch_merges_objects_replaces_lists_and_tags_and_removes_nulls() -> None:
    before = _stored(properties={"made": "then", "deep": {"a": 1, "b": 2}, "list": [1, 2]}, tags={"old": "x"})

    doc = merge_patch(
        _TYPE,
        before,
        {"properties": {"made": "no", "deep": {"b": None, "c": 3}, "list": [9]}, "tags": {"new": "y"}, "name": "u"},
    )

    assert doc == {
        "name": "t", "properties": {"made": "then", "deep": {"a": 1, "c": 3}, "list": [9]}, "tags": {"new": "y"},
    }  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.dictionaries(st.text(min_size=1, max_size=5), _JSON, max_size=4))
def test_put_loses_nothing_but_nulls(body: dict[str, Any]) -> None:
    open_type = ResourceType(name="Microsoft.Test/open")

    assert merge_put(open_type, None, body) == without_nulls(body)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(body=st.dictionaries(st.text(min_size=1, max_size=5), _JSON, max_size=4))
def test_an_empty_patch_changes_nothing(body: dict[str, Any]) -> None:
    before = Resource(
        "/subscriptions/s/resourceGroups/g/providers/Microsoft.Test/things/t", "Microsoft.Test/open", body
    )

    assert merge_patch(ResourceType(name="Microsoft.Test/open"), before, {}) == body


@pytest.mark.parametrize(
    "body",
    [
        {"properties": {}},
        {"properties": {"mode": 1}},
        {"properties": {"mode": "Sometimes"}},
        {"properties": {"mode": "On", "items": [{"size": 1}, {"size": "big"}]}},
        {"properties": {"mode": "On", "items": [{"size": True}]}},
    ],
)
def test_wrong_kinds_and_words_are_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ArmError) as refused:
        check_fields(_TYPE, _TYPE.fields, body)

    assert (refused.value.status, refused.value.code) == (400, "InvalidParameter")


@pytest.mark.parametrize("body", [{"properties": {"mode": "oFF"}}, {"properties": {"mode": "On", "items": [{}]}}, {}])
def test_words_compare_without_case_and_absent_objects_need_nothing(body: dict[str, Any]) -> None:
    check_fields(_TYPE, _TYPE.fields, body)


def test_member_names_are_respelled_but_tags_are_the_users_own() -> None:
    spelling = {"id": "id", "frontendport": "frontendPort"}

    assert respell({"Id": 1, "FrontendPort": [{"ID": 2}], "tags": {"Id": "x"}}, spelling) == {
        "id": 1, "frontendPort": [{"id": 2}], "tags": {"Id": "x"},
    }  # fmt: skip


def test_ids_are_parsed_by_their_last_provider_and_echo_names() -> None:
    vm = parse_id("/subscriptions/S/resourcegroups/RG/providers/Microsoft.Compute/virtualMachines/Vm1/extensions/e")
    lock = parse_id("/subscriptions/S/resourceGroups/RG/providers/A.B/c/d/providers/Microsoft.Authorization/locks/l")
    start = parse_id("/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/Vm1/start")
    group = parse_id("/subscriptions/S/resourceGroups/RG")

    assert vm is not None
    assert lock is not None
    assert start is not None
    assert group is not None
    assert vm.text == "/subscriptions/S/resourceGroups/RG/providers/Microsoft.Compute/virtualMachines/Vm1/extensions/e"
    assert (vm.group, vm.name, vm.type) == ("RG", "e", "Microsoft.Compute/virtualMachines/extensions")
    assert vm.parent is not None
    assert vm.parent.name == "Vm1"
    assert (lock.scope, lock.is_resource) == ("/subscriptions/S/resourceGroups/RG/providers/A.B/c/d", True)
    assert (start.is_resource, start.types) == (False, ("virtualMachines", "start"))
    assert (group.name, group.text) == ("RG", "/subscriptions/S/resourceGroups/RG")
    assert parse_id("/subscriptions/S") is None


def test_routes_prefer_literal_words_and_fall_back_to_names() -> None:
    def route(path: str) -> Route:
        return Route(method="GET", path=path, handle=lambda call, params: Response(200, path))

    routes = Routes([route("/a/{x}/c"), route("/a/b/{y}"), route("/files/{rest...}")])

    def found(path: str) -> Any:
        hit = routes.find("GET", path)
        return (hit[0].path, hit[1]) if hit else None

    assert found("/A/b/C") == ("/a/b/{y}", {"y": "C"})
    assert found("/a/z/C") == ("/a/{x}/c", {"x": "z"})
    assert found("/files/1/2/3") == ("/files/{rest...}", {"rest": "1/2/3"})
    assert found("/a/b") is None
    assert routes.find("POST", "/a/b/c") is None

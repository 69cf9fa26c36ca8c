"""What a PUT or PATCH of a machine means on top of what is stored."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from azurelab.arm.errors import ArmError
from azurelab.arm.store import Resource, clone
from azurelab.compute.virtual_machines.documents import merge_patch, merge_put, take_secrets

ID = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/virtualMachines/v"


def stored(properties: dict[str, Any], **doc: Any) -> Resource:
    return Resource(ID, "Microsoft.Compute/virtualMachines", {"name": "v", "properties": properties, **doc})


def test_a_put_keeps_what_it_leaves_out_and_never_changes_the_vm_id() -> None:
    before = stored({"vmId": "1", "hardwareProfile": {"vmSize": "a"}, "licenseType": "x"}, tags={"t": "1"})

    doc = merge_put(before, {"location": "l", "properties": {"vmId": "2", "hardwareProfile": {"vmSize": "b"}}})

    assert doc["properties"] == {"vmId": "1", "hardwareProfile": {"vmSize": "b"}, "licenseType": "x"}
    assert doc["tags"] == {"t": "1"}


def test_tags_and_lists_replace_and_null_removes() -> None:
    before = stored(
        {"storageProfile": {"dataDisks": [{"lun": 0}], "osDisk": {"name": "o"}}, "userData": "x"}, tags={"a": "1"}
    )
    kept = clone(before.doc)

    doc = merge_patch(
        before, {"tags": {"b": "2"}, "properties": {"userData": None, "storageProfile": {"dataDisks": []}}}
    )

    assert doc["tags"] == {"b": "2"}
    assert doc["properties"] == {"storageProfile": {"dataDisks": [], "osDisk": {"name": "o"}}}
    assert before.doc == kept


def test_secrets_leave_the_document_and_custom_data_is_kept_aside() -> None:
    custom = base64.b64encode(b"#cloud-config").decode()
    vm = stored({"osProfile": {"adminUsername": "u", "adminPassword": "p", "customData": custom}, "userData": custom})

    take_secrets(vm)

    assert vm.properties == {"osProfile": {"adminUsername": "u"}}
    assert vm.hidden == {"custom_data": custom, "user_data": custom}


@pytest.mark.parametrize("text", ["not base64!", base64.b64encode(bytes(65536)).decode()])
def test_custom_data_that_is_not_base64_or_too_long_is_refused(text: str) -> None:
    with pytest.raises(ArmError) as error:
        take_secrets(stored({"osProfile": {"customData": text}}))

    assert (error.value.code, error.value.target) == ("InvalidParameter", "customData")

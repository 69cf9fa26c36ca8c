"""The documents that a succession composes: what is repeated, what is left out; Azure's schemas accept them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from fakes.call import FakeCall
from holdfast.clouds.azure.succession import (
    at_market,
    detach_parts,
    recreated,
    restore_options,
    with_pools,
    without_pools,
)
from holdfast.clouds.azure.succession.names import all_fitted, fitted
from holdfast.clouds.azure.succession.network import pools_of
from holdfast.clouds.documents import Document
from holdfast.imports.options import DiskSource, NetworkSource
from story.imports.import_rig import VARIANTS, ImportRig, options, rigs

SHARED = Path(os.environ.get("HOLDFAST_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture
def rig(tmp_path: Path) -> Any:
    yield from rigs(tmp_path)


def succession_of(rig: ImportRig, machine: str, network: NetworkSource, disks: DiskSource) -> Any:
    return rig.service.plan(rig.cloud.name, machine, options(network, disks)).succession


def rich_machine(rig: ImportRig) -> str:
    machine = rig.cloud.add_machine(tags={"team": "db"}, zones=("2",), data_disks=2)
    rig.cloud.change(machine, "properties.licenseType", "RHEL_BYOS")
    rig.cloud.change(machine, "properties.diagnosticsProfile", {"bootDiagnostics": {"enabled": True}})
    rig.cloud.change(machine, "properties.securityProfile", {"encryptionAtHost": True})
    rig.cloud.change(machine, "plan", {"name": "n", "publisher": "p", "product": "o"})
    identity = {"type": "UserAssigned", "userAssignedIdentities": {"/x/id": {"principalId": "p", "clientId": "c"}}}
    rig.cloud.change(machine, "identity", identity)
    return machine


def test_successor_repeats_what_a_user_would_miss(rig: ImportRig) -> None:
    machine = rich_machine(rig)

    body = succession_of(rig, machine, NetworkSource.NEW, DiskSource.SNAPSHOT).machine.body

    assert body["tags"] == {"team": "db"}
    assert body["plan"] == {"name": "n", "publisher": "p", "product": "o"}
    assert body["identity"] == {"type": "UserAssigned", "userAssignedIdentities": {"/x/id": {}}}
    properties = body["properties"]
    assert properties["licenseType"] == "RHEL_BYOS"
    assert properties["securityProfile"] == {"encryptionAtHost": True}
    assert "osProfile" not in properties
    assert "imageReference" not in properties["storageProfile"]
    disks = [properties["storageProfile"]["osDisk"], *properties["storageProfile"]["dataDisks"]]
    assert {disk["deleteOption"] for disk in disks} == {"Detach"}
    assert {disk["createOption"] for disk in disks} == {"Attach"}
    assert [disk["lun"] for disk in properties["storageProfile"]["dataDisks"]] == [0, 1]


def test_new_disks_stay_in_the_zone_with_the_sku_of_the_originals(rig: ImportRig) -> None:
    machine = rich_machine(rig)

    disks = succession_of(rig, machine, NetworkSource.NEW, DiskSource.SNAPSHOT).disks

    assert {tuple(disk.body["zones"]) for disk in disks.values()} == {("2",)}
    assert {disk.body["sku"]["name"] for disk in disks.values()} == {"Premium_LRS"}
    assert disks["os-disk"].get("properties.hyperVGeneration") == "V2"
    assert disks["os-disk"].name.endswith("-osDisk")


def test_spot_market_deallocates_on_eviction_and_regular_says_nothing_of_spot(rig: ImportRig) -> None:
    machine = succession_of(rig, rig.cloud.add_machine(), NetworkSource.NEW, DiskSource.SNAPSHOT).machine

    spot = at_market(machine, "Standard_D2s_v5", "1", spot=True)
    regular = at_market(spot, "Standard_D2s_v5", None, spot=False)

    assert spot.get("properties.evictionPolicy") == "Deallocate"
    assert spot.body["zones"] == ["1"]
    assert regular.get("properties.priority") == "Regular"
    assert regular.get("properties.billingProfile") is None
    assert "zones" not in regular.body


def test_recreated_original_keeps_ids_luns_caching_and_delete_options(rig: ImportRig) -> None:
    machine = rig.cloud.add_machine(delete_option="Delete")
    facts = rig.cloud.describe(machine)

    again = recreated(facts.machine)

    assert again.ref == facts.machine.ref
    assert again.get("properties.osProfile") is None
    was, now = facts.machine.get("properties.storageProfile"), again.get("properties.storageProfile")
    for old, new in zip([was["osDisk"], *was["dataDisks"]], [now["osDisk"], *now["dataDisks"]], strict=True):
        assert new["managedDisk"]["id"] == old["managedDisk"]["id"]
        assert (new["deleteOption"], new["caching"], new.get("lun")) == (
            old["deleteOption"], old["caching"], old.get("lun"))  # fmt: skip
        assert new["createOption"] == "Attach"


def test_detaching_changes_only_what_would_be_deleted_and_can_be_taken_back(rig: ImportRig) -> None:
    careful = rig.cloud.describe(rig.cloud.add_machine("careful")).machine
    careless = rig.cloud.describe(rig.cloud.add_machine("careless", delete_option="Delete")).machine

    assert detach_parts(careful) is None
    patch = detach_parts(careless)
    assert patch is not None
    assert patch["properties"]["storageProfile"]["osDisk"]["deleteOption"] == "Detach"
    assert restore_options(careless, careless) is None
    detached = rig.cloud.patch(FakeCall(), careless.ref, patch)
    late = {"lun": 7, "managedDisk": {"id": "/x/late"}, "deleteOption": "Detach"}
    disks = detached.get("properties.storageProfile.dataDisks")
    attached = detached.with_value("properties.storageProfile.dataDisks", [*disks, late])
    back = restore_options(careless, attached)
    assert back is not None
    assert back["properties"]["storageProfile"]["osDisk"]["deleteOption"] == "Delete"
    assert back["properties"]["storageProfile"]["dataDisks"][-1] == late  # what came since stays as it is


def test_pools_are_left_and_joined_again_by_name_or_by_place() -> None:
    pool = {"id": "/x/pools/a"}
    original = _card("ipconfig1", {"loadBalancerBackendAddressPools": [pool], "subnet": {"id": "/s"}})
    renamed = _card("primary", {"subnet": {"id": "/s"}})

    out = without_pools(original)

    assert pools_of(out) == []
    assert out.get("properties.ipConfigurations")[0]["properties"]["subnet"] == {"id": "/s"}
    assert pools_of(with_pools(out, original)) == ["/x/pools/a"]
    assert pools_of(with_pools(renamed, original)) == ["/x/pools/a"]
    assert with_pools(original, original).body == original.body


def _card(name: str, properties: dict[str, Any]) -> Document:
    body = {"location": "l", "properties": {"ipConfigurations": [{"name": name, "properties": properties}]}}
    return Document("/x/nic", "Microsoft.Network/networkInterfaces", "2024-05-01", body)


@pytest.mark.parametrize("length", [1, 60, 80, 200])
def test_names_fit_into_azures_eighty_characters(length: int) -> None:
    name = fitted("n" * length, "-hf-abcdef-final")

    assert len(name) <= 80
    assert name.endswith("-hf-abcdef-final")


def test_disks_whose_names_differ_late_or_not_at_all_have_snapshots_of_different_names() -> None:
    long = "x" * 76
    stems: dict[int | None, str] = {None: long + "-os", 0: long + "-d0", 1: "Data", 2: "data"}

    names = all_fitted(stems, "-hf-abcdef-final")

    assert len({name.lower() for name in names.values()}) == len(stems)
    assert all(len(name) <= 80 and name.endswith("-hf-abcdef-final") for name in names.values())
    assert all_fitted(stems, "-hf-abcdef-final") == names


@pytest.mark.parametrize(("network", "disks"), VARIANTS)
def test_azures_own_schemas_accept_every_composed_document(
    rig: ImportRig, network: NetworkSource, disks: DiskSource
) -> None:
    schemas = SHARED / "contracts" / "arm" / "schemas"
    if not schemas.is_dir():
        pytest.skip(f"Azure's schemas are not at {schemas}")
    succession = succession_of(rig, rich_machine(rig), network, disks)
    made = (succession.final, succession.disks, succession.public_ips, succession.nics)
    documents = [document for kind in made for document in kind.values()]
    documents.append(at_market(succession.machine, "Standard_D2s_v5", "2", spot=True))

    for document in documents:
        assert _problems(schemas, document) == [], document.ref


def _problems(schemas: Path, document: Document) -> list[str]:
    from jsonschema import Draft4Validator
    from referencing import Registry, Resource
    from referencing.jsonschema import DRAFT4

    loaded = [json.loads(path.read_text()) for path in sorted(schemas.rglob("*.json"))]
    resources = [Resource.from_contents(one, default_specification=DRAFT4) for one in loaded]
    registry: Any = Registry().with_resources(
        [(str(one["id"]).rstrip("#"), resource) for one, resource in zip(loaded, resources, strict=True)]
    )
    short = document.type.split("/", 1)[1].replace("/", "_")
    home = next(one for one in loaded if short in one.get("resourceDefinitions", {}))
    version = home["resourceDefinitions"][short]["properties"]["apiVersion"]["enum"][0]
    reference = f"{str(home['id']).rstrip('#')}#/resourceDefinitions/{short}"
    body = {**document.body, "type": document.type, "apiVersion": version, "name": document.name}
    body["properties"] = {k: v for k, v in body["properties"].items() if k != "hardwareProfile"}
    return [error.message[:200] for error in Draft4Validator({"$ref": reference}, registry=registry).iter_errors(body)]

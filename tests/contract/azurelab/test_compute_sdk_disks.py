"""Disks, snapshots and images through the clients of azure-mgmt-compute and azure-storage-blob."""

from __future__ import annotations

import os
from collections.abc import Iterator

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobClient
from sdk_lab import MIB, REGION, SdkLab

from azurelab.disks.vhd import make_footer


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkLab]:
    running = SdkLab.start(tmp_path_factory.mktemp("lab"))
    yield running
    assert running.lab.bugs == []
    running.lab.close()


def refused(error: pytest.ExceptionInfo[HttpResponseError]) -> str:
    assert error.value.error is not None
    return str(error.value.error.code)


# -- disks and snapshots ----------------------------------------------------------------------------------------------


def test_a_snapshot_taken_from_a_running_machine_can_be_downloaded_compared_and_restored(lab: SdkLab) -> None:
    vm = lab.vm(data_gib=(1,))
    data = vm.storage_profile.data_disks[0].managed_disk.id
    lab.write(data, 0, os.urandom(MIB))
    old = lab.snapshot(data)
    lab.write(data, 8192, b"new!" * 1024)
    lab.clear(data, 65536, 8192)
    new = lab.snapshot(data)
    assert old.incremental_snapshot_family_id == new.incremental_snapshot_family_id

    def blob(snapshot: str) -> BlobClient:
        access = lab.compute.snapshots.begin_grant_access(
            lab.group, snapshot, {"access": "Read", "durationInSeconds": 3600}
        ).result()
        return BlobClient.from_blob_url(access.access_sas)

    old_blob, new_blob = blob(old.name), blob(new.name)
    changed, cleared = new_blob.get_page_range_diff_for_managed_disk(old_blob.url)
    content = new_blob.download_blob(length=MIB, offset=0).readall()
    restored = lab.copy(new.id)

    assert [(r["start"], r["end"]) for r in changed] == [(8192, 12287)]
    assert [(r["start"], r["end"]) for r in cleared] == [(65536, 73727)]
    assert content == lab.read(data, 0, MIB) == lab.read(restored.id, 0, MIB)
    assert new_blob.get_blob_properties().size == (1 << 30) + 512
    assert lab.compute.snapshots.get(lab.group, new.name).disk_state == "ActiveSAS"
    with pytest.raises(HttpResponseError):
        lab.compute.snapshots.begin_delete(lab.group, new.name).result()
    lab.compute.snapshots.begin_revoke_access(lab.group, new.name).result()
    with pytest.raises(HttpResponseError):
        new_blob.download_blob(length=10, offset=0)
    lab.compute.snapshots.begin_delete(lab.group, new.name).result()
    assert lab.read(restored.id, 8192, 4) == b"new!"


def test_an_upload_below_one_gib_keeps_its_exact_size_and_starts_a_machine(lab: SdkLab) -> None:
    size = 24 * MIB
    creation = {"createOption": "Upload", "uploadSizeBytes": size + 512}
    body = {
        "location": REGION,
        "properties": {"creationData": creation, "osType": "Linux", "hyperVGeneration": "V2"},
    }
    disk = lab.compute.disks.begin_create_or_update(lab.group, "up", body).result()
    assert (disk.disk_state, disk.disk_size_bytes, disk.disk_size_gb) == ("ReadyToUpload", size, 1)

    access = lab.compute.disks.begin_grant_access(
        lab.group, "up", {"access": "Write", "durationInSeconds": 3600}
    ).result()
    assert lab.compute.disks.get(lab.group, "up").disk_state == "ActiveUpload"
    blob = BlobClient.from_blob_url(access.access_sas)
    content = os.urandom(4 * MIB)
    blob.upload_page(content, offset=4 * MIB, length=len(content))
    blob.upload_page(make_footer(size), offset=size, length=512)
    lab.compute.disks.begin_revoke_access(lab.group, "up").result()

    assert lab.compute.disks.get(lab.group, "up").disk_state == "Unattached"
    snapshot = lab.snapshot(disk.id)
    assert snapshot.disk_size_bytes == size
    sas = lab.compute.snapshots.begin_grant_access(
        lab.group, snapshot.name, {"access": "Read", "durationInSeconds": 60}
    ).result()
    assert int(httpx.head(sas.access_sas).headers["content-length"]) == size + 512
    lab.attached_vm(disk.id, "from-upload")
    assert lab.power("from-upload") == "running"
    assert lab.read(disk.id, 4 * MIB, 4 * MIB) == content


def test_an_upload_with_a_footer_that_is_none_cannot_be_ended(lab: SdkLab) -> None:
    size = 20 * MIB
    creation = {"createOption": "Upload", "uploadSizeBytes": size + 512}
    name = lab.name("bad-footer")
    lab.compute.disks.begin_create_or_update(
        lab.group, name, {"location": REGION, "properties": {"creationData": creation}}
    ).result()
    access = lab.compute.disks.begin_grant_access(
        lab.group, name, {"access": "Write", "durationInSeconds": 3600}
    ).result()
    BlobClient.from_blob_url(access.access_sas).upload_page(b"not a footer".ljust(512, b"."), offset=size, length=512)

    with pytest.raises(HttpResponseError) as error:
        lab.compute.disks.begin_revoke_access(lab.group, name).result()

    assert refused(error) == "BadRequest"
    assert lab.compute.disks.get(lab.group, name).disk_state == "ActiveUpload"


def test_only_five_snapshots_of_a_family_have_a_sas_at_once(lab: SdkLab) -> None:
    disk = lab.disk()
    names = [lab.snapshot(disk.id).name for _ in range(6)]
    ask = {"access": "Read", "durationInSeconds": 600}
    for name in names[:5]:
        lab.compute.snapshots.begin_grant_access(lab.group, name, ask).result()

    with pytest.raises(HttpResponseError) as error:
        lab.compute.snapshots.begin_grant_access(lab.group, names[5], ask).result()
    lab.compute.snapshots.begin_revoke_access(lab.group, names[0]).result()
    lab.compute.snapshots.begin_grant_access(lab.group, names[5], ask).result()

    assert refused(error) == "OperationNotAllowed"


def test_snapshots_of_disks_of_one_name_made_twice_are_of_two_families(lab: SdkLab) -> None:
    name = lab.name("disk")
    first = lab.snapshot(lab.disk(name).id)
    lab.compute.disks.begin_delete(lab.group, name).result()
    second = lab.snapshot(lab.disk(name).id)

    assert first.creation_data.source_resource_id == second.creation_data.source_resource_id
    assert first.creation_data.source_unique_id != second.creation_data.source_unique_id
    assert first.incremental_snapshot_family_id != second.incremental_snapshot_family_id


def test_disks_grow_and_never_shrink(lab: SdkLab) -> None:
    disk = lab.disk(gib=4)
    lab.write(disk.id, 0, b"x" * 512)

    grown = lab.compute.disks.begin_update(lab.group, disk.name, {"properties": {"diskSizeGB": 6}}).result()
    with pytest.raises(HttpResponseError) as error:
        lab.compute.disks.begin_update(lab.group, disk.name, {"properties": {"diskSizeGB": 5}}).result()

    assert (grown.disk_size_gb, grown.disk_size_bytes) == (6, 6 << 30)
    assert lab.read(disk.id, 0, 512) == b"x" * 512
    assert lab.read(disk.id, (6 << 30) - 512, 512) == bytes(512)
    assert refused(error) == "BadRequest"


def test_a_running_machines_disk_gives_no_access_and_a_deallocated_ones_does(lab: SdkLab) -> None:
    vm = lab.vm()
    disk = vm.storage_profile.os_disk.name
    ask = {"access": "Read", "durationInSeconds": 600}

    with pytest.raises(HttpResponseError) as error:
        lab.compute.disks.begin_grant_access(lab.group, disk, ask).result()
    lab.compute.virtual_machines.begin_deallocate(lab.group, vm.name).result()
    assert lab.compute.disks.get(lab.group, disk).disk_state == "Reserved"
    access = lab.compute.disks.begin_grant_access(lab.group, disk, ask).result()

    assert refused(error) == "OperationNotAllowed"
    assert httpx.head(access.access_sas).status_code == 200
    lab.compute.disks.begin_revoke_access(lab.group, disk).result()


def test_a_sas_ends_with_the_labs_clock_and_the_disk_is_free_again(lab: SdkLab) -> None:
    disk = lab.disk()
    access = lab.compute.disks.begin_grant_access(
        lab.group, disk.name, {"access": "Read", "durationInSeconds": 60}
    ).result()
    assert httpx.head(access.access_sas).status_code == 200

    lab.lab.clock.advance(61)

    assert httpx.head(access.access_sas).status_code == 403
    assert lab.compute.disks.get(lab.group, disk.name).disk_state == "Unattached"


# -- images -----------------------------------------------------------------------------------------------------------


def test_an_image_of_a_generalized_machine_makes_machines_with_its_bytes(lab: SdkLab) -> None:
    vm = lab.vm("gold", data_gib=(1,))
    os_disk, data = vm.storage_profile.os_disk.managed_disk.id, vm.storage_profile.data_disks[0].managed_disk.id
    lab.write(os_disk, MIB, b"os" * 256)
    lab.write(data, 0, b"data" * 128)
    body = {"location": REGION, "properties": {"sourceVirtualMachine": {"id": vm.id}, "hyperVGeneration": "V2"}}
    with pytest.raises(HttpResponseError) as early:
        lab.compute.images.begin_create_or_update(lab.group, "golden", body).result()
    lab.compute.virtual_machines.begin_deallocate(lab.group, "gold").result()
    lab.compute.virtual_machines.generalize(lab.group, "gold")

    image = lab.compute.images.begin_create_or_update(lab.group, "golden", body).result()
    with pytest.raises(HttpResponseError) as start:
        lab.compute.virtual_machines.begin_start(lab.group, "gold").result()
    made = lab.vm(
        storageProfile={"imageReference": {"id": image.id}, "osDisk": {"createOption": "FromImage"}, "dataDisks": []}
    )

    assert refused(early) == refused(start) == "OperationNotAllowed"
    codes = [s.code for s in lab.compute.virtual_machines.instance_view(lab.group, "gold").statuses]
    assert codes == ["OSState/generalized", "ProvisioningState/succeeded", "PowerState/deallocated"]
    assert lab.read(made.storage_profile.os_disk.managed_disk.id, MIB, 512) == b"os" * 256
    assert lab.read(made.storage_profile.data_disks[0].managed_disk.id, 0, 512) == b"data" * 128


def test_the_marketplace_lists_what_az_asks_for(lab: SdkLab) -> None:
    images = lab.compute.virtual_machine_images
    versions = images.list(
        REGION, "Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2", expand="properties", top=1,
        orderby="name desc",
    )  # fmt: skip
    one = images.get(REGION, "Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2", versions[0].name)

    assert len(versions) == 1
    assert one.os_disk_image.operating_system == "Linux"
    assert one.hyper_v_generation == "V2"
    assert "Canonical" in [p.name for p in images.list_publishers(REGION)]


def test_snapshot_limits_apply_when_asked_for(lab: SdkLab) -> None:
    disk = lab.disk()
    url = f"{lab.lab.http_url}/azurelab/disks/limits"
    httpx.put(url, json={"incrementalSnapshots": True}).raise_for_status()
    try:
        for _ in range(7):
            lab.snapshot(disk.id)
        with pytest.raises(HttpResponseError) as error:
            lab.snapshot(disk.id)
        lab.lab.clock.advance(301)
        lab.snapshot(disk.id)
    finally:
        httpx.put(url, json={"incrementalSnapshots": False}).raise_for_status()

    assert refused(error) == "OperationNotAllowed"


def test_machines_disks_and_open_accesses_outlive_a_restart(tmp_path: object) -> None:
    import tempfile
    from pathlib import Path

    own = SdkLab.start(Path(tempfile.mkdtemp(dir=str(tmp_path))))
    try:
        vm = own.vm("stays", data_gib=(1,))
        off = own.vm("off")
        own.compute.virtual_machines.begin_deallocate(own.group, "off").result()
        data = vm.storage_profile.data_disks[0].managed_disk.id
        own.write(data, 0, b"!" * 4096)
        snapshot = own.snapshot(data)
        own.compute.snapshots.begin_grant_access(
            own.group, snapshot.name, {"access": "Read", "durationInSeconds": 3600}
        ).result()
        digest = own.digest(data)

        own.restart()

        assert (own.power("stays"), own.power("off")) == ("running", "deallocated")
        assert own.digest(data) == own.digest(snapshot.id) == digest
        assert own.compute.snapshots.get(own.group, snapshot.name).disk_state == "ActiveSAS"
        assert own.compute.virtual_machines.get(own.group, "off").vm_id == off.vm_id
        assert own.lab.bugs == []
    finally:
        own.lab.close()

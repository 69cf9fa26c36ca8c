"""Machines through azure-mgmt-compute's own client classes, as the vendor's users call them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceNotFoundError
from sdk_lab import MIB, REGION, SdkLab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkLab]:
    running = SdkLab.start(tmp_path_factory.mktemp("lab"))
    yield running
    assert running.lab.bugs == []
    running.lab.close()


def refused(error: pytest.ExceptionInfo[HttpResponseError]) -> str:
    assert error.value.error is not None
    return str(error.value.error.code)


# -- a machine's life -------------------------------------------------------------------------------------------------


def test_a_machine_is_made_listed_viewed_stopped_started_and_deleted(lab: SdkLab) -> None:
    nic = lab.nic(public=True)
    vm = lab.vm("life", nic_id=nic, data_gib=(4, 8), tags={"a": "b"})

    assert vm.provisioning_state == "Succeeded"
    assert vm.storage_profile.image_reference.exact_version
    assert [d.disk_size_gb for d in vm.storage_profile.data_disks] == [4, 8]
    assert "life" in [v.name for v in lab.compute.virtual_machines.list(lab.group)]
    view = lab.compute.virtual_machines.get(lab.group, "life", expand="instanceView").instance_view
    assert [s.code for s in view.statuses] == ["ProvisioningState/succeeded", "PowerState/running"]
    assert view.vm_agent.statuses[0].display_status == "Ready"
    assert view.hyper_v_generation == "V2"

    lab.compute.virtual_machines.begin_deallocate(lab.group, "life").result()
    view = lab.compute.virtual_machines.instance_view(lab.group, "life")
    assert view.statuses[1].code == "PowerState/deallocated"
    assert view.vm_agent is None
    assert lab.compute.virtual_machines.get(lab.group, "life").storage_profile.os_disk.disk_size_gb is None

    lab.compute.virtual_machines.begin_start(lab.group, "life").result()
    assert lab.power("life") == "running"
    lab.compute.virtual_machines.begin_power_off(lab.group, "life", skip_shutdown=True).result()
    assert lab.power("life") == "stopped"

    lab.compute.virtual_machines.begin_delete(lab.group, "life", force_deletion=False).result()
    with pytest.raises(ResourceNotFoundError):
        lab.compute.virtual_machines.get(lab.group, "life")
    os_disk = vm.storage_profile.os_disk.managed_disk.id.rsplit("/", 1)[1]
    assert lab.compute.disks.get(lab.group, os_disk).disk_state == "Unattached"
    assert lab.network.network_interfaces.get(lab.group, nic.rsplit("/", 1)[1]).virtual_machine is None


def test_status_of_all_machines_comes_in_one_list_call(lab: SdkLab) -> None:
    lab.vm("status-1")

    found = {v.name: v for v in lab.compute.virtual_machines.list_all(status_only="true")}

    assert found["status-1"].instance_view.statuses[1].code == "PowerState/running"
    assert found["status-1"].storage_profile is None


def test_a_machine_made_again_under_its_old_name_has_a_new_vm_id_and_a_new_principal(lab: SdkLab) -> None:
    first = lab.vm("again", identity={"type": "SystemAssigned"})
    lab.compute.virtual_machines.begin_delete(lab.group, "again", force_deletion=False).result()

    second = lab.attached_vm(
        first.storage_profile.os_disk.managed_disk.id, "again", identity={"type": "SystemAssigned"}
    )

    assert second.id == first.id
    assert second.vm_id != first.vm_id
    assert second.identity.principal_id != first.identity.principal_id
    assert second.os_profile is None
    assert second.storage_profile.os_disk.create_option == "Attach"


def test_delete_options_decide_what_goes_with_the_machine(lab: SdkLab) -> None:
    nic = lab.nic(public=True)
    body = lab.vm_body(nic)
    profile = body["properties"]["storageProfile"]
    profile["osDisk"]["deleteOption"] = "Delete"
    profile["dataDisks"] = [
        {"lun": 0, "createOption": "Empty", "diskSizeGB": 1, "name": "do-goes", "deleteOption": "Delete"},
        {"lun": 1, "createOption": "Empty", "diskSizeGB": 1, "name": "do-stays"},
    ]
    body["properties"]["networkProfile"]["networkInterfaces"][0]["properties"] = {"deleteOption": "Delete"}
    lab.compute.virtual_machines.begin_create_or_update(lab.group, "do", body).result()

    lab.compute.virtual_machines.begin_delete(lab.group, "do", force_deletion=False).result()

    names = {d.name for d in lab.compute.disks.list_by_resource_group(lab.group)}
    assert "do-stays" in names
    assert "do-goes" not in names
    assert not any(n.startswith("do_OsDisk") for n in names)
    with pytest.raises(ResourceNotFoundError):
        lab.network.network_interfaces.get(lab.group, nic.rsplit("/", 1)[1])
    assert lab.network.public_ip_addresses.get(lab.group, nic.rsplit("/", 1)[1] + "-ip").ip_address


def test_patched_delete_options_are_read_back_before_a_delete_that_keeps_everything(lab: SdkLab) -> None:
    vm = lab.vm("keep", data_gib=(2,))
    disks = [
        {"lun": d.lun, "name": d.name, "createOption": d.create_option, "managedDisk": {"id": d.managed_disk.id},
         "deleteOption": "Detach"}
        for d in vm.storage_profile.data_disks
    ]  # fmt: skip
    lab.compute.virtual_machines.begin_update(
        lab.group,
        "keep",
        {"properties": {"storageProfile": {"osDisk": {"deleteOption": "Detach"}, "dataDisks": disks}}},
    ).result()

    back = lab.compute.virtual_machines.get(lab.group, "keep")
    assert {
        back.storage_profile.os_disk.delete_option,
        *(d.delete_option for d in back.storage_profile.data_disks),
    } == {"Detach"}
    assert back.storage_profile.data_disks[0].managed_disk.id == vm.storage_profile.data_disks[0].managed_disk.id
    assert lab.power("keep") == "running"


def test_etags_fence_updates_and_creates(lab: SdkLab) -> None:
    lab.vm("fence")
    before = lab.compute.virtual_machines.get(lab.group, "fence")
    lab.compute.virtual_machines.begin_update(lab.group, "fence", {"tags": {"x": "1"}}).result()

    with pytest.raises(HttpResponseError) as stale:
        lab.compute.virtual_machines.begin_update(
            lab.group, "fence", {"tags": {"x": "2"}}, etag=before.etag, match_condition=MatchConditions.IfNotModified
        )
    with pytest.raises(HttpResponseError) as taken:
        lab.compute.virtual_machines.begin_create_or_update(
            lab.group, "fence", lab.vm_body(), match_condition=MatchConditions.IfMissing
        )

    assert stale.value.status_code == taken.value.status_code == 412
    assert lab.compute.virtual_machines.get(lab.group, "fence").tags == {"x": "1"}


def test_a_put_sent_twice_changes_nothing_the_second_time(lab: SdkLab) -> None:
    body = lab.vm_body()
    body["properties"]["storageProfile"]["dataDisks"] = [{"lun": 0, "createOption": "Empty", "diskSizeGB": 1}]
    first = lab.compute.virtual_machines.begin_create_or_update(lab.group, "twice", body).result()
    disks = {d.name for d in lab.compute.disks.list()}

    second = lab.compute.virtual_machines.begin_create_or_update(lab.group, "twice", body).result()

    assert second.vm_id == first.vm_id
    assert second.storage_profile.os_disk.name == first.storage_profile.os_disk.name
    assert {d.name for d in lab.compute.disks.list()} == disks


# -- disks of machines ------------------------------------------------------------------------------------------------


def test_data_disks_come_and_go_while_the_machine_runs(lab: SdkLab) -> None:
    vm = lab.vm("plug", data_gib=(1,))
    extra = lab.disk(gib=2)
    first = vm.storage_profile.data_disks[0]

    lab.compute.virtual_machines.begin_update(
        lab.group,
        "plug",
        {
            "properties": {
                "storageProfile": {"dataDisks": [{"lun": 5, "createOption": "Attach", "managedDisk": {"id": extra.id}}]}
            }
        },
    ).result()

    now = lab.compute.virtual_machines.get(lab.group, "plug").storage_profile.data_disks
    assert [(d.lun, d.name) for d in now] == [(5, extra.name)]
    assert lab.compute.disks.get(lab.group, first.name).disk_state == "Unattached"
    held = lab.compute.disks.get(lab.group, extra.name)
    assert (held.disk_state, held.managed_by) == ("Attached", vm.id)


def test_an_os_disk_is_swapped_and_the_old_one_is_free(lab: SdkLab) -> None:
    vm = lab.vm("swap")
    old = vm.storage_profile.os_disk
    new = lab.copy(old.managed_disk.id)
    lab.compute.virtual_machines.begin_deallocate(lab.group, "swap").result()

    lab.compute.virtual_machines.begin_update(
        lab.group,
        "swap",
        {"properties": {"storageProfile": {"osDisk": {"name": new.name, "managedDisk": {"id": new.id}}}}},
    ).result()

    after = lab.compute.virtual_machines.get(lab.group, "swap").storage_profile.os_disk
    assert (after.name, after.create_option) == (new.name, "FromImage")
    assert lab.compute.disks.get(lab.group, old.name).managed_by is None


@pytest.mark.parametrize(
    ("situation", "code"),
    [
        ("disk of another machine", "ConflictingUserInput"),
        ("nic of another machine", "NicInUse"),
        ("nic that does not exist", "NetworkInterfaceNotFound"),
        ("disk that does not exist", "ResourceNotFound"),
        ("os profile beside an attached disk", "InvalidParameter"),
        ("image beside an attached disk", "InvalidParameter"),
        ("no os profile", "InvalidParameter"),
        ("two disks at one lun", "InvalidParameter"),
        ("more disks than the size takes", "OperationNotAllowed"),
        ("premium disk under a size without", "InvalidParameter"),
        ("zonal disk, regional machine", "BadRequest"),
        ("upload that has not ended", "OperationNotAllowed"),
        ("disk with a SAS", "OperationNotAllowed"),
        ("unknown size", "InvalidParameter"),
        ("generation 2 under a size of generation 1", "BadRequest"),
        ("eviction policy of a regular machine", "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines"),
        ("unknown publisher", "PlatformImageNotFound"),
        ("size out of capacity", "SkuNotAvailable"),
    ],
)
def test_what_azure_refuses_is_refused_with_its_code_and_leaves_nothing_behind(
    lab: SdkLab, situation: str, code: str
) -> None:
    body = lab.vm_body()
    profile = body["properties"]["storageProfile"]
    attach = {"createOption": "Attach", "osType": "Linux"}
    if situation == "disk of another machine":
        other = lab.vm()
        body["properties"].pop("osProfile")
        disk = other.storage_profile.os_disk.managed_disk.id
        body["properties"]["storageProfile"] = {"osDisk": {**attach, "managedDisk": {"id": disk}}}
    elif situation == "nic of another machine":
        held = lab.vm().network_profile.network_interfaces[0].id
        body["properties"]["networkProfile"]["networkInterfaces"] = [{"id": held}]
    elif situation == "nic that does not exist":
        body["properties"]["networkProfile"]["networkInterfaces"][0]["id"] += "-no"
    elif situation == "disk that does not exist":
        nothing = {"id": lab.id_of("Microsoft.Compute/disks", "nothing")}
        profile["dataDisks"] = [{"lun": 0, "createOption": "Attach", "managedDisk": nothing}]
    elif situation in ("os profile beside an attached disk", "image beside an attached disk"):
        profile["osDisk"] = {**attach, "managedDisk": {"id": lab.disk().id}}
        if situation.startswith("os"):
            profile.pop("imageReference")
        else:
            body["properties"].pop("osProfile")
    elif situation == "no os profile":
        body["properties"].pop("osProfile")
    elif situation == "two disks at one lun":
        profile["dataDisks"] = [{"lun": 1, "createOption": "Empty", "diskSizeGB": 1}] * 2
    elif situation == "more disks than the size takes":
        profile["dataDisks"] = [{"lun": n, "createOption": "Empty", "diskSizeGB": 1} for n in range(5)]
    elif situation == "premium disk under a size without":
        body["properties"]["hardwareProfile"]["vmSize"] = "Standard_D2_v5"
        profile["osDisk"]["managedDisk"] = {"storageAccountType": "Premium_LRS"}
    elif situation == "zonal disk, regional machine":
        zonal = lab.disk(zones=["1"])
        profile["dataDisks"] = [{"lun": 0, "createOption": "Attach", "managedDisk": {"id": zonal.id}}]
    elif situation == "upload that has not ended":
        creation = {"createOption": "Upload", "uploadSizeBytes": 20 * MIB + 512}
        upload = lab.compute.disks.begin_create_or_update(
            lab.group, lab.name("up"), {"location": REGION, "properties": {"creationData": creation}}
        ).result()
        profile["dataDisks"] = [{"lun": 0, "createOption": "Attach", "managedDisk": {"id": upload.id}}]
    elif situation == "disk with a SAS":
        open_disk = lab.disk()
        lab.compute.disks.begin_grant_access(
            lab.group, open_disk.name, {"access": "Read", "durationInSeconds": 600}
        ).result()
        profile["dataDisks"] = [{"lun": 0, "createOption": "Attach", "managedDisk": {"id": open_disk.id}}]
    elif situation == "unknown size":
        body["properties"]["hardwareProfile"]["vmSize"] = "Standard_Nothing"
    elif situation == "generation 2 under a size of generation 1":
        body["properties"]["hardwareProfile"]["vmSize"] = "Standard_D2_v2"
    elif situation == "eviction policy of a regular machine":
        body["properties"]["evictionPolicy"] = "Deallocate"
    elif situation == "unknown publisher":
        profile["imageReference"]["publisher"] = "nobody-at-all"
    elif situation == "size out of capacity":
        body["properties"]["hardwareProfile"]["vmSize"] = "Standard_E4s_v5"
        lab.lab.market.restrict(REGION, "Standard_E4s_v5")
    disks = {d.id for d in lab.compute.disks.list()}
    name = lab.name("refused")

    with pytest.raises(HttpResponseError) as error:
        lab.compute.virtual_machines.begin_create_or_update(lab.group, name, body).result()

    assert refused(error) == code
    assert {d.id for d in lab.compute.disks.list()} == disks
    assert name not in [v.name for v in lab.compute.virtual_machines.list(lab.group)]


def test_a_machine_without_capacity_fails_keeps_its_disks_and_frees_them_when_deleted(lab: SdkLab) -> None:
    disk = lab.copy(lab.vm().storage_profile.os_disk.managed_disk.id)
    lab.lab.market.set_capacity(location=REGION, size="Standard_E8s_v5", left=0)

    with pytest.raises(HttpResponseError) as error:
        lab.attached_vm(disk.id, "no-room", hardwareProfile={"vmSize": "Standard_E8s_v5"})

    assert refused(error) in ("AllocationFailed", "ZonalAllocationFailed")
    assert lab.compute.virtual_machines.get(lab.group, "no-room").provisioning_state == "Failed"
    assert lab.compute.disks.get(lab.group, disk.name).managed_by is not None
    lab.compute.virtual_machines.begin_delete(lab.group, "no-room", force_deletion=False).result()
    assert lab.compute.disks.get(lab.group, disk.name).managed_by is None


def test_disks_and_cards_of_a_machine_cannot_be_deleted_under_it(lab: SdkLab) -> None:
    nic = lab.nic()
    vm = lab.vm(nic_id=nic)
    lab.compute.virtual_machines.begin_deallocate(lab.group, vm.name).result()

    with pytest.raises(HttpResponseError) as disk:
        lab.compute.disks.begin_delete(lab.group, vm.storage_profile.os_disk.name).result()
    with pytest.raises(HttpResponseError) as card:
        lab.network.network_interfaces.begin_delete(lab.group, nic.rsplit("/", 1)[1]).result()
    with pytest.raises(HttpResponseError) as moved:
        lab.vm(nic_id=nic)

    assert refused(disk) == "OperationNotAllowed"
    assert refused(card) == "NicInUse"
    assert refused(moved) == "NicInUse"


# -- Spot -------------------------------------------------------------------------------------------------------------


def wait_for(condition: object, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "did not come about in time"
        time.sleep(0.02)


def test_spot_machines_are_evicted_by_their_policy_and_others_are_not(lab: SdkLab) -> None:
    lab.vm("regular")
    lab.vm("spot-stays", priority="Spot", evictionPolicy="Deallocate", billingProfile={"maxPrice": -1})
    lab.vm("spot-goes", priority="Spot", evictionPolicy="Delete")

    with pytest.raises(HttpResponseError) as error:
        lab.compute.virtual_machines.simulate_eviction(lab.group, "regular")
    lab.compute.virtual_machines.simulate_eviction(lab.group, "spot-stays")
    lab.compute.virtual_machines.simulate_eviction(lab.group, "spot-goes")

    assert (error.value.status_code, refused(error)) == (409, "OperationNotAllowed")
    wait_for(lambda: lab.power("spot-stays") == "deallocated")
    wait_for(lambda: "spot-goes" not in [v.name for v in lab.compute.virtual_machines.list(lab.group)])
    assert lab.power("regular") == "running"
    events = [e.kind for e in lab.lab.events() if e.resource.endswith("/spot-stays")]
    assert events.index("eviction-announced") < events.index("evicted")


def test_the_priority_of_a_machine_never_changes(lab: SdkLab) -> None:
    vm = lab.vm()

    with pytest.raises(HttpResponseError) as error:
        lab.compute.virtual_machines.begin_update(lab.group, vm.name, {"properties": {"priority": "Spot"}}).result()

    assert refused(error) == "VMPriorityCannotBeApplied"


def test_the_max_price_changes_only_while_deallocated(lab: SdkLab) -> None:
    vm = lab.vm(priority="Spot")
    change = {"properties": {"billingProfile": {"maxPrice": 5.0}}}

    with pytest.raises(HttpResponseError) as error:
        lab.compute.virtual_machines.begin_update(lab.group, vm.name, change).result()
    lab.compute.virtual_machines.begin_deallocate(lab.group, vm.name).result()
    lab.compute.virtual_machines.begin_update(lab.group, vm.name, change).result()

    assert refused(error) == "MaxPriceChangeNotAllowedForAllocatedVMs"
    assert lab.compute.virtual_machines.get(lab.group, vm.name).billing_profile.max_price == 5.0


# -- guests that are none ---------------------------------------------------------------------------------------------


def behave(lab: SdkLab, vm_id: str, **how: object) -> None:
    answer = httpx.put(f"{lab.lab.http_url}/azurelab/vms/behaviour", params={"id": vm_id}, json=how)
    assert answer.status_code == 200, answer.text


def test_a_machine_can_be_told_to_fail_its_boot_and_never_to_become_ready(lab: SdkLab) -> None:
    bad = lab.id_of("Microsoft.Compute/virtualMachines", "bad-boot")
    behave(lab, bad, fails_to_boot=True)
    behave(lab, lab.id_of("Microsoft.Compute/virtualMachines", "mute"), never_ready=True)

    with pytest.raises(HttpResponseError) as error:
        lab.vm("bad-boot")
    lab.vm("mute")

    assert refused(error) == "OSProvisioningTimedOut"
    assert lab.power("bad-boot") == "stopped"
    agent = lab.compute.virtual_machines.instance_view(lab.group, "mute").vm_agent
    assert agent.statuses[0].display_status == "Not Ready"
    behave(lab, bad)
    lab.compute.virtual_machines.begin_start(lab.group, "bad-boot").result()
    assert lab.power("bad-boot") == "running"


def test_a_guest_that_powers_itself_off_leaves_a_stopped_machine(lab: SdkLab) -> None:
    vm = lab.vm()

    httpx.post(f"{lab.lab.http_url}/azurelab/vms/poweroff", params={"id": vm.id}).raise_for_status()

    assert lab.power(vm.name) == "stopped"


def test_writes_through_the_control_route_are_checked(lab: SdkLab) -> None:
    disk = lab.disk(gib=1)
    url = f"{lab.lab.http_url}/azurelab/disks/write"

    assert httpx.put(url, params={"id": disk.id, "offset": 100}, content=bytes(512)).status_code == 400
    assert httpx.put(url, params={"id": disk.id, "offset": 1 << 30}, content=bytes(512)).status_code == 400
    assert httpx.put(url, params={"id": disk.id + "x", "offset": 0}, content=bytes(512)).status_code == 404
    snapshot = lab.snapshot(disk.id)
    assert httpx.put(url, params={"id": snapshot.id, "offset": 0}, content=bytes(512)).status_code == 409


# -- second tries -----------------------------------------------------------------------------------------------------


def test_a_put_on_a_machine_that_found_no_capacity_tries_again_with_another_size(lab: SdkLab) -> None:
    disk = lab.copy(lab.vm().storage_profile.os_disk.managed_disk.id)
    lab.lab.market.set_capacity(location=REGION, size="Standard_E2s_v5", left=0)
    nic = lab.nic()
    with pytest.raises(HttpResponseError):
        lab.attached_vm(disk.id, "retry", nic_id=nic, hardwareProfile={"vmSize": "Standard_E2s_v5"})

    made = lab.attached_vm(disk.id, "retry", nic_id=nic)

    assert made.provisioning_state == "Succeeded"
    assert lab.power("retry") == "running"


def test_a_disk_given_back_and_taken_again_at_once_stays_with_its_machine(lab: SdkLab) -> None:
    vm = lab.vm(data_gib=(1,))
    data = vm.storage_profile.data_disks[0]
    put = lab.compute.virtual_machines.begin_update
    empty = {"properties": {"storageProfile": {"dataDisks": []}}}
    again = {
        "properties": {
            "storageProfile": {
                "dataDisks": [{"lun": 3, "createOption": "Attach", "managedDisk": {"id": data.managed_disk.id}}]
            }
        }
    }

    first, second = put(lab.group, vm.name, empty), put(lab.group, vm.name, again)
    first.result()
    second.result()

    held = lab.compute.disks.get(lab.group, data.name)
    assert (held.managed_by, held.disk_state) == (vm.id, "Attached")


def test_unmanaged_disks_become_managed_ones_under_their_machine(lab: SdkLab) -> None:
    body = lab.vm_body()
    blob = "https://account.blob.example/vhds/os.vhd"
    body["properties"]["storageProfile"]["osDisk"] = {"name": "os", "createOption": "FromImage", "vhd": {"uri": blob}}
    body["properties"]["storageProfile"]["dataDisks"] = [
        {"lun": 2, "name": "data", "createOption": "Empty", "diskSizeGB": 3, "vhd": {"uri": blob + "2"}}
    ]
    made = lab.compute.virtual_machines.begin_create_or_update(lab.group, "unmanaged", body).result()
    assert (made.storage_profile.os_disk.vhd.uri, made.storage_profile.os_disk.managed_disk) == (blob, None)

    with pytest.raises(HttpResponseError) as error:
        lab.compute.virtual_machines.begin_convert_to_managed_disks(lab.group, "unmanaged").result()
    lab.compute.virtual_machines.begin_deallocate(lab.group, "unmanaged").result()
    lab.compute.virtual_machines.begin_convert_to_managed_disks(lab.group, "unmanaged").result()

    assert refused(error) == "OperationNotAllowed"
    profile = lab.compute.virtual_machines.get(lab.group, "unmanaged").storage_profile
    os_disk, data = profile.os_disk, profile.data_disks[0]
    assert (os_disk.vhd, data.vhd, data.lun) == (None, None, 2)
    assert lab.compute.disks.get(lab.group, data.name).disk_size_gb == 3
    assert lab.compute.disks.get(lab.group, os_disk.name).managed_by == made.id
    lab.compute.virtual_machines.begin_start(lab.group, "unmanaged").result()
    assert lab.power("unmanaged") == "running"


def test_an_ephemeral_os_disk_is_no_resource_and_its_machine_cannot_be_deallocated(lab: SdkLab) -> None:
    body = lab.vm_body()
    body["properties"]["storageProfile"]["osDisk"] = {
        "createOption": "FromImage",
        "caching": "ReadOnly",
        "diffDiskSettings": {"option": "Local"},
    }
    vm = lab.compute.virtual_machines.begin_create_or_update(lab.group, "ephemeral", body).result()

    with pytest.raises(HttpResponseError) as error:
        lab.compute.virtual_machines.begin_deallocate(lab.group, "ephemeral").result()
    with pytest.raises(ResourceNotFoundError):
        lab.compute.disks.get(lab.group, vm.storage_profile.os_disk.name)

    assert refused(error) == "OperationNotAllowed"


def test_a_machine_whose_creation_failed_takes_a_patch_without_trying_again(lab: SdkLab) -> None:
    disk = lab.copy(lab.vm().storage_profile.os_disk.managed_disk.id)
    lab.lab.market.set_capacity(location=REGION, size="Standard_F2s_v2", left=0)
    with pytest.raises(HttpResponseError):
        lab.attached_vm(disk.id, "patched", hardwareProfile={"vmSize": "Standard_F2s_v2"})

    change = {"properties": {"storageProfile": {"osDisk": {"deleteOption": "Detach"}}}}
    lab.compute.virtual_machines.begin_update(lab.group, "patched", change).result()

    assert lab.power("patched") != "running"


# -- the rest of a machine --------------------------------------------------------------------------------------------


def test_extensions_run_commands_and_boot_diagnostics_answer_in_azures_shape(lab: SdkLab) -> None:
    vm = lab.vm(diagnosticsProfile={"bootDiagnostics": {"enabled": True}})
    extension = {
        "location": REGION,
        "properties": {
            "publisher": "Microsoft.Azure.Extensions",
            "type": "CustomScript",
            "typeHandlerVersion": "2.1",
            "protectedSettings": {"commandToExecute": "secret"},
        },
    }

    made = lab.compute.virtual_machine_extensions.begin_create_or_update(lab.group, vm.name, "ext", extension).result()
    output = lab.compute.virtual_machines.begin_run_command(
        lab.group, vm.name, {"commandId": "RunShellScript", "script": ["true"]}
    ).result()
    diagnostics = lab.compute.virtual_machines.retrieve_boot_diagnostics_data(lab.group, vm.name)

    assert made.provisioning_state == "Succeeded"
    assert "secret" not in str(lab.compute.virtual_machine_extensions.get(lab.group, vm.name, "ext").as_dict())
    assert [r.name for r in lab.compute.virtual_machines.get(lab.group, vm.name).resources] == ["ext"]
    assert "does not run commands" in output.value[0].message
    assert httpx.get(diagnostics.serial_console_log_blob_uri).status_code == 200
    lab.compute.virtual_machines.begin_delete(lab.group, vm.name, force_deletion=False).result()
    assert lab.lab.store.of_type("Microsoft.Compute/virtualMachines/extensions", vm.id) == []


def test_sizes_availability_sets_and_proximity_groups_are_kept(lab: SdkLab) -> None:
    sets, groups = lab.compute.availability_sets, lab.compute.proximity_placement_groups
    group = groups.create_or_update(lab.group, "near", {"location": REGION})
    made = sets.create_or_update(
        lab.group,
        "set",
        {"location": REGION, "sku": {"name": "Aligned"}, "properties": {"platformFaultDomainCount": 2}},
    )
    vm = lab.vm(availabilitySet={"id": made.id}, proximityPlacementGroup={"id": group.id})

    with pytest.raises(HttpResponseError) as error:
        sets.delete(lab.group, "set")

    assert refused(error) == "OperationNotAllowed"
    assert [m.id for m in sets.get(lab.group, "set").virtual_machines] == [vm.id]
    assert [m.id for m in groups.get(lab.group, "near").virtual_machines] == [vm.id]
    assert "Standard_D2s_v5" in [s.name for s in lab.compute.virtual_machines.list_available_sizes(lab.group, vm.name)]

"""What keeps machines up to date and what hangs on them: patches, maintenance, managed run commands, extensions."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest
from azure.core.exceptions import HttpResponseError
from sdk_lab import REGION, SdkLab

VERSION = {"api-version": "2024-07-01"}


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SdkLab]:
    running = SdkLab.start(tmp_path_factory.mktemp("lab"))
    running.vm("vm")
    yield running
    assert running.lab.bugs == []
    running.lab.close()


@pytest.fixture
def http(lab: SdkLab) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=lab.lab.http_url, headers={"Authorization": "Bearer x"}, params=VERSION) as client:
        yield client


def _code(error: pytest.ExceptionInfo[HttpResponseError]) -> str:
    assert error.value.error is not None
    return str(error.value.error.code)


def test_patches_are_assessed_and_installed_though_there_are_none(lab: SdkLab) -> None:
    machines = lab.compute.virtual_machines

    assessed = machines.begin_assess_patches(lab.group, "vm").result()
    installed = machines.begin_install_patches(
        lab.group, "vm", {"rebootSetting": "Never", "maximumDuration": "PT1H"}
    ).result()

    assert (assessed.status, assessed.critical_and_security_patch_count) == ("Succeeded", 0)
    assert (installed.status, installed.reboot_status, installed.installed_patch_count) == ("Succeeded", "NotNeeded", 0)


def test_maintenance_and_reimage_are_refused_in_azures_words(lab: SdkLab) -> None:
    for action in (lab.compute.virtual_machines.begin_perform_maintenance, lab.compute.virtual_machines.begin_reimage):
        with pytest.raises(HttpResponseError) as refused:
            action(lab.group, "vm")

        assert (refused.value.status_code, _code(refused)) == (409, "OperationNotAllowed")


def test_data_disks_come_and_go_in_one_action(lab: SdkLab) -> None:
    disks = [
        lab.compute.disks.begin_create_or_update(
            lab.group,
            lab.name("d"),
            {"location": REGION, "properties": {"creationData": {"createOption": "Empty"}, "diskSizeGB": 4}},
        ).result()
        for _ in range(2)
    ]
    action = lab.compute.virtual_machines.begin_attach_detach_data_disks

    coming = [{"diskId": disks[0].id, "lun": 5, "caching": "ReadOnly"}, {"diskId": disks[1].id}]
    both = action(lab.group, "vm", {"dataDisksToAttach": coming}).result()
    one = action(lab.group, "vm", {"dataDisksToDetach": [{"diskId": disks[0].id}]}).result()
    with pytest.raises(HttpResponseError) as refused:
        action(lab.group, "vm", {"dataDisksToDetach": [{"diskId": disks[0].id}]})

    assert [(d.lun, d.caching) for d in both.data_disks] == [(5, "ReadOnly"), (0, "None")]
    assert [d.managed_disk.id for d in one.data_disks] == [disks[1].id]
    assert lab.compute.disks.get(lab.group, disks[0].name).disk_state == "Unattached"
    assert _code(refused) == "InvalidParameter"


def test_run_commands_are_kept_as_data_and_say_so(lab: SdkLab) -> None:
    commands = lab.compute.virtual_machine_run_commands
    body = {"location": REGION, "properties": {"source": {"script": "true"}, "protectedParameters": [{"name": "p"}]}}

    made = commands.begin_create_or_update(lab.group, "vm", "c", body).result()
    viewed = commands.get_by_virtual_machine(lab.group, "vm", "c", expand="instanceView")
    names = [c.name for c in commands.list_by_virtual_machine(lab.group, "vm")]
    commands.begin_delete(lab.group, "vm", "c").result()

    assert made.protected_parameters is None
    assert "does not run" in viewed.instance_view.execution_message
    assert names == ["c"]
    assert list(commands.list_by_virtual_machine(lab.group, "vm")) == []


def test_extensions_are_found_in_the_listing_and_viewed(lab: SdkLab) -> None:
    images, publisher = lab.compute.virtual_machine_extension_images, "Microsoft.Azure.Extensions"

    kinds = [t.name for t in images.list_types(REGION, publisher)]
    newest = images.list_versions(REGION, publisher, "CustomScript", top=1, orderby="name desc")[0].name
    image = images.get(REGION, publisher, "CustomScript", newest)
    body = {"location": REGION, "properties": {"publisher": publisher, "type": "CustomScript",
                                               "typeHandlerVersion": "2.1"}}  # fmt: skip
    extensions = lab.compute.virtual_machine_extensions
    extensions.begin_create_or_update(lab.group, "vm", "e", body).result()
    viewed = extensions.get(lab.group, "vm", "e", expand="instanceView")
    plain = extensions.get(lab.group, "vm", "e")

    assert "CustomScript" in kinds
    assert (image.operating_system, image.compute_role) == ("Linux", "IaaS")
    assert viewed.instance_view.statuses[0].code == "ProvisioningState/succeeded"
    assert plain.instance_view is None
    with pytest.raises(HttpResponseError) as refused:
        images.get(REGION, publisher, "CustomScript", "0.0.1")
    assert _code(refused) == "NotFound"


def test_a_patch_of_what_is_so_already_announces_no_operation(lab: SdkLab, http: httpx.Client) -> None:
    path = lab.id_of("Microsoft.Compute/virtualMachines", "vm")

    nothing = http.patch(path, json={"properties": {"hardwareProfile": {"vmSize": "Standard_D2s_v5"}}})
    tagged = http.patch(path, json={"tags": {"new": "tag"}})

    assert (nothing.status_code, "azure-asyncoperation" in nothing.headers) == (200, False)
    assert (tagged.status_code, "azure-asyncoperation" in tagged.headers) == (200, True)
    http.get(tagged.headers["azure-asyncoperation"])


def test_a_machine_that_an_eviction_deleted_is_missed_by_its_provider(lab: SdkLab, http: httpx.Client) -> None:
    lab.vm("ghost", priority="Spot", evictionPolicy="Delete")
    path = lab.id_of("Microsoft.Compute/virtualMachines", "ghost")

    lab.compute.virtual_machines.simulate_eviction(lab.group, "ghost")
    deadline = time.monotonic() + 20
    while (answer := http.get(path)).status_code != 404 and time.monotonic() < deadline:
        time.sleep(0.02)
    never = http.get(path + "-never")
    lab.vm("ghost", priority="Spot")
    lab.compute.virtual_machines.begin_delete(lab.group, "ghost").result()
    afterwards = http.get(path)

    assert answer.json()["error"]["code"] == "NotFound"
    assert never.json()["error"]["code"] == afterwards.json()["error"]["code"] == "ResourceNotFound"


def test_boot_diagnostics_of_an_own_account_name_its_blobs(lab: SdkLab) -> None:
    account = {"bootDiagnostics": {"enabled": True, "storageUri": "https://acct.blob.core.windows.net/"}}
    vm = lab.vm("seen", diagnosticsProfile=account)

    view = lab.compute.virtual_machines.instance_view(lab.group, "seen")

    uri = view.boot_diagnostics.serial_console_log_blob_uri
    assert uri.startswith("https://acct.blob.core.windows.net/bootdiagnostics-seen-")
    assert vm.vm_id in uri


def test_a_card_that_a_deallocated_machine_lets_go_keeps_its_hardware_address(lab: SdkLab) -> None:
    first, second = lab.nic(), lab.nic()
    cards = [{"id": first, "properties": {"primary": True}}, {"id": second, "properties": {"primary": False}}]
    lab.vm("two", networkProfile={"networkInterfaces": cards})
    name = second.rsplit("/", 1)[1]
    before = lab.network.network_interfaces.get(lab.group, name)

    lab.compute.virtual_machines.begin_deallocate(lab.group, "two").result()
    change = {"properties": {"networkProfile": {"networkInterfaces": cards[:1]}}}
    lab.compute.virtual_machines.begin_update(lab.group, "two", change).result()

    after = lab.network.network_interfaces.get(lab.group, name)
    assert after.virtual_machine is None
    assert after.mac_address == before.mac_address
    assert after.mac_address.startswith("00-0D-3A")


def test_machines_of_a_scale_set_are_listed_by_its_filter(lab: SdkLab, http: httpx.Client) -> None:
    path = lab.id_of("Microsoft.Compute/virtualMachines", "")[:-1]

    none = http.get(path, params={**VERSION, "$filter": "'virtualMachineScaleSet/id' eq '/subscriptions/s/x'"})
    wrong = http.get(path, params={**VERSION, "$filter": "name eq 'vm'"})

    assert none.json()["value"] == []
    assert wrong.status_code == 400

"""What people do with az all day, against azurelab: command by command, az being strict about every answer."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from azurelab.app import Lab

sys.path.insert(0, str(Path(__file__).parent))
from az_rig import Az, az_labs

pytestmark = [pytest.mark.az, pytest.mark.timeout(600)]

_LOGIN = ("--admin-username", "azureuser", "--admin-password", "Sup3r-Secret-Word!")
_SMALL = ("--size", "Standard_D2s_v5")


@pytest.fixture(scope="module")
def cli(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Az]]:
    yield from az_labs(tmp_path_factory)


@pytest.fixture(scope="module")
def az(cli: tuple[Lab, Az]) -> Az:
    return cli[1]


@pytest.fixture(scope="module")
def machine(az: Az) -> tuple[str, ...]:
    """`-g … -n …` of a running zonal machine with two data disks, a public address and an open port."""
    az("group", "create", "-n", "day", "-l", "westeurope")
    made = az("vm", "create", "-g", "day", "-n", "vm", "--image", "Ubuntu2204", *_SMALL, *_LOGIN, "--zone", "1",
              "--data-disk-sizes-gb", "4", "8", "--public-ip-sku", "Standard", "--nsg-rule", "SSH",
              "--tags", "a=b")  # fmt: skip
    assert made["powerState"] == "VM running"
    return ("-g", "day", "-n", "vm")


def test_machine_is_looked_at(az: Az, machine: tuple[str, ...]) -> None:
    shown = az("vm", "show", *machine, "-d")
    assert (shown["zones"], shown["powerState"], len(shown["storageProfile"]["dataDisks"])) == (["1"], "VM running", 2)
    addresses = az("vm", "list-ip-addresses", *machine)[0]["virtualMachine"]["network"]
    assert addresses["publicIpAddresses"][0]["ipAddress"].startswith("127.")
    assert az("vm", "get-instance-view", *machine)["instanceView"]["statuses"][-1]["code"] == "PowerState/running"
    assert any(r["direction"] == "Inbound" for r in az("vm", "open-port", *machine, "--port", "80")["securityRules"])
    assert az("vm", "nic", "list", "-g", "day", "--vm-name", "vm")[0]["id"].endswith("vmVMNic")
    assert {"VnetLocal", "Internet"} <= {
        r["nextHopType"]
        for r in az("network", "nic", "show-effective-route-table", "-g", "day", "-n", "vmVMNic")["value"]
    }
    assert az("network", "nic", "list-effective-nsg", "-g", "day", "-n", "vmVMNic")["value"]


def test_machine_is_changed(az: Az, machine: tuple[str, ...]) -> None:
    assert az("vm", "update", *machine, "--set", "tags.k=v")["tags"] == {"a": "b", "k": "v"}
    assert "Standard_D4s_v5" in {s["name"] for s in az("vm", "list-vm-resize-options", *machine)}
    assert az("vm", "resize", *machine, "--size", "Standard_D4s_v5")["hardwareProfile"]["vmSize"] == "Standard_D4s_v5"
    az("vm", "disk", "attach", "-g", "day", "--vm-name", "vm", "-n", "late", "--new", "--size-gb", "4")
    assert az("disk", "show", "-g", "day", "-n", "late")["diskState"] == "Attached"
    az("vm", "disk", "detach", "-g", "day", "--vm-name", "vm", "-n", "late")
    az("disk", "create", "-g", "day", "-n", "later", "--size-gb", "4", "--zone", "1")
    az("vm", "disk", "attach", "-g", "day", "--vm-name", "vm", "--disks", "late", "later")
    assert len(az("vm", "show", *machine)["storageProfile"]["dataDisks"]) == 4
    az("vm", "disk", "detach", "-g", "day", "--vm-name", "vm", "-n", "late")
    grown = az("disk", "update", "-g", "day", "-n", "late", "--size-gb", "8")
    assert (grown["diskSizeGb"] if "diskSizeGb" in grown else grown["diskSizeGB"]) == 8
    assert az("vm", "identity", "assign", *machine)["systemAssignedIdentity"]


def test_machine_has_extensions_commands_and_patches(az: Az, machine: tuple[str, ...]) -> None:
    on = ("-g", "day", "--vm-name", "vm")
    made = az("vm", "extension", "set", *on, "-n", "CustomScript", "--publisher", "Microsoft.Azure.Extensions")
    assert made["typeHandlerVersion"] == "2.1"
    shown = az("vm", "extension", "show", *on, "-n", "CustomScript", "--instance-view")
    assert shown["instanceView"]["statuses"][0]["code"] == "ProvisioningState/succeeded"
    az("vm", "extension", "delete", *on, "-n", "CustomScript")
    assert az("vm", "extension", "list", *on) == []
    az("vm", "run-command", "create", *on, "--run-command-name", "c", "-l", "westeurope", "--script", "true")
    az("vm", "run-command", "delete", *on, "--run-command-name", "c", "--yes")
    assert az("vm", "run-command", "invoke", *machine, "--command-id", "RunShellScript", "--scripts", "true")["value"]
    assert az("vm", "assess-patches", *machine)["status"] == "Succeeded"
    assert "not eligible" in az("vm", "perform-maintenance", *machine, refused=True)


def test_snapshots_images_and_machines_from_them(az: Az, machine: tuple[str, ...]) -> None:
    os_disk = az("vm", "show", *machine)["storageProfile"]["osDisk"]["name"]
    snapshot = az("snapshot", "create", "-g", "day", "-n", "snap", "--source", os_disk, "--incremental", "true")
    assert snapshot["incremental"] is True
    az("disk", "create", "-g", "day", "-n", "copy", "--source", "snap")
    az("vm", "create", "-g", "day", "-n", "again", "--attach-os-disk", "copy", "--os-type", "Linux", *_SMALL,
       "--public-ip-address", "", "--nsg", "")  # fmt: skip
    assert "already owned" in az("vm", "create", "-g", "day", "-n", "twice", "--attach-os-disk", "copy", "--os-type",
                                 "Linux", *_SMALL, refused=True)  # fmt: skip
    az("vm", "create", "-g", "day", "-n", "golden", "--image", "Debian11", *_SMALL, *_LOGIN)
    az("vm", "deallocate", "-g", "day", "-n", "golden")
    az("vm", "generalize", "-g", "day", "-n", "golden")
    az("image", "create", "-g", "day", "-n", "image", "--source", "golden")
    az("vm", "create", "-g", "day", "-n", "copied", "--image", "image", *_SMALL, *_LOGIN, "--count", "2")
    assert {"copied0", "copied1"} <= {m["name"] for m in az("vm", "list", "-g", "day")}


def test_spot_machine_is_evicted(az: Az, machine: tuple[str, ...]) -> None:
    spot = ("-g", "day", "-n", "spot")
    az("vm", "create", *spot, "--image", "Debian11", *_SMALL, *_LOGIN, "--priority", "Spot", "--eviction-policy",
       "Deallocate", "--max-price", "0.5")  # fmt: skip
    assert az("vm", "show", *spot)["billingProfile"]["maxPrice"] == 0.5

    az("vm", "simulate-eviction", *spot)
    az("vm", "wait", *spot, "--custom", "instanceView.statuses[?code=='PowerState/deallocated']", "--interval", "1")

    az("vm", "start", *spot)
    assert az("vm", "show", *spot, "-d")["powerState"] == "VM running"


def test_network_is_built_by_its_parts(az: Az) -> None:
    az("group", "create", "-n", "net", "-l", "westeurope")
    on = ("-g", "net")
    az("network", "nsg", "create", *on, "-n", "nsg")
    az("network", "nsg", "rule", "create", *on, "--nsg-name", "nsg", "-n", "r", "--priority", "100",
       "--destination-port-ranges", "22", "80-90", "--access", "Allow")  # fmt: skip
    az("network", "nsg", "rule", "update", *on, "--nsg-name", "nsg", "-n", "r", "--priority", "110")
    for name, space in (("one", "10.1.0.0/16"), ("two", "10.2.0.0/16")):
        az("network", "vnet", "create", *on, "-n", name, "--address-prefix", space)
    az("network", "vnet", "subnet", "create", *on, "--vnet-name", "one", "-n", "s", "--address-prefixes", "10.1.0.0/24",
       "--nsg", "nsg", "--service-endpoints", "Microsoft.Storage",
       "--delegations", "Microsoft.Web/serverFarms")  # fmt: skip
    for here, there in (("one", "two"), ("two", "one")):
        az("network", "vnet", "peering", "create", *on, "--vnet-name", here, "-n", "p", "--remote-vnet", there)
    peering = az("network", "vnet", "peering", "show", *on, "--vnet-name", "one", "-n", "p")
    assert (peering["peeringState"], peering["peeringSyncLevel"]) == ("Connected", "FullyInSync")
    az("network", "lb", "create", *on, "-n", "lb", "--sku", "Standard", "--backend-pool-name", "b")
    az("network", "lb", "probe", "create", *on, "--lb-name", "lb", "-n", "p", "--protocol", "Tcp", "--port", "80")
    az("network", "lb", "rule", "create", *on, "--lb-name", "lb", "-n", "r", "--protocol", "Tcp", "--frontend-port",
       "80", "--backend-port", "80", "--backend-pool-name", "b", "--probe-name", "p")  # fmt: skip
    shown = az("network", "lb", "show", *on, "-n", "lb")
    assert [len(shown[w][0]["loadBalancingRules"]) for w in ("frontendIPConfigurations", "probes")] == [1, 1]
    az("network", "nic", "create", *on, "-n", "card", "--vnet-name", "one", "--subnet", "s")
    for verb in ("add", "remove"):
        az("network", "nic", "ip-config", "address-pool", verb, *on, "--nic-name", "card", "--ip-config-name",
           "ipconfig1", "--lb-name", "lb", "--address-pool", "b")  # fmt: skip
    assert "in use" in az("network", "vnet", "subnet", "delete", *on, "--vnet-name", "one", "-n", "s", refused=True)
    assert "not found" in az("network", "vnet", "subnet", "show", *on, "--vnet-name", "one", "-n", "no", refused=True)


def test_groups_are_tagged_locked_exported_and_deleted(az: Az) -> None:
    group = az("group", "create", "-n", "care", "-l", "westeurope")
    az("network", "asg", "create", "-g", "care", "-n", "asg")
    assert az("tag", "update", "--resource-id", group["id"], "--operation", "Merge", "--tags", "z=1")
    assert az("group", "show", "-n", "care")["tags"] == {"z": "1"}
    az("lock", "create", "-n", "l", "-g", "care", "--lock-type", "CanNotDelete")
    assert "locked" in az("network", "asg", "delete", "-g", "care", "-n", "asg", refused=True)
    az("lock", "delete", "-n", "l", "-g", "care")
    exported = az("group", "export", "-n", "care")
    assert [r["type"] for r in exported["resources"]] == ["Microsoft.Network/applicationSecurityGroups"]
    az("group", "delete", "-n", "care", "--yes", "--no-wait")
    az("group", "wait", "-n", "care", "--deleted", "--interval", "1")
    assert az("group", "exists", "-n", "care") is False


def test_offers_are_listed(az: Az) -> None:
    assert any(i["urnAlias"] == "Debian11" for i in az("vm", "image", "list"))
    debian = az("vm", "image", "list", "--all", "-l", "westeurope", "-p", "Debian")
    assert {"debian-11", "debian-12"} <= {i["offer"] for i in debian}
    types = az("vm", "extension", "image", "list-names", "-l", "westeurope", "-p", "Microsoft.Azure.Extensions")
    assert "CustomScript" in {t["name"] for t in types}
    assert any(u["name"]["value"] == "VirtualNetworks" for u in az("network", "list-usages", "-l", "westeurope"))

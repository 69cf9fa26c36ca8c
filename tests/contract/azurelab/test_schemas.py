"""Azure's JSON Schemas against azurelab: its answers fit them, and what they refuse azurelab refuses, too."""

from __future__ import annotations

import copy
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from azurelab.app import Lab
from azurelab.arm.errors import ArmError
from azurelab.arm.fields import check_fields
from azurelab.arm.types import ResourceType

sys.path.insert(0, str(Path(__file__).parent))
from arm_schemas import FOLDER, judged, problems

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason="the ARM schemas are not on this machine (HOLDFAST_SHARED)")
WEST = "westeurope"


def _bodies(group: str) -> dict[str, dict[str, Any]]:
    """path under the group → a rich body, in the order in which they can be made."""
    net, compute = f"{group}/providers/Microsoft.Network", f"{group}/providers/Microsoft.Compute"
    front = f"{net}/loadBalancers/lb/frontendIPConfigurations/f"
    pool, probe = f"{net}/loadBalancers/lb/backendAddressPools/b", f"{net}/loadBalancers/lb/probes/p"
    rule = {"protocol": "Tcp", "access": "Allow", "direction": "Inbound", "priority": 100, "sourcePortRange": "*",
            "destinationPortRange": "22", "sourceAddressPrefix": "*", "destinationAddressPrefix": "*"}  # fmt: skip
    subnet = {
        "addressPrefix": "10.0.0.0/24",
        "networkSecurityGroup": {"id": f"{net}/networkSecurityGroups/nsg"},
        "serviceEndpoints": [{"service": "Microsoft.Storage"}],
        "privateEndpointNetworkPolicies": "Disabled",
    }
    card = {
        "name": "c",
        "properties": {
            "subnet": {"id": f"{net}/virtualNetworks/net/subnets/s"},
            "privateIPAllocationMethod": "Dynamic",
            "primary": True,
            "publicIPAddress": {"id": f"{net}/publicIPAddresses/ip"},
            "applicationSecurityGroups": [{"id": f"{net}/applicationSecurityGroups/asg"}],
            "loadBalancerBackendAddressPools": [{"id": pool}],
        },
    }
    machine = {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "priority": "Spot",
        "evictionPolicy": "Deallocate",
        "billingProfile": {"maxPrice": -1},
        "storageProfile": {
            "imageReference": {"publisher": "Debian", "offer": "debian-12", "sku": "12", "version": "latest"},
            "osDisk": {"createOption": "FromImage", "caching": "ReadWrite", "deleteOption": "Delete", "diskSizeGB": 40,
                       "managedDisk": {"storageAccountType": "Premium_LRS"}},
            "dataDisks": [{"lun": 0, "createOption": "Empty", "diskSizeGB": 4, "caching": "None"}],
        },
        "osProfile": {"computerName": "vm", "adminUsername": "u", "adminPassword": "Sup3r-Secret!",
                      "linuxConfiguration": {"disablePasswordAuthentication": False, "provisionVMAgent": True}},
        "networkProfile": {
            "networkInterfaces": [
                {"id": f"{net}/networkInterfaces/nic", "properties": {"primary": True, "deleteOption": "Delete"}}
            ]
        },
        "diagnosticsProfile": {"bootDiagnostics": {"enabled": True}},
    }  # fmt: skip
    disk = {
        "creationData": {"createOption": "Empty"},
        "diskSizeGB": 4,
        "osType": "Linux",
        "hyperVGeneration": "V2",
        "networkAccessPolicy": "AllowAll",
        "publicNetworkAccess": "Enabled",
        "burstingEnabled": False,
    }
    source = {"createOption": "Copy", "sourceResourceId": f"{compute}/disks/d"}
    bodies: dict[str, dict[str, Any]] = {
        f"{net}/applicationSecurityGroups/asg": {},
        f"{net}/networkSecurityGroups/nsg": {"securityRules": [{"name": "ssh", "properties": rule}]},
        f"{net}/networkSecurityGroups/nsg/securityRules/more": {**rule, "priority": 200},
        f"{net}/virtualNetworks/net": {
            "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
            "dhcpOptions": {"dnsServers": ["10.0.0.10"]},
            "enableDdosProtection": False,
            "subnets": [{"name": "s", "properties": subnet}],
        },
        f"{net}/virtualNetworks/net/subnets/t": {**subnet, "addressPrefix": "10.0.1.0/24"},
        f"{net}/virtualNetworks/far": {"addressSpace": {"addressPrefixes": ["10.9.0.0/16"]}},
        f"{net}/virtualNetworks/net/virtualNetworkPeerings/p": {
            "remoteVirtualNetwork": {"id": f"{net}/virtualNetworks/far"},
            "allowForwardedTraffic": True,
        },
        f"{net}/publicIPAddresses/ip": {"publicIPAllocationMethod": "Static", "idleTimeoutInMinutes": 5},
        f"{net}/publicIPAddresses/front": {"publicIPAllocationMethod": "Static", "publicIPAddressVersion": "IPv4"},
        f"{net}/loadBalancers/lb": {
            "frontendIPConfigurations": [
                {"name": "f", "properties": {"publicIPAddress": {"id": f"{net}/publicIPAddresses/front"}}}
            ],
            "backendAddressPools": [{"name": "b"}],
            "probes": [{"name": "p", "properties": {"protocol": "Tcp", "port": 80}}],
            "loadBalancingRules": [
                {
                    "name": "r",
                    "properties": {
                        "protocol": "Tcp",
                        "frontendPort": 80,
                        "backendPort": 80,
                        "frontendIPConfiguration": {"id": front},
                        "backendAddressPool": {"id": pool},
                        "probe": {"id": probe},
                    },
                }
            ],
            "inboundNatRules": [
                {
                    "name": "n",
                    "properties": {
                        "protocol": "Tcp",
                        "frontendPort": 22,
                        "backendPort": 22,
                        "frontendIPConfiguration": {"id": front},
                    },
                }
            ],
        },
        f"{net}/networkInterfaces/nic": {
            "ipConfigurations": [card],
            "enableAcceleratedNetworking": True,
            "networkSecurityGroup": {"id": f"{net}/networkSecurityGroups/nsg"},
        },
        f"{compute}/availabilitySets/set": {"platformFaultDomainCount": 2, "platformUpdateDomainCount": 5},
        f"{compute}/disks/d": disk,
        f"{compute}/snapshots/full": {"creationData": source, "incremental": False},
        f"{compute}/snapshots/part": {"creationData": source, "incremental": True},
        f"{compute}/images/i": {
            "storageProfile": {
                "osDisk": {"osType": "Linux", "osState": "Generalized", "snapshot": {"id": f"{compute}/snapshots/full"}}
            }
        },
        f"{compute}/virtualMachines/vm": machine,
        f"{compute}/virtualMachines/vm/extensions/e": {
            "publisher": "Microsoft.Azure.Extensions",
            "type": "CustomScript",
            "typeHandlerVersion": "2.1",
            "autoUpgradeMinorVersion": True,
            "settings": {"commandToExecute": "true"},
        },
        f"{compute}/virtualMachines/vm/runCommands/c": {"source": {"script": "true"}, "timeoutInSeconds": 5},
    }
    skus = {"publicIPAddresses": "Standard", "loadBalancers": "Standard", "disks": "Premium_LRS",
            "availabilitySets": "Aligned"}  # fmt: skip
    done = {}
    for path, properties in bodies.items():
        words = path.split("/")
        done[path] = {"location": WEST, "tags": {"made": "by test"}, "properties": properties}
        if words[-2] in skus:
            done[path]["sku"] = {"name": skus[words[-2]]}
        if words[-2] in ("securityRules", "subnets", "virtualNetworkPeerings"):
            done[path] = {"properties": properties}
    return done


def _type_of(path: str) -> str:
    provider, *words = path.split("/providers/")[1].split("/")
    return "/".join([provider, *words[0::2]])


def test_the_documents_that_azurelab_answers_fit_azures_schemas(lab: Lab, clients: Any, group: str) -> None:
    wrong: dict[str, list[str]] = {}
    for path, body in _bodies(group).items():
        made = clients.call("PUT", path, body, "2024-03-01")
        assert made.status_code in (200, 201, 202), (path, made.text)
        clients.done(made) if "azure-asyncoperation" in made.headers else None
    for path in _bodies(group):
        shown = clients.call("GET", path, None, "2024-03-01").json()
        shown.pop("resources", None)  # templates call a child's type by its last word, answers in full
        if found := problems(_type_of(path), shown):
            wrong[path.split("/providers/")[1]] = found

    assert wrong == {}


def test_the_bodies_of_these_tests_fit_azures_schemas() -> None:
    group = "/subscriptions/0/resourceGroups/g"

    assert {p: found for p, b in _bodies(group).items() if (found := problems(_type_of(p), b))} == {}


def _mutants(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """Every place of the body with something else in it: an object for a scalar, a scalar for an object, a word."""
    if isinstance(value, dict):
        if path:
            yield path, "text"
        for key, inner in value.items():
            yield from _mutants(inner, (*path, key))
    elif isinstance(value, list):
        yield path, "text"
        for at, inner in enumerate(value):
            yield from _mutants(inner, (*path, at))
    else:
        yield path, {"an": "object"}
        if isinstance(value, str | bool | int):
            yield path, "no such word"


def _with(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(body)
    at: Any = changed
    for word in path[:-1]:
        at = at[word]
    at[path[-1]] = value
    return changed


def _refused(rtype: ResourceType, body: dict[str, Any]) -> bool:
    try:
        check_fields(rtype, rtype.fields, body)
    except ArmError as refused:
        return refused.status == 400
    return False


def test_what_azures_schemas_refuse_azurelab_refuses_too(lab: Lab) -> None:
    group = "/subscriptions/0/resourceGroups/g"
    let_through: list[str] = []
    tried = 0
    for path, body in _bodies(group).items():
        rtype = lab.arm.types[_type_of(path).lower()]
        if not judged(rtype.name):
            continue
        for place, value in _mutants(body):
            mutant = _with(body, place, value)
            if place[0] in ("location", "tags") or not problems(rtype.name, mutant):
                continue
            tried += 1
            if not _refused(rtype, mutant):
                let_through.append(f"{rtype.name} {'.'.join(map(str, place))} = {value!r}")

    assert tried > 150
    assert "\n".join(let_through) == ""

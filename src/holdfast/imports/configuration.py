"""The node that an import makes of a machine, as node JSON: what `importConfiguration` answers, to be edited and sent.

It carries spotSizeAttributes and no spotSizes: own size as the only spot size would switch off the documented
expansion to every size of the same attributes (spot-stateful-node-api.md 5.5).
"""

from __future__ import annotations

from typing import Any

from holdfast.clouds.azure.succession.names import resource_group_of
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Facts
from holdfast.imports.options import NetworkSource
from holdfast.market.deciding.sizes import Size

__all__ = ["import_configuration", "merged_node"]


def import_configuration(facts: Facts, own: Size, network: NetworkSource = NetworkSource.NEW) -> dict[str, Any]:
    """A ready node object. Its network section describes new cards like the machine's; it is absent when kept."""
    machine = facts.machine
    memory = int(own.memory_gib) if own.memory_gib == int(own.memory_gib) else own.memory_gib
    compute: dict[str, Any] = {
        "os": machine.get("properties.storageProfile.osDisk.osType", "Linux"),
        "vmSizes": {
            "odSizes": [own.name.lower()],
            "spotSizeAttributes": {
                "minCpu": own.vcpus,
                "maxCpu": own.vcpus,
                "minMemory": memory,
                "maxMemory": memory,
            },
        },
        "launchSpecification": {},
    }
    if machine.body.get("zones"):
        compute["zones"] = list(machine.body["zones"])
    if machine.tags:
        tags = [{"tagKey": key, "tagValue": value} for key, value in machine.tags.items()
                if not key.startswith("holdfast-")]  # fmt: skip
        compute["launchSpecification"]["tags"] = tags
    if network is NetworkSource.NEW and facts.nics:
        compute["launchSpecification"]["network"] = _network(facts)
    return {
        "name": machine.name,
        "description": f"Imported from virtual machine: {machine.name}",
        "region": machine.body["location"],
        "resourceGroupName": resource_group_of(machine.ref),
        "strategy": {"fallbackToOd": True, "preferredLifecycle": "spot"},
        "compute": compute,
        "persistence": {
            "shouldPersistOsDisk": True,
            "osDiskPersistenceMode": "reattach",
            "shouldPersistDataDisks": True,
            "dataDisksPersistenceMode": "reattach",
            "shouldPersistNetwork": network is NetworkSource.KEEP,
        },
    }


def merged_node(base: dict[str, Any], given: dict[str, Any]) -> dict[str, Any]:
    """What the client gave over what the machine says; objects merge, everything else is replaced, null says nothing.

    vmSizes is taken whole: half of the client's sizes and half of ours would be neither's wish; its missing on-demand
    size is filled in.
    """
    out = dict(base)
    for key, value in given.items():
        if value is None or value == {}:
            continue
        if key == "vmSizes":
            whole = {name: inner for name, inner in value.items() if inner not in (None, {}, [])}
            if not whole.get("spotSizes") and not whole.get("spotSizeAttributes"):
                whole["spotSizeAttributes"] = base[key]["spotSizeAttributes"]
            whole.setdefault("odSizes", base[key]["odSizes"])
            out[key] = whole
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            out[key] = merged_node(base[key], value)
        else:
            out[key] = value
    return out


def _network(facts: Facts) -> dict[str, Any]:
    subnet = facts.nics[0].get("properties.ipConfigurations", [{}])[0]["properties"]["subnet"]["id"]
    known = {address.ref.lower(): address for address in facts.public_ips}
    return {
        "resourceGroupName": resource_group_of(subnet),
        "virtualNetworkName": subnet.split("/")[-3],
        "networkInterfaces": [_card(nic, index == 0, known) for index, nic in enumerate(facts.nics)],
    }


def _card(nic: Document, primary: bool, known: dict[str, Document]) -> dict[str, Any]:
    configurations = nic.get("properties.ipConfigurations", [])
    first = next((c for c in configurations if c["properties"].get("primary")), configurations[0])["properties"]
    card: dict[str, Any] = {
        "isPrimary": primary,
        "subnetName": first["subnet"]["id"].rsplit("/", 1)[-1],
        "enableIpForwarding": bool(nic.get("properties.enableIPForwarding", False)),
        "assignPublicIp": False,
    }
    if address := (first.get("publicIPAddress") or {}).get("id"):
        card["assignPublicIp"] = True
        card["publicIpSku"] = (known[address.lower()].body.get("sku") or {}).get("name", "Basic")
    if group := nic.get("properties.networkSecurityGroup.id"):
        card["networkSecurityGroup"] = _named(group)
    if groups := first.get("applicationSecurityGroups"):
        card["applicationSecurityGroups"] = [_named(group["id"]) for group in groups]
    rest = [c for c in configurations if c["properties"] is not first]
    if rest:
        card["additionalIpConfigurations"] = [
            {"name": c["name"], "privateIpAddressVersion": c["properties"].get("privateIPAddressVersion", "IPv4")}
            for c in rest
        ]
    return card


def _named(ref: str) -> dict[str, str]:
    return {"name": ref.rsplit("/", 1)[-1], "resourceGroupName": resource_group_of(ref)}

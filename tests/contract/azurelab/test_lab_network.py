"""The network provider, through azure-mgmt-network: addresses, back-references, what may not be taken or deleted."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from azurelab.app import Lab
from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Principal
from azurelab.arm.ids import parse_id
from azurelab.network import attachment

WEST = "westeurope"


def _subnet(clients: Any, prefix: str = "10.0.0.0/24") -> str:
    vnet = clients.network.virtual_networks.begin_create_or_update(
        "rg",
        "net",
        {
            "location": WEST,
            "properties": {
                "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
                "subnets": [{"name": "default", "properties": {"addressPrefix": prefix}}],
            },
        },
    ).result()
    return str(vnet.subnets[0].id)


def _nic(clients: Any, name: str, subnet: str, pip: str | None = None, **config: Any) -> Any:
    properties: dict[str, Any] = {"subnet": {"id": subnet}, **config}
    if pip is not None:
        properties["publicIPAddress"] = {"id": pip}
    body = {"location": WEST, "properties": {"ipConfigurations": [{"name": "ipconfig1", "properties": properties}]}}
    return clients.network.network_interfaces.begin_create_or_update("rg", name, body).result()


def _pip(clients: Any, name: str, sku: str = "Standard") -> Any:
    body = {"location": WEST, "sku": {"name": sku}, "properties": {}}
    return clients.network.public_ip_addresses.begin_create_or_update("rg", name, body).result()


def _machine_context(lab: Lab, vm_id: str) -> Context:
    rid = parse_id(vm_id)
    assert rid is not None
    rtype = lab.arm.types["microsoft.network/networkinterfaces"]
    nobody = Principal("", "")
    return Context(
        lab, rtype, rid, method="PUT", api_version="2024-07-01", body=None, query={}, caller=nobody, headers={}
    )


@pytest.mark.usefixtures("group")
def test_private_addresses_start_behind_the_reserved_four_and_are_reused_only_when_free(clients: Any) -> None:
    subnet = _subnet(clients)

    first, second = _nic(clients, "a", subnet), _nic(clients, "b", subnet)
    clients.network.network_interfaces.begin_delete("rg", "a").result()
    third = _nic(clients, "c", subnet)

    addresses = [n.ip_configurations[0].private_ip_address for n in (first, second, third)]
    assert addresses == ["10.0.0.4", "10.0.0.5", "10.0.0.4"]


@pytest.mark.usefixtures("group")
def test_a_dynamic_private_address_stays_with_its_card_and_becomes_static_unchanged(clients: Any) -> None:
    subnet = _subnet(clients)
    _nic(clients, "before", subnet)
    nic = _nic(clients, "card", subnet)
    clients.network.network_interfaces.begin_delete("rg", "before").result()

    again = _nic(clients, "card", subnet)
    static = _nic(clients, "card", subnet, privateIPAllocationMethod="Static")

    assert nic.ip_configurations[0].private_ip_address == "10.0.0.5"
    assert again.ip_configurations[0].private_ip_address == "10.0.0.5"
    assert static.ip_configurations[0].private_ip_address == "10.0.0.5"
    assert again.resource_guid == nic.resource_guid


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("10.0.0.4", "PrivateIPAddressIsAllocated"),
        ("10.0.0.3", "PrivateIPAddressInReservedRange"),
        ("10.0.0.255", "PrivateIPAddressInReservedRange"),
        ("10.0.9.9", "PrivateIPAddressNotInSubnet"),
    ],
)
def test_a_static_address_that_cannot_be_given_is_refused_with_azures_code(
    clients: Any, address: str, code: str
) -> None:
    subnet = _subnet(clients)
    _nic(clients, "holder", subnet)

    with pytest.raises(HttpResponseError) as refused:
        _nic(clients, "card", subnet, privateIPAllocationMethod="Static", privateIPAddress=address)

    assert refused.value.error.code == code


@pytest.mark.usefixtures("group")
def test_a_full_subnet_says_so(clients: Any) -> None:
    subnet = _subnet(clients, "10.0.0.0/29")
    for name in ("a", "b", "c"):
        _nic(clients, name, subnet)

    with pytest.raises(HttpResponseError) as refused:
        _nic(clients, "d", subnet)

    assert refused.value.error.code == "SubnetIsFull"


@pytest.mark.usefixtures("group")
def test_public_addresses_are_of_the_labs_own_loopback_network(lab: Lab, clients: Any) -> None:
    pip = _pip(clients, "ip")

    assert ipaddress.ip_address(pip.ip_address) in lab.loopback
    assert not pip.ip_address.startswith("127.0.")
    assert pip.public_ip_allocation_method == "Static"


def test_two_labs_have_different_networks_and_keep_them_over_a_restart(tmp_path: Path) -> None:
    with Lab.start(tmp_path / "one") as one, Lab.start(tmp_path / "two") as two:
        before = one.loopback
        assert not one.loopback.overlaps(two.loopback)
    with Lab.start(tmp_path / "one") as again:
        assert again.loopback == before


@pytest.mark.usefixtures("group")
def test_back_references_show_who_uses_what(clients: Any) -> None:
    subnet, pip = _subnet(clients), _pip(clients, "ip")
    nsg = clients.network.network_security_groups.begin_create_or_update("rg", "nsg", {"location": WEST}).result()
    config = {"name": "c", "properties": {"subnet": {"id": subnet}, "publicIPAddress": {"id": pip.id}}}
    body = {"location": WEST, "properties": {"networkSecurityGroup": {"id": nsg.id}, "ipConfigurations": [config]}}
    nic = clients.network.network_interfaces.begin_create_or_update("rg", "card", body).result()

    shown = clients.network.subnets.get("rg", "net", "default")
    held = clients.network.public_ip_addresses.get("rg", "ip")
    guarded = clients.network.network_security_groups.get("rg", "nsg")

    config_id = nic.ip_configurations[0].id
    assert [c.id for c in shown.ip_configurations] == [config_id]
    assert held.ip_configuration.id == config_id
    assert [n.id for n in guarded.network_interfaces] == [nic.id]
    assert len(guarded.default_security_rules) == 6


@pytest.mark.usefixtures("group")
def test_what_is_in_use_cannot_be_deleted_and_goes_in_the_right_order(clients: Any) -> None:
    subnet, pip = _subnet(clients), _pip(clients, "ip")
    _nic(clients, "card", subnet, pip.id)
    n = clients.network
    refused = []
    for attempt in (
        lambda: n.public_ip_addresses.begin_delete("rg", "ip"),
        lambda: n.subnets.begin_delete("rg", "net", "default"),
        lambda: n.virtual_networks.begin_delete("rg", "net"),
    ):
        with pytest.raises(HttpResponseError) as error:
            attempt()
        refused.append(error.value.error.code)

    n.network_interfaces.begin_delete("rg", "card").result()
    n.public_ip_addresses.begin_delete("rg", "ip").result()
    n.virtual_networks.begin_delete("rg", "net").result()

    assert refused == ["PublicIPAddressCannotBeDeleted", "InUseSubnetCannotBeDeleted", "InUseSubnetCannotBeDeleted"]
    assert list(n.public_ip_addresses.list("rg")) == []


@pytest.mark.usefixtures("group")
def test_a_public_address_serves_one_configuration_only(clients: Any) -> None:
    subnet, pip = _subnet(clients), _pip(clients, "ip")
    _nic(clients, "card", subnet, pip.id)

    with pytest.raises(HttpResponseError) as refused:
        _nic(clients, "other", subnet, pip.id)

    assert refused.value.error.code == "PublicIPAddressInUse"


def test_a_card_of_a_machine_is_not_deleted_nor_taken_and_keeps_its_places(lab: Lab, clients: Any, group: str) -> None:
    subnet, pip = _subnet(clients), _pip(clients, "ip", "Basic")
    nic = _nic(clients, "card", subnet, pip.id)
    vm_id = f"{group}/providers/Microsoft.Compute/virtualMachines/vm"
    ctx = _machine_context(lab, vm_id)
    with ctx.transaction():
        attachment.attach(ctx, nic.id, vm_id, primary=True)
        attachment.bring_up(ctx, vm_id)
    running = clients.network.public_ip_addresses.get("rg", "ip").ip_address

    with pytest.raises(HttpResponseError) as in_use:
        clients.network.network_interfaces.begin_delete("rg", "card")
    with pytest.raises(ArmError, match="NicInUse"):
        attachment.check_free(ctx, nic.id, vm_id + "2")
    card = attachment.cards(lab.store, vm_id)[0]
    with ctx.transaction():
        attachment.take_down(ctx, vm_id)
    stopped = clients.network.public_ip_addresses.get("rg", "ip").ip_address
    with ctx.transaction():
        attachment.bring_up(ctx, vm_id)
    again = clients.network.public_ip_addresses.get("rg", "ip").ip_address

    assert in_use.value.error.code == "NicInUse"
    assert (card.public_ip, card.private_ip, card.prefix_length) == (running, "10.0.0.4", 24)
    assert running is not None
    assert stopped is None, "a dynamic address goes back on deallocation"
    assert again not in (None, running), "and comes as another one"
    assert attachment.cards(lab.store, vm_id)[0].mac == card.mac


@pytest.mark.usefixtures("group")
def test_subnets_and_their_network_change_etags_together_and_conditions_hold(clients: Any) -> None:
    _subnet(clients)
    before = clients.network.virtual_networks.get("rg", "net")
    clients.network.subnets.begin_create_or_update(
        "rg", "net", "more", {"properties": {"addressPrefix": "10.0.1.0/24"}}
    ).result()
    after = clients.network.virtual_networks.get("rg", "net")
    path = f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Network/virtualNetworks/net"
    body = {"location": WEST, "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}}

    stale = clients.call("PUT", path, body, if_match=before.etag)
    exists = clients.call("PUT", path, body, if_none_match="*")
    good = clients.call("PUT", path, body, if_match=after.etag)

    assert before.etag != after.etag
    assert {s.etag for s in after.subnets} == {after.etag}
    assert (stale.status_code, exists.status_code, good.status_code) == (412, 412, 200)
    assert len(clients.network.virtual_networks.get("rg", "net").subnets) == 2, "a body without subnets leaves them"


@pytest.mark.usefixtures("group")
def test_load_balancer_pools_know_their_members(clients: Any) -> None:
    subnet = _subnet(clients)
    front = {"name": "f", "properties": {"subnet": {"id": subnet}}}
    body = {
        "location": WEST,
        "properties": {"frontendIPConfigurations": [front], "backendAddressPools": [{"name": "p"}]},
    }
    lb = clients.network.load_balancers.begin_create_or_update("rg", "lb", body).result()

    nic = _nic(clients, "card", subnet, loadBalancerBackendAddressPools=[{"id": lb.backend_address_pools[0].id}])
    pool = clients.network.load_balancer_backend_address_pools.get("rg", "lb", "p")

    assert [m.id for m in pool.backend_ip_configurations] == [nic.ip_configurations[0].id]
    assert lb.frontend_ip_configurations[0].private_ip_address == "10.0.0.4"
    assert nic.ip_configurations[0].private_ip_address == "10.0.0.5"


@pytest.mark.usefixtures("group")
def test_entries_of_a_document_are_read_by_their_own_urls_and_free_addresses_are_told(clients: Any) -> None:
    subnet = _subnet(clients)
    _nic(clients, "card", subnet)
    n = clients.network
    n.network_security_groups.begin_create_or_update("rg", "nsg", {"location": WEST}).result()

    config = n.network_interface_ip_configurations.get("rg", "card", "ipconfig1")
    rules = [r.name for r in n.default_security_rules.list("rg", "nsg")]
    taken = n.virtual_networks.check_ip_address_availability("rg", "net", ip_address="10.0.0.4")
    free = n.virtual_networks.check_ip_address_availability("rg", "net", ip_address="10.0.0.9")

    assert config.private_ip_address == "10.0.0.4"
    assert "DenyAllInBound" in rules
    assert (taken.available, taken.available_ip_addresses[0], free.available) == (False, "10.0.0.5", True)


@pytest.mark.usefixtures("group")
def test_route_tables_are_data_that_subnets_hold(clients: Any) -> None:
    _subnet(clients)
    n = clients.network
    route = {"name": "r", "properties": {"addressPrefix": "0.0.0.0/0", "nextHopType": "Internet"}}
    table = n.route_tables.begin_create_or_update(
        "rg", "t", {"location": WEST, "properties": {"routes": [route]}}
    ).result()
    body = {"properties": {"addressPrefix": "10.0.0.0/24", "routeTable": {"id": table.id}}}
    n.subnets.begin_create_or_update("rg", "net", "default", body).result()

    with pytest.raises(HttpResponseError) as refused:
        n.route_tables.begin_delete("rg", "t")

    assert table.routes[0].next_hop_type == "Internet"
    assert [s.id.rsplit("/", 1)[1] for s in n.route_tables.get("rg", "t").subnets] == ["default"]
    assert refused.value.error.code == "InUseRouteTableCannotBeDeleted"


@pytest.mark.usefixtures("group")
def test_references_to_nothing_and_wrong_words_are_refused(clients: Any) -> None:
    subnet = _subnet(clients)
    base = f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Network"

    missing = clients.call(
        "PUT",
        f"{base}/networkInterfaces/x",
        {
            "location": WEST,
            "properties": {"ipConfigurations": [{"name": "c", "properties": {"subnet": {"id": subnet + "x"}}}]},
        },
    )
    word = clients.call(
        "PUT",
        f"{base}/publicIPAddresses/x",
        {"location": WEST, "properties": {"publicIPAllocationMethod": "Sometimes"}},
    )
    nowhere = clients.call("PUT", f"{base}/publicIPAddresses/x", {"location": "atlantis", "properties": {}})

    assert missing.json()["error"]["code"] == "InvalidResourceReference"
    assert word.json()["error"]["code"] == "InvalidRequestFormat"
    assert nowhere.json()["error"]["code"] == "LocationNotAvailableForResourceType"
    assert clients.call("GET", f"{base}/publicIPAddresses/x").status_code == 404

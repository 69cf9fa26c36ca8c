"""Children, relations and questions of the network provider: errors in its dialect, what applies to a card, who names
what."""

from __future__ import annotations

from typing import Any

import pytest

WEST = "westeurope"
pytestmark = pytest.mark.usefixtures("group")


def _net(clients: Any) -> str:
    return f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Network"


def _put(clients: Any, path: str, properties: dict[str, Any], **words: Any) -> dict[str, Any]:
    answer = clients.call("PUT", path, {"location": WEST, "properties": properties, **words})
    assert answer.status_code in (200, 201), answer.text
    return dict(answer.json())


def _vnet(clients: Any, name: str = "net", space: str = "10.0.0.0/16") -> str:
    prefix = space.replace("/16", "/24")
    body = {
        "addressSpace": {"addressPrefixes": [space]},
        "subnets": [{"name": "s", "properties": {"addressPrefix": prefix}}],
    }
    return str(_put(clients, f"{_net(clients)}/virtualNetworks/{name}", body)["id"])


def _card(clients: Any, name: str = "card", **config: Any) -> str:
    subnet = {"id": f"{_vnet(clients)}/subnets/s"}
    body = {"ipConfigurations": [{"name": "c", "properties": {"subnet": subnet, **config}}]}
    return str(_put(clients, f"{_net(clients)}/networkInterfaces/{name}", body)["id"])


def test_refusals_of_the_provider_carry_details_and_those_of_the_front_door_do_not(clients: Any) -> None:
    card = _card(clients)
    subnet = f"{_net(clients)}/virtualNetworks/net/subnets/s"

    in_use = clients.call("DELETE", subnet)
    no_child = clients.call("GET", f"{_net(clients)}/virtualNetworks/net/subnets/no")
    no_parent = clients.call("GET", f"{_net(clients)}/virtualNetworks/no/subnets/s")
    no_list = clients.call("GET", f"{_net(clients)}/virtualNetworks/no/subnets")
    no_delete = clients.call("DELETE", f"{_net(clients)}/virtualNetworks/no/subnets/s")
    gone = clients.call("DELETE", f"{_net(clients)}/virtualNetworks/net/subnets/no")
    missing = clients.call("GET", f"{card}-2")
    stale = clients.call("PUT", card, {"location": WEST, "properties": {}}, If_Match='W/"0"')

    assert (in_use.status_code, in_use.json()["error"]["code"]) == (400, "InUseSubnetCannotBeDeleted")
    assert in_use.json()["error"]["details"] == []
    assert no_child.json()["error"] == {"code": "NotFound", "message": f"Resource {subnet[:-1]}no not found.",
                                        "details": []}  # fmt: skip
    assert {r.json()["error"]["code"] for r in (no_parent, no_list, no_delete)} == {"ParentResourceNotFound"}
    assert {r.status_code for r in (no_child, no_parent, no_list, no_delete, missing)} == {404}
    assert gone.status_code == 204
    assert "details" not in missing.json()["error"]
    assert stale.status_code == 412
    assert stale.json()["error"]["details"][0]["code"] == "PreconditionFailedEtagMismatch"


def test_a_word_that_the_deserialiser_does_not_know_is_an_invalid_request_format(clients: Any) -> None:
    answer = clients.call(
        "PUT",
        f"{_net(clients)}/publicIPAddresses/p",
        {"location": WEST, "properties": {"publicIPAllocationMethod": "Sometimes"}},
    )

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "InvalidRequestFormat")
    assert "Sometimes" in answer.json()["error"]["details"][0]["message"]


def test_effective_routes_and_rules_are_told_of_cards_of_running_machines_only(clients: Any, lab: Any) -> None:
    net = _net(clients)
    rule = {"protocol": "Tcp", "access": "Allow", "direction": "Inbound", "priority": 100, "sourcePortRange": "*",
            "destinationPortRange": "22", "sourceAddressPrefix": "*", "destinationAddressPrefix": "*"}  # fmt: skip
    nsg = _put(clients, f"{net}/networkSecurityGroups/n", {"securityRules": [{"name": "ssh", "properties": rule}]})
    hop = {"addressPrefix": "0.0.0.0/0", "nextHopType": "VirtualAppliance", "nextHopIpAddress": "10.0.0.9"}
    table = _put(clients, f"{net}/routeTables/t", {"routes": [{"name": "out", "properties": hop}]})
    card = _card(clients)
    body = clients.call("GET", card).json()
    body["properties"]["networkSecurityGroup"] = {"id": nsg["id"]}
    clients.call("PUT", card, body)
    subnet = f"{net}/virtualNetworks/net/subnets/s"
    _put(clients, subnet, {"addressPrefix": "10.0.0.0/24", "routeTable": {"id": table["id"]}})

    early = clients.call("POST", f"{card}/effectiveRouteTable")
    with lab.store.edit(card) as held:
        held.properties["virtualMachine"] = {"id": f"{clients.sub}/x"}
        held.hidden["up"] = True
    routes = clients.call("POST", f"{card}/effectiveRouteTable")
    rules = clients.call("POST", f"{card}/effectiveNetworkSecurityGroups")

    assert early.status_code == 400
    assert {routes.status_code, rules.status_code} == {202}
    assert {"azure-asyncoperation", "location"} <= set(routes.headers)
    told = clients.http.get(routes.headers["location"]).json()["value"]
    assert [(r["source"], r["state"], r["nextHopType"]) for r in told if r["addressPrefix"] == ["0.0.0.0/0"]] == [
        ("Default", "Invalid", "Internet"),
        ("User", "Active", "VirtualAppliance"),
    ]
    groups = clients.http.get(rules.headers["location"]).json()["value"]
    first = groups[0]["effectiveSecurityRules"][0]
    assert (first["name"], first["destinationPortRange"]) == ("securityRules/ssh", "22-22")
    with lab.store.edit(card) as held:
        held.properties.pop("virtualMachine")


def test_peerings_know_their_other_half(clients: Any) -> None:
    one, two = _vnet(clients, "one", "10.1.0.0/16"), _vnet(clients, "two", "10.2.0.0/16")

    def peer(here: str, there: str) -> dict[str, Any]:
        return _put(clients, f"{here}/virtualNetworkPeerings/p", {"remoteVirtualNetwork": {"id": there}})["properties"]

    alone, both = peer(one, two), peer(two, one)
    now = clients.call("GET", f"{one}/virtualNetworkPeerings/p").json()["properties"]
    clients.call("DELETE", f"{two}/virtualNetworkPeerings/p")
    after = clients.call("GET", f"{one}/virtualNetworkPeerings/p").json()["properties"]

    assert [p["peeringState"] for p in (alone, both, now, after)] == [
        "Initiated", "Connected", "Connected", "Disconnected",
    ]  # fmt: skip
    assert alone["remoteAddressSpace"] == {"addressPrefixes": ["10.2.0.0/16"]}


def test_a_balancers_parts_show_the_rules_that_name_them(clients: Any) -> None:
    net = _net(clients)
    at = f"{net}/loadBalancers/lb"
    subnet = {"id": f"{_vnet(clients)}/subnets/s"}
    rule = {
        "protocol": "tcp",
        "frontendPort": 80,
        "backendPort": 80,
        "frontendIPConfiguration": {"id": f"{at}/frontendIPConfigurations/f"},
        "backendAddressPool": {"id": f"{at}/backendAddressPools/b"},
        "probe": {"id": f"{at}/probes/p"},
    }
    body: dict[str, Any] = {
        "frontendIPConfigurations": [{"name": "f", "properties": {"subnet": subnet}}],
        "backendAddressPools": [{"name": "b"}],
        "probes": [{"name": "p", "properties": {"protocol": "Tcp", "port": 80}}],
        "loadBalancingRules": [{"name": "r", "properties": rule}],
    }

    shown = _put(clients, at, body)["properties"]
    pool = clients.call("GET", f"{at}/backendAddressPools/b").json()["properties"]
    wrong = {**rule, "probe": {"id": f"{at}/probes/no"}}
    refused = clients.call(
        "PUT",
        at,
        {"location": WEST, "properties": {**body, "loadBalancingRules": [{"name": "r", "properties": wrong}]}},
    )

    named = [{"id": f"{at}/loadBalancingRules/r"}]
    assert shown["frontendIPConfigurations"][0]["properties"]["loadBalancingRules"] == named
    assert shown["probes"][0]["properties"]["loadBalancingRules"] == named
    assert pool["loadBalancingRules"] == named
    assert shown["loadBalancingRules"][0]["properties"]["protocol"] == "Tcp"
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "InvalidResourceReference")


def test_questions_about_names_usages_and_relations_are_answered(clients: Any) -> None:
    card = _card(clients)
    net, region = _net(clients), f"{clients.sub}/providers/Microsoft.Network/locations/{WEST}"
    _put(clients, f"{net}/publicIPAddresses/p", {"dnsSettings": {"domainNameLabel": "taken"}})

    def value(path: str) -> list[dict[str, Any]]:
        answer = clients.call("GET", path)
        assert answer.status_code == 200, answer.text
        return list(answer.json()["value"])

    free = [
        clients.call("GET", f"{region}/CheckDnsNameAvailability?domainNameLabel={label}").json()["available"]
        for label in ("taken", "free")
    ]

    assert free == [False, True]
    usage = value(f"{net}/virtualNetworks/net/usages")[0]
    assert (usage["currentValue"], usage["limit"], usage["name"]["value"]) == (1.0, 251.0, "SubnetSpace")
    assert "Microsoft.Storage" in {e["name"] for e in value(f"{region}/virtualNetworkAvailableEndpointServices")}
    assert value(f"{region}/availableDelegations")[0]["serviceName"] == "Microsoft.Web/serverFarms"
    assert value(f"{card}/loadBalancers") == value(f"{card}/tapConfigurations") == []
    assert value(f"{net}/virtualNetworks/net/subnets/s/serviceAssociationLinks") == []
    assert clients.call("GET", f"{card}2/loadBalancers").status_code == 404


def test_subnets_complete_delegations_and_service_endpoints(clients: Any) -> None:
    _vnet(clients)
    at = f"{_net(clients)}/virtualNetworks/net/subnets/d"
    body = {
        "addressPrefix": "10.0.5.0/24",
        "delegations": [{"name": "web", "properties": {"serviceName": "Microsoft.Web/serverFarms"}}],
        "serviceEndpoints": [{"service": "Microsoft.Storage"}],
    }

    shown = _put(clients, at, body)["properties"]

    assert shown["delegations"][0]["id"] == f"{at}/delegations/web"
    assert shown["delegations"][0]["properties"]["actions"]
    assert shown["serviceEndpoints"][0] == {
        "service": "Microsoft.Storage", "provisioningState": "Succeeded", "locations": ["*"],
    }  # fmt: skip


def test_back_references_are_whole_where_a_client_expands_them(clients: Any) -> None:
    pip = _put(clients, f"{_net(clients)}/publicIPAddresses/p", {})["id"]
    card = _card(clients, publicIPAddress={"id": pip})
    subnet = f"{_net(clients)}/virtualNetworks/net/subnets/s"

    plain = clients.call("GET", subnet).json()["properties"]["ipConfigurations"]
    whole = clients.call("GET", f"{subnet}?$expand=ipConfigurations").json()["properties"]["ipConfigurations"]
    network = clients.call("GET", f"{_net(clients)}/virtualNetworks/net?$expand=subnets/ipConfigurations").json()
    address = clients.call("GET", f"{pip}?$expand=ipConfiguration/subnet").json()["properties"]["ipConfiguration"]

    assert plain == [{"id": f"{card}/ipConfigurations/c"}]
    assert whole[0]["properties"]["privateIPAddress"] == "10.0.0.4"
    assert network["properties"]["subnets"][0]["properties"]["ipConfigurations"] == whole
    assert address["properties"]["subnet"]["id"].endswith("/subnets/s")

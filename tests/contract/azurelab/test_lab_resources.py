"""Groups, tags, locks, roles, offers, prices and deployments, as clients see them."""

from __future__ import annotations

from typing import Any

import pytest
from azure.core.exceptions import HttpResponseError

from azurelab.app import Lab

WEST = "westeurope"
_PIP = {"location": WEST, "sku": {"name": "Standard"}, "properties": {}}


def _rg(clients: Any) -> str:
    return f"{clients.sub}/resourceGroups/rg"


def _pip(clients: Any, name: str = "p") -> str:
    return f"{_rg(clients)}/providers/Microsoft.Network/publicIPAddresses/{name}"


# -- groups -------------------------------------------------------------------------------------------------------


def test_groups_are_made_shown_listed_and_deleted_with_all_that_is_in_them(lab: Lab, clients: Any) -> None:
    groups = clients.resources.resource_groups
    made = groups.create_or_update("G1", {"location": "West Europe", "tags": {"a": "b"}})
    vnet = {"location": WEST, "properties": {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}}
    vnet["properties"]["subnets"] = [{"name": "s", "properties": {"addressPrefix": "10.0.0.0/24"}}]  # type: ignore[index]
    net = clients.network.virtual_networks.begin_create_or_update("g1", "net", vnet).result()
    pip = clients.network.public_ip_addresses.begin_create_or_update("g1", "p", _PIP).result()
    config = {"name": "c", "properties": {"subnet": {"id": net.subnets[0].id}, "publicIPAddress": {"id": pip.id}}}
    nic = {"location": WEST, "properties": {"ipConfigurations": [config]}}
    clients.network.network_interfaces.begin_create_or_update("g1", "card", nic).result()

    exists = groups.check_existence("g1")
    groups.begin_delete("g1").result()

    assert (made.location, made.tags, exists) == (WEST, {"a": "b"}, True)
    assert groups.check_existence("g1") is False
    assert [e.resource.split("/")[-1] for e in lab.events() if e.kind == "deleted" and "subnets" not in e.resource] == [
        "card", "p", "net", "G1",
    ]  # fmt: skip


def test_a_group_cannot_move(clients: Any, group: str) -> None:
    answer = clients.call("PUT", group, {"location": "eastus"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "InvalidResourceGroupLocation")


def test_a_resource_cannot_move(clients: Any, group: str) -> None:
    clients.call("PUT", _pip(clients), _PIP)

    answer = clients.call("PUT", _pip(clients), {**_PIP, "location": "eastus"})

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "InvalidResourceLocation")


# -- tags ---------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("group")
def test_tags_are_merged_replaced_and_deleted_at_any_scope(clients: Any) -> None:
    clients.call("PUT", _pip(clients), {**_PIP, "tags": {"Owner": "a", "keep": "1"}})
    tags = _pip(clients) + "/providers/Microsoft.Resources/tags/default"

    def patch(operation: str, **given: str) -> dict[str, str]:
        answer = clients.call("PATCH", tags, {"operation": operation, "properties": {"tags": given}})
        assert answer.status_code == 200
        return clients.call("GET", _pip(clients)).json()["tags"]  # type: ignore[no-any-return]

    merged = patch("Merge", owner="b", new="2")
    partly = patch("Delete", new="other", keep="1")
    replaced = patch("Replace", only="x")

    assert merged == {"Owner": "b", "keep": "1", "new": "2"}
    assert partly == {"Owner": "b", "new": "2"}, "a value that is not equal keeps the tag"
    assert replaced == {"only": "x"}
    assert clients.call("PATCH", tags, {"operation": "Explode", "properties": {"tags": {}}}).status_code == 400


@pytest.mark.usefixtures("group")
def test_a_patch_of_tags_replaces_the_map(clients: Any) -> None:
    clients.call("PUT", _pip(clients), {**_PIP, "tags": {"a": "1", "b": "2"}})

    answer = clients.call("PATCH", _pip(clients), {"tags": {"c": "3"}})

    assert answer.json()["tags"] == {"c": "3"}


@pytest.mark.usefixtures("group")
def test_fifty_tags_are_the_most(clients: Any) -> None:
    answer = clients.call("PUT", _pip(clients), {**_PIP, "tags": {f"t{n}": "x" for n in range(51)}})

    assert answer.json()["error"]["code"] == "InvalidTagsCount"


# -- locks and roles ----------------------------------------------------------------------------------------------


def test_locks_forbid_what_their_level_says_below_their_scope(clients: Any, group: str) -> None:
    clients.call("PUT", _pip(clients), _PIP)
    lock = group + "/providers/Microsoft.Authorization/locks/l"
    clients.call("PUT", lock, {"properties": {"level": "CanNotDelete"}}, "2020-05-01")
    kept = clients.call("DELETE", _pip(clients))
    written = clients.call("PATCH", _pip(clients), {"tags": {"a": "b"}})
    whole = clients.call("DELETE", group)
    clients.call("PUT", lock, {"properties": {"level": "ReadOnly"}}, "2020-05-01")
    frozen = clients.call("PATCH", _pip(clients), {"tags": {"a": "c"}})
    clients.call("DELETE", lock, version="2020-05-01")

    assert [a.status_code for a in (kept, written, whole, frozen)] == [409, 200, 409, 409]
    assert kept.json()["error"]["code"] == "ScopeLocked"
    assert clients.call("DELETE", _pip(clients)).status_code == 202


@pytest.mark.usefixtures("group")
def test_a_role_without_an_action_is_told_and_enforced(lab: Lab, clients: Any) -> None:
    clients.call("PUT", _pip(clients), _PIP)
    lab.roles.set("*", ["*"], ["Microsoft.Network/publicIPAddresses/delete", "Microsoft.Network/*/write"])

    refused = clients.call("DELETE", _pip(clients))
    written = clients.call("PUT", _pip(clients, "q"), _PIP)
    shown = clients.call("GET", f"{_rg(clients)}/providers/Microsoft.Authorization/permissions", version="2022-04-01")

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "AuthorizationFailed")
    assert "Microsoft.Network/publicIPAddresses/delete" in refused.json()["error"]["message"]
    assert written.status_code == 403
    assert "Microsoft.Network/*/write" in shown.json()["value"][0]["notActions"]
    assert clients.call("GET", _pip(clients)).status_code == 200


def test_a_provider_that_was_unregistered_refuses_writes_until_it_is_registered(clients: Any, group: str) -> None:
    clients.resources.providers.unregister("Microsoft.Network")
    refused = clients.call("PUT", _pip(clients), _PIP)
    clients.resources.providers.register("Microsoft.Network")

    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "MissingSubscriptionRegistration")
    assert clients.call("PUT", _pip(clients), _PIP).status_code == 201


# -- offers -------------------------------------------------------------------------------------------------------


def test_the_sku_list_has_more_than_a_hundred_sizes_with_capabilities(lab: Lab, clients: Any) -> None:
    lab.market.restrict(WEST, "Standard_D4s_v5")
    lab.market.restrict(WEST, "Standard_D8s_v5", zones=["2"])

    skus = {s.name: s for s in clients.compute.resource_skus.list(filter=f"location eq '{WEST}'")}

    machines = [s for s in skus.values() if s.resource_type == "virtualMachines"]
    capabilities = {c.name: c.value for c in skus["Standard_E4s_v5"].capabilities}
    wanted = {
        "Standard_D2s_v5", "Standard_D4s_v5", "Standard_D2as_v5", "Standard_D4as_v5", "Standard_E2s_v5",
        "Standard_E8as_v5", "Standard_F2s_v2", "Standard_B2s",
    }  # fmt: skip
    assert len(machines) > 100
    assert wanted <= set(skus)
    assert (capabilities["vCPUs"], capabilities["MemoryGB"], capabilities["LowPriorityCapable"]) == ("4", "32", "True")
    assert skus["Standard_E4s_v5"].location_info[0].zones == ["1", "2", "3"]
    assert skus["Standard_D4s_v5"].restrictions[0].reason_code == "NotAvailableForSubscription"
    assert skus["Standard_D8s_v5"].restrictions[0].restriction_info.zones == ["2"]


def test_usages_have_the_spot_total_apart_from_the_regional_one(lab: Lab, clients: Any) -> None:
    lab.market.set_quota(WEST, "lowPriorityCores", 12)

    usages = {u.name.value: u for u in clients.compute.usage.list(WEST)}

    assert usages["lowPriorityCores"].limit == 12
    assert usages["cores"].limit >= 100
    assert usages["standardDSv5Family"].limit >= 100


def test_retail_prices_need_no_token_filter_and_page(lab: Lab, clients: Any) -> None:
    lab.market.set_price(WEST, "Standard_D2s_v5", 0.0123)
    where = f"serviceName eq 'Virtual Machines' and armRegionName eq '{WEST}' and armSkuName eq 'Standard_D2s_v5'"
    headers = {"Authorization": ""}

    found = clients.http.get("/api/retail/prices", params={"$filter": where}, headers=headers).json()
    pages = clients.http.get(
        "/api/retail/prices", params={"$filter": f"armRegionName eq '{WEST}'"}, headers=headers
    ).json()
    following = clients.http.get(pages["NextPageLink"], headers=headers).json()

    prices = {(i["skuName"], "Windows" in i["productName"]): i["retailPrice"] for i in found["Items"]}
    assert prices[("D2s v5 Spot", False)] == 0.0123
    assert prices[("D2s v5", False)] == pytest.approx(0.115, rel=0.05)
    assert prices[("D2s v5", True)] > prices[("D2s v5", False)]
    assert pages["Count"] == len(pages["Items"]) == 100
    assert following["Items"][0]["meterId"] != pages["Items"][0]["meterId"]


def test_regions_have_display_names_and_zone_mappings(clients: Any) -> None:
    found = {
        r["name"]: r for r in clients.call("GET", f"{clients.sub}/locations", version="2022-12-01").json()["value"]
    }

    for name, display in {
        "germanywestcentral": "Germany West Central", "northeurope": "North Europe", "westeurope": "West Europe",
        "swedencentral": "Sweden Central", "francecentral": "France Central", "westus": "West US", "westus2": "West US 2",  # noqa: E501
        "westus3": "West US 3", "eastus": "East US", "eastus2": "East US 2",
    }.items():  # fmt: skip
        assert found[name]["displayName"] == display
    assert [z["logicalZone"] for z in found["westeurope"]["availabilityZoneMappings"]] == ["1", "2", "3"]
    assert "availabilityZoneMappings" not in found["westus"]


# -- deployments --------------------------------------------------------------------------------------------------


def _template(clients: Any) -> dict[str, Any]:
    subnet = f"{_rg(clients)}/providers/Microsoft.Network/virtualNetworks/net/subnets/s"
    net = {
        "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
        "subnets": [{"name": "s", "properties": {"addressPrefix": "10.0.0.0/24"}}],
    }
    card = {
        "ipConfigurations": [
            {"name": "c", "properties": {"subnet": {"id": subnet}, "publicIPAddress": {"id": "[variables('ip')]"}}}
        ]
    }
    kind = "Microsoft.Network"
    return {
        "contentVersion": "1.0.0.0",
        "parameters": {"secret": {"type": "securestring"}, "label": {"type": "string", "defaultValue": "x"}},
        "variables": {"ip": "[resourceId('Microsoft.Network/publicIPAddresses', 'p')]"},
        "resources": [
            {"type": f"{kind}/networkInterfaces", "name": "card", "apiVersion": "2015-06-15", "location": WEST, "properties": card,  # noqa: E501
             "dependsOn": [f"{kind}/virtualNetworks/net", f"{kind}/publicIpAddresses/p"]},
            {"type": f"{kind}/publicIPAddresses", "name": "p", "apiVersion": "2022-01-01", "tags": {"l": "[parameters('label')]"},  # noqa: E501
             "dependsOn": [f"{_rg(clients)}/providers/{kind}/virtualNetworks/net"], **_PIP},
            {"type": f"{kind}/virtualNetworks", "name": "net", "apiVersion": "2015-06-15", "location": WEST, "properties": net},  # noqa: E501
        ],
        "outputs": {"card": {"type": "object", "value": "[reference('card')]"}},
    }  # fmt: skip


@pytest.mark.usefixtures("group")
def test_a_literal_template_is_deployed_in_the_order_of_its_dependencies(lab: Lab, clients: Any) -> None:
    path = f"{_rg(clients)}/providers/Microsoft.Resources/deployments/d"
    body = {
        "properties": {
            "mode": "Incremental",
            "template": _template(clients),
            "parameters": {"secret": {"value": "line\nbreak"}},
        }
    }

    accepted = clients.call("PUT", path, body, "2024-11-01")
    ended = clients.done(accepted).json()
    shown = clients.call("GET", path, version="2024-11-01").json()["properties"]
    operations = clients.call("GET", path + "/operations", version="2024-11-01").json()["value"]

    assert accepted.status_code == 201
    assert "/operationStatuses/" in accepted.headers["azure-asyncoperation"]
    assert ended == {"status": "Succeeded"}
    made = [e.resource.split("/")[-1] for e in lab.events() if e.kind == "created" and "Network" in e.resource]
    assert made == ["net", "p", "card"]
    assert shown["provisioningState"] == "Succeeded"
    assert shown["parameters"]["secret"] == {"type": "SecureString"}
    assert shown["outputs"]["card"]["value"]["ipConfigurations"][0]["properties"]["privateIPAddress"] == "10.0.0.4"
    assert len(shown["outputResources"]) == len(operations) == 3
    assert clients.call("GET", _pip(clients)).json()["tags"] == {"l": "x"}


@pytest.mark.usefixtures("group")
def test_raw_newlines_in_strings_of_a_template_are_taken(clients: Any) -> None:
    path = f"{_rg(clients)}/providers/Microsoft.Resources/deployments/d?api-version=2024-11-01"
    text = '{"properties":{"mode":"Incremental","template":{"contentVersion":"1.0.0.0","resources":[{"type":"Microsoft.Network/publicIPAddresses","name":"p","apiVersion":"2024-05-01","location":"westeurope","tags":{"t":"a\nb"},"properties":{}}]}}}'  # noqa: E501

    answer = clients.http.put(path, content=text, headers={"Content-Type": "application/json"})

    assert answer.status_code == 201
    assert clients.done(answer).json()["status"] == "Succeeded"
    assert clients.call("GET", _pip(clients)).json()["tags"]["t"] == "a\nb"


@pytest.mark.usefixtures("group")
@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"mode": "Complete"}, "InvalidDeploymentMode"),
        ({"template": {"resources": [{"type": "Microsoft.Network/virtualNetworks", "name": "v", "copy": {}}]}}, "InvalidTemplate"),  # noqa: E501
        ({"template": {"resources": [{"type": "Microsoft.Nothing/things", "name": "v"}]}}, "InvalidTemplate"),
        ({"template": {"resources": [{"type": "Microsoft.Network/virtualNetworks", "name": "[magic('x')]"}]}}, "InvalidTemplate"),  # noqa: E501
        ({"template": {"parameters": {"p": {"type": "string"}}, "resources": []}}, "InvalidTemplate"),
    ],
)  # fmt: skip
def test_what_a_template_cannot_do_here_is_refused_before_anything_is_made(
    clients: Any, change: Any, code: str
) -> None:
    path = f"{_rg(clients)}/providers/Microsoft.Resources/deployments/d"
    body = {"properties": {"mode": "Incremental", "template": {"resources": []}, **change}}

    answer = clients.call("PUT", path, body, "2024-11-01")

    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code)


@pytest.mark.usefixtures("group")
def test_a_resource_that_fails_fails_its_deployment_with_the_reason_in_the_details(clients: Any) -> None:
    body = {"type": "Microsoft.Network/virtualNetworks", "name": "v", "apiVersion": "2024-05-01", "location": WEST}
    path = f"{_rg(clients)}/providers/Microsoft.Resources/deployments/d"
    template = {"resources": [{**body, "properties": {"addressSpace": {"addressPrefixes": ["ten"]}}}]}

    ended = clients.done(
        clients.call("PUT", path, {"properties": {"mode": "Incremental", "template": template}}, "2024-11-01")
    ).json()

    assert ended["error"]["code"] == "DeploymentFailed"
    assert ended["error"]["details"][0]["code"] == "InvalidCIDRNotation"
    assert clients.call("GET", path, version="2024-11-01").json()["properties"]["provisioningState"] == "Failed"


@pytest.mark.usefixtures("group")
def test_resources_are_listed_and_filtered_across_types(clients: Any) -> None:
    clients.call("PUT", _pip(clients), {**_PIP, "tags": {"team": "a"}})

    named = list(
        clients.resources.resources.list(filter="resourceType eq 'Microsoft.Network/publicIPAddresses' and name eq 'p'")
    )
    tagged = list(clients.resources.resources.list(filter="tagName eq 'team' and tagValue eq 'a'"))
    none = list(clients.resources.resources.list(filter="tagName eq 'team' and tagValue eq 'b'"))

    assert [r.name for r in named] == [r.name for r in tagged] == ["p"]
    assert none == []
    with pytest.raises(HttpResponseError):
        list(clients.resources.resources.list(filter="moon eq 'full'"))

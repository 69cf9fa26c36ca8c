"""Templates that repeat and choose, exported ones, and what the front door tells of providers and tag names."""

from __future__ import annotations

from typing import Any

import pytest

WEST = "westeurope"
_ASG = {"type": "Microsoft.Network/applicationSecurityGroups", "apiVersion": "2023-09-01", "location": WEST}
pytestmark = pytest.mark.usefixtures("group")


def _deploy(clients: Any, template: dict[str, Any], name: str = "d", **properties: Any) -> dict[str, Any]:
    path = f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Resources/deployments/{name}"
    body = {"properties": {"mode": "Incremental", "template": template, **properties}}
    answer = clients.call("PUT", path, body)
    if answer.status_code >= 400:
        return dict(answer.json())
    clients.done(answer)
    return dict(clients.call("GET", path).json())


def _names(clients: Any) -> list[str]:
    listed = clients.call("GET", f"{clients.sub}/resourceGroups/rg/providers/{_ASG['type']}").json()["value"]
    return sorted(r["name"] for r in listed)


def test_copy_loops_make_several_and_others_wait_for_all_of_them(clients: Any) -> None:
    many = {
        **_ASG,
        "name": "[concat('n', copyIndex(1))]",
        "tags": {"at": "[string(copyIndex('loop'))]"},
        "copy": {"name": "loop", "count": "[parameters('count')]"},
    }
    last = {**_ASG, "name": "last", "dependsOn": ["loop"]}
    template = {"parameters": {"count": {"type": "int"}}, "resources": [last, many]}

    done = _deploy(clients, template, parameters={"count": {"value": 3}})

    assert done["properties"]["provisioningState"] == "Succeeded"
    assert _names(clients) == ["last", "n1", "n2", "n3"]
    second = clients.call("GET", f"{clients.sub}/resourceGroups/rg/providers/{_ASG['type']}/n2").json()
    assert second["tags"] == {"at": "1"}


def test_what_a_condition_excludes_is_not_made_and_nobody_waits_for_it(clients: Any) -> None:
    absent = {**_ASG, "name": "absent", "condition": "[equals(parameters('kind'), 'other')]"}
    present = {**_ASG, "name": "[if(empty(parameters('kind')), 'x', 'present')]", "dependsOn": ["absent"]}
    template = {"parameters": {"kind": {"defaultValue": "this", "type": "string"}}, "resources": [absent, present]}

    done = _deploy(clients, template)

    assert done["properties"]["provisioningState"] == "Succeeded"
    assert _names(clients) == ["present"]


@pytest.mark.parametrize(
    "resource",
    [
        {**_ASG, "name": "x", "copy": {"name": "loop", "count": -1}},
        {**_ASG, "name": "x", "copy": {"count": 1}},
        {**_ASG, "name": "[concat('x', copyIndex())]"},
        {**_ASG, "name": "[substring('x', 'y')]"},
    ],
)
def test_templates_that_make_no_sense_are_invalid(clients: Any, resource: dict[str, Any]) -> None:
    answer = _deploy(clients, {"resources": [resource]})

    assert answer["error"]["code"] == "InvalidTemplate"


def test_a_group_exports_a_template_that_makes_it_again_elsewhere(clients: Any, lab: Any) -> None:
    vnet = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
            "subnets": [{"name": "s", "properties": {"addressPrefix": "10.0.0.0/24"}}]}  # fmt: skip
    net = f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Network"
    clients.call("PUT", f"{net}/virtualNetworks/net", {"location": WEST, "properties": vnet})
    clients.call("PUT", f"{net}/applicationSecurityGroups/asg", {"location": WEST, "properties": {}})

    started = clients.call("POST", f"{clients.sub}/resourceGroups/rg/exportTemplate", {"resources": ["*"]})
    template = clients.http.get(started.headers["location"]).json()["template"]
    lab.group("copy", WEST)
    path = f"{clients.sub}/resourceGroups/copy/providers/Microsoft.Resources/deployments/d"
    clients.done(clients.call("PUT", path, {"properties": {"mode": "Incremental", "template": template}}))

    assert started.status_code == 202
    assert "resourceGuid" not in str(template)
    again = clients.call("GET", f"{net.replace('/rg/', '/copy/')}/virtualNetworks/net").json()
    assert again["properties"]["subnets"][0]["properties"]["addressPrefix"] == "10.0.0.0/24"
    exported = clients.call("POST", f"{path}/exportTemplate").json()["template"]
    assert exported == template


def test_operations_of_a_deployment_are_read_one_by_one(clients: Any) -> None:
    _deploy(clients, {"resources": [{**_ASG, "name": "x"}]})
    path = f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Resources/deployments/d/operations"

    listed = clients.call("GET", path).json()["value"]
    one = clients.call("GET", f"{path}/{listed[0]['operationId']}").json()
    missing = clients.call("GET", f"{path}/none")

    assert one == listed[0]
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "DeploymentOperationNotFound")


def test_providers_tell_their_types_and_operations_also_without_a_subscription(clients: Any) -> None:
    spaces = [p["namespace"] for p in clients.call("GET", "/providers").json()["value"]]
    compute = clients.call("GET", "/providers/Microsoft.Compute").json()
    operations = clients.call("GET", "/providers/Microsoft.Compute/operations").json()["value"]

    assert {"Microsoft.Compute", "Microsoft.Network"} <= set(spaces)
    assert "virtualMachines" in {t["resourceType"] for t in compute["resourceTypes"]}
    assert "Microsoft.Compute/virtualMachines/deallocate/action" in {o["name"] for o in operations}


def test_tag_names_are_made_counted_and_taken_away(clients: Any) -> None:
    clients.call("PUT", f"{clients.sub}/resourceGroups/rg", {"location": WEST, "tags": {"team": "db"}})
    base = f"{clients.sub}/tagNames"

    made = [clients.call("PUT", path).status_code for path in (f"{base}/env", f"{base}/env", f"{base}/env/tagValues/x")]
    listed = {t["tagName"]: t for t in clients.call("GET", base).json()["value"]}
    kept = clients.call("DELETE", f"{base}/env")
    gone = [clients.call("DELETE", p).status_code for p in (f"{base}/env/tagValues/x", f"{base}/env", f"{base}/env")]

    assert made == [201, 200, 201]
    assert listed["team"]["count"] == {"type": "Total", "value": 1}
    assert [v["tagValue"] for v in listed["env"]["values"]] == ["x"]
    assert kept.status_code == 409
    assert gone == [200, 200, 204]


def test_a_machines_identity_gets_a_role_within_its_own_template(clients: Any) -> None:
    """As `az vm create --assign-identity --scope` sends it."""
    net = "Microsoft.Network"
    vnet = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
            "subnets": [{"name": "s", "properties": {"addressPrefix": "10.0.0.0/24"}}]}  # fmt: skip
    subnet = {"id": f"[concat(resourceId('{net}/virtualNetworks', 'net'), '/subnets/s')]"}
    card = {"ipConfigurations": [{"name": "c", "properties": {"subnet": subnet}}]}
    machine = {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "storageProfile": {"imageReference": {"publisher": "Debian", "offer": "debian-12", "sku": "12"}},
        "osProfile": {"adminUsername": "u", "adminPassword": "Sup3r-Secret!"},
        "networkProfile": {"networkInterfaces": [{"id": f"[resourceId('{net}/networkInterfaces', 'nic')]"}]},
    }
    reader = f"{clients.sub}/providers/Microsoft.Authorization/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7"
    role = {
        "type": "Microsoft.Compute/virtualMachines/providers/roleAssignments",
        "name": "[concat('vm', '/Microsoft.Authorization/', guid('vm', 'reader'))]",
        "apiVersion": "2015-07-01",
        "dependsOn": ["Microsoft.Compute/virtualMachines/vm"],
        "properties": {
            "roleDefinitionId": reader,
            "principalId": "[reference('vm', '2024-03-01', 'Full').identity.principalId]",
        },
    }
    resources = [
        {"type": f"{net}/virtualNetworks", "name": "net", "location": WEST, "properties": vnet},
        {"type": f"{net}/networkInterfaces", "name": "nic", "location": WEST, "properties": card, "dependsOn": ["net"]},
        {
            "type": "Microsoft.Compute/virtualMachines",
            "name": "vm",
            "location": WEST,
            "identity": {"type": "SystemAssigned"},
            "properties": machine,
            "dependsOn": ["nic"],
        },
        role,
    ]

    done = _deploy(clients, {"resources": [{"apiVersion": "2024-03-01", **r} for r in resources]})

    assert done["properties"]["provisioningState"] == "Succeeded", done
    at = f"{clients.sub}/resourceGroups/rg/providers/Microsoft.Compute/virtualMachines/vm"
    vm = clients.call("GET", at).json()
    held = clients.call("GET", f"{at}/providers/Microsoft.Authorization/roleAssignments").json()["value"]
    assert [r["properties"]["principalId"] for r in held] == [vm["identity"]["principalId"]]

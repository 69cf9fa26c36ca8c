"""Microsoft.Authorization: what the caller may do, role assignments and definitions as data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.ids import ResourceId
from azurelab.arm.types import Field, ResourceType, Verb

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.arm.protocol import Scoped

__all__ = ["ASSIGNMENTS", "definitions_endpoint", "permissions_endpoint"]

# Azure's ids of its built-in roles
_ROLES: tuple[tuple[str, str, list[str], list[str]], ...] = (
    ("8e3af657-a8ff-443c-a75c-2fe8c4bcb635", "Owner", ["*"], []),
    (
        "b24988ac-6180-42a0-ab88-20f7382dd24c",
        "Contributor",
        ["*"],
        ["Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write"],
    ),
    ("acdd72a7-3385-48ef-bd42-f606fba81ae7", "Reader", ["*/read"], []),
    (
        "9980e02c-c2be-4d73-94e8-173b1dc7cf3c",
        "Virtual Machine Contributor",
        ["Microsoft.Compute/virtualMachines/*", "Microsoft.Compute/disks/*", "Microsoft.Network/*/read"],
        [],
    ),
)


def permissions_endpoint(lab: Lab) -> Scoped:
    """GET {scope}/providers/Microsoft.Authorization/permissions: the role that the world gave this caller."""

    def handle(call: Call, rid: ResourceId) -> Response:
        role = lab.roles.of(call.caller)
        shown = {
            "actions": role["actions"],
            "notActions": role["notActions"],
            "dataActions": [],
            "notDataActions": [],
        }
        headers: dict[str, str] = {}
        lab.throttle.spend(call, "", headers)
        return Response(200, {"value": [shown]}, headers)

    return handle


def definitions_endpoint(lab: Lab) -> Scoped:
    def show(scope: str, role: tuple[str, str, list[str], list[str]]) -> dict[str, Any]:
        guid, name, actions, not_actions = role
        return {
            "id": f"{scope}/providers/Microsoft.Authorization/roleDefinitions/{guid}",
            "name": guid,
            "type": "Microsoft.Authorization/roleDefinitions",
            "properties": {
                "roleName": name,
                "type": "BuiltInRole",
                "description": name,
                "assignableScopes": ["/"],
                "permissions": [
                    {"actions": actions, "notActions": not_actions, "dataActions": [], "notDataActions": []}
                ],
            },
        }

    def handle(call: Call, rid: ResourceId) -> Response:
        lab.roles.check(call.caller, "Microsoft.Authorization/roleDefinitions/read", rid.scope)
        scope = "/".join(rid.scope.split("/")[:3])
        if rid.is_resource:
            for role in _ROLES:
                if role[0] == rid.name.lower():
                    return Response(200, show(scope, role))
            raise ArmError(404, "RoleDefinitionDoesNotExist", f"The role definition '{rid.name}' does not exist.")
        wanted = call.query.get("$filter", "")
        found = [r for r in _ROLES if "roleName eq" not in wanted or f"'{r[1]}'" in wanted]
        return Response(200, {"value": [show(scope, r) for r in found]})

    return handle


def _prepare(ctx: Context) -> None:
    p = ctx.resource.properties
    p["scope"] = ctx.id.scope
    now = ctx.timestamp()
    p.setdefault("principalType", "ServicePrincipal")
    p.setdefault("createdOn", now)
    p["updatedOn"] = now
    p.setdefault("createdBy", ctx.caller.oid)
    p["updatedBy"] = ctx.caller.oid
    for other in ctx.store.of_type(ASSIGNMENTS.name, ctx.id.scope):
        q = other.properties
        same = (q["principalId"], q["roleDefinitionId"].lower()) == (p["principalId"], p["roleDefinitionId"].lower())
        if same and other.key != ctx.resource.key and q["scope"].lower() == p["scope"].lower():
            raise ArmError(409, "RoleAssignmentExists", "The role assignment already exists.")


ASSIGNMENTS = ResourceType(
    name="Microsoft.Authorization/roleAssignments",
    put=Verb(new=201, existing=201, prepare=_prepare),
    delete=Verb(existing=200),
    located=False,
    stateful=False,
    any_scope=True,
    in_resources_list=False,
    readonly=("properties.createdOn", "properties.createdBy"),
    fields=(
        Field(path="properties.roleDefinitionId", required=True),
        Field(path="properties.principalId", required=True),
    ),
    body_error="InvalidRequestContent",
    delete_order=1,
)

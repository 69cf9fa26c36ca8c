"""Microsoft.Storage/storageAccounts, as far as templates of machines with unmanaged disks and diagnostics need them.

Kept as data, with endpoints that do not answer: this lab has no blob storage beside its disks. `az` makes one for boot
diagnostics in some commands, and asks for its keys.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING, Any

from azurelab.arm.context import Context
from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.types import Field, Flavor, Lro, ResourceType, Route, Verb

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["ACCOUNTS", "storage_routes"]

_STORAGE = Flavor(provider="Microsoft.Storage", operations="operationstatuses", results="asyncoperations")
_SERVICES = ("blob", "queue", "table", "file", "dfs", "web")


def _name_trouble(name: str) -> str | None:
    if 3 <= len(name) <= 24 and name.isalnum() and name == name.lower():
        return None
    return (
        f"{name} is not a valid storage account name. Storage account name must be between 3 and 24 characters in "
        f"length and use numbers and lower-case letters only."
    )


def _prepare(ctx: Context) -> None:
    account = ctx.resource
    name = account.name
    if trouble := _name_trouble(name):
        raise ArmError(400, "AccountNameInvalid", trouble)
    p = account.properties
    kind = p.pop("accountType", None)  # of templates of 2015
    sku = account.doc.setdefault("sku", {"name": kind or "Standard_LRS"})
    sku.setdefault("tier", str(sku["name"]).split("_")[0])
    account.doc.setdefault("kind", "Storage")
    p.setdefault("creationTime", ctx.timestamp())
    p.setdefault("primaryLocation", account.location)
    p.setdefault("statusOfPrimary", "available")
    p.setdefault("supportsHttpsTrafficOnly", True)
    p.setdefault(
        "networkAcls", {"bypass": "AzureServices", "virtualNetworkRules": [], "ipRules": [], "defaultAction": "Allow"}
    )
    p.setdefault("privateEndpointConnections", [])
    p.setdefault(
        "encryption",
        {
            "services": {
                s: {"keyType": "Account", "enabled": True, "lastEnabledTime": ctx.timestamp()} for s in ("file", "blob")
            },
            "keySource": "Microsoft.Storage",
        },
    )
    for service in (p["encryption"].get("services") or {}).values():
        service.setdefault("lastEnabledTime", ctx.timestamp())
    if account.doc["kind"] in ("StorageV2", "BlobStorage"):
        p.setdefault("accessTier", "Hot")
    p.setdefault("allowBlobPublicAccess", True)
    p.setdefault("minimumTlsVersion", "TLS1_2")
    p.setdefault("keyCreationTime", {"key1": ctx.timestamp(), "key2": ctx.timestamp()})
    region = ctx.lab.regions.get(account.location)
    if "GRS" in str(sku["name"]) and region is not None and region.pair:
        p.setdefault("secondaryLocation", region.pair)
        p.setdefault("statusOfSecondary", "available")
    p.setdefault("primaryEndpoints", {s: f"https://{name}.{s}.storage.azurelab/" for s in _SERVICES})


def _keys(ctx: Context) -> Any:
    def key(number: int) -> dict[str, str]:
        digest = hashlib.sha512(f"{ctx.lab.tenant}/{ctx.resource.id}/{number}".encode()).digest()
        return {
            "creationTime": ctx.resource.properties["creationTime"],
            "keyName": f"key{number}",
            "value": base64.b64encode(digest).decode(),
            "permissions": "FULL",
        }

    return {"keys": [key(1), key(2)]}


ACCOUNTS = ResourceType(
    name="Microsoft.Storage/storageAccounts",
    flavor=_STORAGE,
    put=Verb(new=202, existing=200, lro=Lro.LOC, seconds=17, quick=True, prepare=_prepare, empty=True),
    patch=Verb(existing=200, prepare=_prepare),
    delete=Verb(existing=200, empty=True),
    actions={"listKeys": Verb(existing=200, result=_keys)},
    readonly=(
        "properties.creationTime",
        "properties.keyCreationTime",
        "properties.primaryEndpoints",
        "properties.provisioningState",
    ),
    fields=(Field(path="sku.name"),),
    body_error="InvalidRequestFormat",
    delete_order=80,
)


def storage_routes(lab: Lab) -> list[Route]:
    def check_name(call: Call, params: dict[str, str]) -> Response:
        name = str(call.object.get("name", ""))
        if trouble := _name_trouble(name):
            return Response(200, {"nameAvailable": False, "reason": "AccountNameInvalid", "message": trouble})
        if any(r.name.lower() == name for r in lab.store.of_type(ACCOUNTS.name)):
            told = f"The storage account named {name} is already taken."
            return Response(200, {"nameAvailable": False, "reason": "AlreadyExists", "message": told})
        return Response(200, {"nameAvailable": True})

    return [
        Route(
            method="POST",
            path="/subscriptions/{subscription}/providers/Microsoft.Storage/checkNameAvailability",
            handle=check_name,
            action="Microsoft.Storage/checknameavailability/read",
        )
    ]

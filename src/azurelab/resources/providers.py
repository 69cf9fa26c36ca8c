"""Resource providers: which types there are, where, in which api-versions; registered unless somebody unregistered."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.reading import page
from azurelab.arm.types import Route
from azurelab.world.regions import REGIONS

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["provider_routes"]

# Released api-versions of recent years; every date in the window is answered, these are the ones shown.
_VERSIONS = [
    "2026-04-01", "2026-03-01", "2025-11-01", "2025-04-01", "2025-01-02", "2024-11-01", "2024-07-01", "2024-03-01",
    "2023-09-01", "2023-07-01", "2022-11-01", "2022-08-01", "2021-07-01", "2020-12-01", "2020-06-01", "2019-12-01",
    "2019-07-01", "2018-06-01", "2017-12-01", "2016-03-30", "2015-06-15",
]  # fmt: skip
_SHOWN_ONLY = {
    # types that are endpoints here and resources in Azure's list
    "Microsoft.Compute": ("locations/usages", "locations/vmSizes", "skus", "locations/publishers", "operations"),
    "Microsoft.Network": ("locations/usages", "operations"),
    "Microsoft.Resources": ("deployments", "resourceGroups", "subscriptions", "tags", "providers"),
    "Microsoft.Authorization": ("permissions", "roleDefinitions"),
}


def provider_routes(lab: Lab) -> list[Route]:
    def show(subscription: str | None, namespace: str) -> dict[str, Any]:
        """Of a subscription, or (None) of Azure at large, which knows no registration."""
        names = [t.name.partition("/")[2] for t in lab.arm.types.values() if t.name.startswith(namespace + "/")]
        names += [n for n in _SHOWN_ONLY.get(namespace, ()) if n not in names]
        off = lab.store.setting(f"unregistered:{subscription}:{namespace.lower()}") if subscription else None
        displays = [r.display for r in REGIONS]
        zoned = [{"location": r.display, "zones": ["1", "2", "3"]} for r in REGIONS if r.zones]
        types = []
        for name in sorted(names):
            shown: dict[str, Any] = {
                "resourceType": name,
                "locations": displays,
                "apiVersions": _VERSIONS,
                "defaultApiVersion": _VERSIONS[0],
                "apiProfiles": [{"profileVersion": "2018-06-01-profile", "apiVersion": "2017-12-01"}],
                "capabilities": "CrossResourceGroupResourceMove, CrossSubscriptionResourceMove, SupportsTags, "
                "SupportsLocation",
            }
            if name in ("virtualMachines", "disks", "publicIPAddresses", "snapshots", "storageAccounts"):
                shown["zoneMappings"] = zoned
            types.append(shown)
        if subscription is None:
            return {"namespace": namespace, "resourceTypes": types}
        return {
            "id": f"/subscriptions/{subscription}/providers/{namespace}",
            "namespace": namespace,
            "authorizations": [
                {
                    "applicationId": str(uuid.uuid5(uuid.NAMESPACE_URL, namespace)),
                    "roleDefinitionId": str(uuid.uuid5(uuid.NAMESPACE_URL, f"{namespace}/role")),
                }
            ],
            "resourceTypes": types,
            "registrationState": off or "Registered",
            "registrationPolicy": "RegistrationRequired",
        }

    def named(params: dict[str, str]) -> str:
        found = lab.arm.namespaces.get(params["namespace"].lower())
        if found is None:
            raise ArmError(
                404, "InvalidResourceNamespace", f"The resource namespace '{params['namespace']}' is invalid."
            )
        return found

    def get(call: Call, params: dict[str, str]) -> Response:
        return Response(200, show(params["subscription"], named(params)))

    def listing(call: Call, params: dict[str, str]) -> Response:
        spaces = sorted(set(lab.arm.namespaces.values()))
        return page(lab.arm, call, spaces, lambda n: show(params["subscription"], n))

    def switch(state: str | None) -> Any:
        def handle(call: Call, params: dict[str, str]) -> Response:
            namespace = named(params)
            lab.store.set_setting(f"unregistered:{params['subscription']}:{namespace.lower()}", state)
            lab.store.log("provider", namespace, state=state or "Registered")
            return Response(200, show(params["subscription"], namespace))

        return handle

    def at_large(call: Call, params: dict[str, str]) -> Response:
        if "namespace" in params:
            return Response(200, show(None, named(params)))
        return page(lab.arm, call, sorted(set(lab.arm.namespaces.values())), lambda n: show(None, n))

    def types_of(call: Call, params: dict[str, str]) -> Response:
        return Response(200, {"value": show(params["subscription"], named(params))["resourceTypes"]})

    def operations_of(namespace: str) -> Any:
        """What roles may name; the same words that this lab checks."""

        def handle(call: Call, params: dict[str, str]) -> Response:
            return Response(200, {"value": list(_operations(lab, namespace))})

        return handle

    base = "/subscriptions/{subscription}/providers"
    read = "Microsoft.Resources/providers/read"
    every = [
        Route(method="GET", path=f"/providers/{n}/operations", handle=operations_of(n), action=f"{n}/operations/read")
        for n in ("Microsoft.Compute", "Microsoft.Network", "Microsoft.Resources")
    ]
    return [
        *every,
        Route(method="GET", path="/providers", handle=at_large, action=read),
        Route(method="GET", path="/providers/{namespace}", handle=at_large, action=read),
        Route(
            method="GET",
            path=f"{base}/{{namespace}}/resourceTypes",
            handle=types_of,
            action="Microsoft.Resources/subscriptions/providers/read",
        ),
        Route(method="GET", path=base, handle=listing, action="Microsoft.Resources/subscriptions/providers/read"),
        Route(
            method="GET",
            path=f"{base}/{{namespace}}",
            handle=get,
            action="Microsoft.Resources/subscriptions/providers/read",
        ),
        Route(method="POST", path=f"{base}/{{namespace}}/register", handle=switch(None), action="*/register/action"),
        Route(
            method="POST",
            path=f"{base}/{{namespace}}/unregister",
            handle=switch("Unregistered"),
            action="*/register/action",
        ),
    ]


def _operations(lab: Lab, namespace: str) -> Iterator[dict[str, Any]]:
    provider = namespace.replace(".", " ")
    for rtype in lab.arm.types.values():
        if not rtype.name.startswith(namespace + "/"):
            continue
        kind = rtype.name.partition("/")[2]
        words = [w for w, verb in (("read", True), ("write", rtype.put), ("delete", rtype.delete)) if verb]
        words += [
            verb.action or f"{name}/{'read' if verb.method == 'GET' else 'action'}"
            for name, verb in rtype.actions.items()
            if not name.startswith("azurelab.")
        ]
        for word in words:
            told = {"provider": provider, "resource": kind, "operation": word, "description": f"{word} of {kind}"}
            yield {"name": f"{rtype.name}/{word}", "display": told, "isDataAction": False, "origin": "user,system"}

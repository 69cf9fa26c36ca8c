"""The listing of VM extensions: publishers, types, versions, as clients walk it before they set one.

Listed are the extensions that az and its documents name. Nothing of them runs in a guest of this lab.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.types import Route

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["EXTENSION_PUBLISHERS", "extension_image_routes"]

# publisher | type | operating system | versions
_LISTED = """
Microsoft.Azure.Extensions|CustomScript|Linux|2.0.7 2.1.3 2.1.10
Microsoft.Azure.Extensions|DockerExtension|Linux|1.0.1702031 1.2.2
Microsoft.Compute|BGInfo|Windows|1.2.2 2.1 2.2.3
Microsoft.Compute|CustomScriptExtension|Windows|1.8 1.9.5 1.10.15
Microsoft.Compute|JsonADDomainExtension|Windows|1.3.2 1.3.9
Microsoft.Compute|VMAccessAgent|Windows|1.0 1.0.2 1.0.3 2.0 2.3 2.4.5 2.4.8
Microsoft.OSTCExtensions|CustomScriptForLinux|Linux|1.5.2.2 1.5.5
Microsoft.OSTCExtensions|LinuxDiagnostic|Linux|2.3.9029
Microsoft.OSTCExtensions|VMAccessForLinux|Linux|1.4.7.1 1.5.2 1.5.11
Microsoft.Azure.Diagnostics|IaaSDiagnostics|Windows|1.5 1.11.3.12
Microsoft.Azure.Diagnostics|LinuxDiagnostic|Linux|3.0.135 4.0.27
Microsoft.Azure.Monitor|AzureMonitorLinuxAgent|Linux|1.22.2 1.29.5
Microsoft.Azure.Monitor|AzureMonitorWindowsAgent|Windows|1.10 1.22
Microsoft.Azure.NetworkWatcher|NetworkWatcherAgentLinux|Linux|1.4.2573.1
Microsoft.Azure.NetworkWatcher|NetworkWatcherAgentWindows|Windows|1.4.2798.1
Microsoft.Azure.Security|AzureDiskEncryption|Windows|2.2.0.3
Microsoft.Azure.Security|AzureDiskEncryptionForLinux|Linux|1.1.0.52
Microsoft.Azure.Security|IaaSAntimalware|Windows|1.6.0.20
Microsoft.Azure.ActiveDirectory|AADLoginForWindows|Windows|1.0.0.1 2.2.0.0
Microsoft.Azure.ActiveDirectory|AADSSHLoginForLinux|Linux|1.0.1888.1
Microsoft.EnterpriseCloud.Monitoring|MicrosoftMonitoringAgent|Windows|1.0.18069.0
Microsoft.EnterpriseCloud.Monitoring|OmsAgentForLinux|Linux|1.13.33 1.14.23
Microsoft.ManagedServices|ApplicationHealthLinux|Linux|1.0.3 2.0.9
Microsoft.Powershell|DSC|Windows|2.77.0.0 2.83.5
"""
_ROWS = [(p, t, system, v.split()) for p, t, system, v in (line.split("|") for line in _LISTED.strip().splitlines())]
EXTENSION_PUBLISHERS = tuple(dict.fromkeys(row[0] for row in _ROWS))


def extension_image_routes(lab: Lab) -> list[Route]:
    """Plain arrays, not `{"value": …}`, with Azure's capital letters in the ids (recorded)."""
    base = (
        "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}/publishers/{publisher}"
        "/artifacttypes/vmextension/types"
    )

    def rows(params: dict[str, str]) -> list[tuple[str, str, str, list[str]]]:
        wanted = params.get("type")
        return [
            r
            for r in _ROWS
            if r[0].lower() == params["publisher"].lower() and (wanted is None or r[1].lower() == wanted.lower())
        ]

    def entry(params: dict[str, str], publisher: str, path: str, name: str) -> dict[str, Any]:
        location = params["location"].lower()
        at = f"/Subscriptions/{params['subscription']}/Providers/Microsoft.Compute/Locations/{location}"
        return {
            "location": location,
            "name": name,
            "id": f"{at}/Publishers/{publisher}/ArtifactTypes/VMExtension/Types/{path}",
        }

    def missing(params: dict[str, str]) -> ArmError:
        words = ":".join(params[w] for w in ("publisher", "type", "version") if w in params)
        return ArmError(404, "NotFound", f"Artifact: VMExtension was not found: {words}.")

    def types(call: Call, params: dict[str, str]) -> Response:
        return Response(200, [entry(params, r[0], r[1], r[1]) for r in rows(params)])

    def versions(call: Call, params: dict[str, str]) -> Response:
        found = rows(params)
        if not found:
            raise missing(params)
        publisher, kind, _, names = found[0]
        names = sorted(names, reverse="desc" in call.query.get("$orderby", "").lower())
        top = call.query.get("$top", "")
        if top.isdigit():
            names = names[: int(top)]
        return Response(200, [entry(params, publisher, f"{kind}/Versions/{n}", n) for n in names])

    def version(call: Call, params: dict[str, str]) -> Response:
        found = rows(params)
        if not found or params["version"] not in found[0][3]:
            raise missing(params)
        publisher, kind, system, _ = found[0]
        properties = {
            "operatingSystem": system,
            "computeRole": "IaaS",
            "architecture": ["x64"],
            "vmScaleSetEnabled": True,
            "supportsMultipleExtensions": False,
            "rollbackSupported": False,
            "isInternalExtension": False,
            "isJsonExtension": False,
        }
        shown = entry(params, publisher, f"{kind}/Versions/{params['version']}", params["version"])
        return Response(200, {"properties": properties, **shown})

    return [
        Route(method="GET", path=base, handle=types, bucket="ListVMExtensionTypes"),
        Route(method="GET", path=base + "/{type}/versions", handle=versions, bucket="ListVMExtensionVersions"),
        Route(method="GET", path=base + "/{type}/versions/{version}", handle=version, bucket="GetVMExtension"),
    ]

"""Lists of compute that are no resources: machines of a region, run commands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.types import Route
from azurelab.compute.services import VM_TYPE

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["listing_routes"]

_SCHEMA = "http://schema.management.azure.com/schemas/2016-11-17/runcommands.json"
# The vendor's built-in run commands that its recordings and documents name.
_COMMANDS = (
    ("RunPowerShellScript", "Windows", "Executes a PowerShell script"),
    ("EnableRemotePS", "Windows", "Enable remote PowerShell"),
    ("IPConfig", "Windows", "List IP configuration"),
    ("RunShellScript", "Linux", "Executes a Linux shell script"),
    ("ifconfig", "Linux", "List network configuration"),
)
_DESCRIPTION = (
    "Custom multiline {} script should be defined in script property. Optional parameters can be set in parameters "
    "property."
)


def listing_routes(lab: Lab) -> list[Route]:
    base = "/subscriptions/{subscription}/providers/Microsoft.Compute/locations/{location}"

    def machines(call: Call, params: dict[str, str]) -> Response:
        scope = f"/subscriptions/{params['subscription']}"
        location = params["location"].lower()
        found = [vm for vm in lab.store.of_type(VM_TYPE, scope) if vm.location.lower() == location]
        return Response(200, {"value": [lab.arm_get(vm.id, call.api_version) for vm in found]})

    def commands(call: Call, params: dict[str, str]) -> Response:
        return Response(200, {"value": [_summary(*c) for c in _COMMANDS]})

    def command(call: Call, params: dict[str, str]) -> Response:
        found = next((c for c in _COMMANDS if c[0].lower() == params["command"].lower()), None)
        if found is None:
            raise ArmError(404, "NotFound", f"The run command '{params['command']}' was not found.")
        name, os_type, _ = found
        windows = os_type == "Windows"
        script = (
            ["param(", "    [string]$arg1,", "    [string]$arg2", ")",
             "Write-Host This is a sample script with parameters $arg1 $arg2"]
            if windows
            else ["echo This is a sample script with parameters $arg1 $arg2"]
        )  # fmt: skip
        return Response(
            200,
            {
                "script": script,
                "parameters": [{"name": n, "type": "string", "required": False} for n in ("arg1", "arg2")],
                **_summary(*found),
                "id": name,
            },
        )

    def route(path: str, handle: Any, bucket: str) -> Route:
        return Route(method="GET", path=base + path, handle=handle, bucket=bucket)

    return [
        route("/virtualMachines", machines, "HighCostGet"),
        route("/runCommands", commands, "GetSubscriptionInfo"),
        route("/runCommands/{command}", command, "GetSubscriptionInfo"),
    ]


def _summary(name: str, os_type: str, label: str) -> dict[str, Any]:
    kind = "PowerShell" if os_type == "Windows" else "shell"
    return {"$schema": _SCHEMA, "id": name, "osType": os_type, "label": label, "description": _DESCRIPTION.format(kind)}

"""The image aliases of az (`--image Debian11`), as data and as the document that clouds serve. Shared with compute."""

from __future__ import annotations

from typing import Any

__all__ = ["ALIASES", "alias_document"]

# alias → (os, publisher, offer, sku, architecture); the version is always "latest" (azure-cli 2.91.0, MIT)
ALIASES: dict[str, tuple[str, str, str, str, str]] = {
    "Ubuntu2204": ("Linux", "Canonical", "0001-com-ubuntu-server-jammy", "22_04-lts-gen2", "x64"),
    "Debian11": ("Linux", "Debian", "debian-11", "11-backports-gen2", "x64"),
    "AzureLinux4": ("Linux", "microsoftazurelinux", "azurelinux-4", "4", "x64"),
    "AzureLinux4Gen1": ("Linux", "microsoftazurelinux", "azurelinux-4", "4-gen1", "x64"),
    "AzureLinux4Arm64": ("Linux", "microsoftazurelinux", "azurelinux-4", "4-arm64", "Arm64"),
    "CentOS85Gen2": ("Linux", "OpenLogic", "CentOS", "8_5-gen2", "x64"),
    "FlatcarLinuxFreeGen2": ("Linux", "kinvolk", "flatcar-container-linux-free", "stable-gen2", "x64"),
    "OpenSuseLeap154Gen2": ("Linux", "SUSE", "openSUSE-leap-15-4", "gen2", "x64"),
    "RHELRaw8LVMGen2": ("Linux", "RedHat", "RHEL", "8-lvm-gen2", "x64"),
    "SuseSles15SP3": ("Linux", "SUSE", "sles-15-sp3", "gen2", "x64"),
    "Win2022Datacenter": ("Windows", "MicrosoftWindowsServer", "WindowsServer", "2022-datacenter-g2", "x64"),
    "Win2022AzureEditionCore": (
        "Windows",
        "MicrosoftWindowsServer",
        "WindowsServer",
        "2022-datacenter-azure-edition-core",
        "x64",
    ),
    "Win2019Datacenter": ("Windows", "MicrosoftWindowsServer", "WindowsServer", "2019-datacenter-gensecond", "x64"),
    "Win2016Datacenter": ("Windows", "MicrosoftWindowsServer", "WindowsServer", "2016-datacenter-gensecond", "x64"),
    "Win2012R2Datacenter": ("Windows", "MicrosoftWindowsServer", "WindowsServer", "2012-R2-Datacenter", "x64"),
    "Win2012Datacenter": ("Windows", "MicrosoftWindowsServer", "WindowsServer", "2012-Datacenter", "x64"),
}


def alias_document() -> dict[str, Any]:
    systems: dict[str, dict[str, Any]] = {"Linux": {}, "Windows": {}}
    for alias, (system, publisher, offer, sku, architecture) in ALIASES.items():
        systems[system][alias] = {
            "publisher": publisher,
            "offer": offer,
            "sku": sku,
            "version": "latest",
            "architecture": architecture,
        }
    return {
        "$schema": "http://schema.management.azure.com/schemas/2015-01-01/deploymentTemplate.json",
        "contentVersion": "1.0.0.0",
        "parameters": {},
        "variables": {},
        "resources": [],
        "outputs": {"aliases": {"type": "object", "value": systems}},
    }

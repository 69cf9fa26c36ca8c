"""What Azure refuses about a machine, before anything is taken or changed. Each rule raises ArmError."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, bad_request, conflict, invalid_parameter
from azurelab.arm.store import Resource
from azurelab.world.sizes import all_sizes, find_size

if TYPE_CHECKING:
    from azurelab.arm.context import Context

__all__ = [
    "Shape",
    "check_disk_fits",
    "check_generation",
    "check_os_profile",
    "check_priority",
    "check_security",
    "check_unchanged",
    "is_spot",
    "shape_of",
]

_COMPUTER_NAME = re.compile(r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,62}[A-Za-z0-9])?$")


@dataclass(frozen=True)
class Shape:
    """What a size allows. A size that the lab's table lacks but Azure has (recorded old ones) is never refused here."""

    name: str
    premium: bool
    max_data_disks: int
    max_nics: int
    generations: tuple[str, ...]


def shape_of(vm: Resource) -> Shape:
    """The shape of the size that the document names. ArmError InvalidParameter on `vmSize`."""
    profile = vm.properties.get("hardwareProfile")
    name = profile.get("vmSize") if isinstance(profile, dict) else None
    if not isinstance(profile, dict) or not isinstance(name, str) or not name:
        raise invalid_parameter("vmSize", "Required parameter 'vmSize' is missing (null).")
    size = find_size(name)
    if size is None:
        raise invalid_parameter(
            "vmSize",
            f"The value {name} provided for the VM size is not valid. The valid sizes in the current region are: "
            f"{','.join(s.name for s in all_sizes().values())}. Find out more on the valid VM sizes in each region at "
            f"https://aka.ms/azure-regions.",
        )
    profile["vmSize"] = size.name
    return Shape(size.name, size.premium, size.max_data_disks, size.max_nics, size.generations)


def is_spot(vm: Resource) -> bool:
    return str(vm.properties.get("priority", "Regular")).lower() in ("spot", "low", "spotplus")


def check_priority(ctx: Context) -> None:
    """Spot's own fields, and that the priority of a machine never changes."""
    properties = ctx.resource.properties
    spot = is_spot(ctx.resource)
    policy = properties.get("evictionPolicy")
    billing = properties.get("billingProfile") or {}
    price = billing.get("maxPrice")
    if policy is not None and not spot:
        raise bad_request(
            "EvictionPolicyCanBeSetOnlyOnAzureSpotVirtualMachines",
            "Eviction policy can be set only on Azure Spot Virtual Machines.",
            "evictionPolicy",
        )
    if price is not None and not spot:
        raise bad_request(
            "MaxPriceCanBeSetOnlyOnAzureSpotVirtualMachines",  # (unverified)
            "Max price can be set only on Azure Spot Virtual Machines.",
            "billingProfile.maxPrice",
        )
    if price is not None and (
        isinstance(price, bool) or not isinstance(price, int | float) or (price <= 0 and price != -1)
    ):
        raise invalid_parameter("billingProfile.maxPrice", f"The value '{price}' of maxPrice must be -1 or positive.")
    if spot:
        properties.setdefault("evictionPolicy", "Deallocate")
        price = properties.setdefault("billingProfile", {}).setdefault("maxPrice", -1)
        if properties.get("availabilitySet"):
            raise conflict("OperationNotAllowed", "Azure Spot Virtual Machines cannot be in an availability set.")
    before = ctx.before
    if before is None:
        return
    if is_spot(before) != spot:
        raise conflict(
            "VMPriorityCannotBeApplied",
            f"The change in Priority value cannot be applied to the Virtual Machine '{ctx.id.name}' because its "
            f"priority was set when it was created.",
            "priority",
        )
    old_price = (before.properties.get("billingProfile") or {}).get("maxPrice")
    if price != old_price and before.hidden.get("power") != "deallocated":
        raise conflict(
            "MaxPriceChangeNotAllowedForAllocatedVMs",
            f"Max price change is not allowed when the VM '{ctx.id.name}' is currently allocated. Please deallocate "
            f"and try again.",
            "billingProfile.maxPrice",
        )


def check_os_profile(ctx: Context) -> None:
    """A machine from a generalized image needs one; of an existing machine its names cannot change."""
    profile = ctx.resource.properties.get("osProfile")
    option = str(((ctx.resource.properties.get("storageProfile") or {}).get("osDisk") or {}).get("createOption", ""))
    if ctx.before is not None:
        _check_same_names(ctx, profile)
        return
    if option.lower() == "attach":
        return  # refused or absent: storage says so
    if not isinstance(profile, dict):
        raise invalid_parameter("osProfile", "Required parameter 'osProfile' is missing (null).")
    name = profile.setdefault("computerName", ctx.id.name)
    windows = isinstance(profile.get("windowsConfiguration"), dict)
    if not isinstance(name, str) or not _COMPUTER_NAME.match(name) or (windows and len(name) > 15):
        raise invalid_parameter(
            "osProfile.computerName",
            f"The computer name '{name}' is not valid: at most {15 if windows else 64} letters, digits and hyphens.",
        )
    if not profile.get("adminUsername"):
        raise invalid_parameter("osProfile.adminUsername", "Required parameter 'adminUsername' is missing (null).")
    linux = profile.get("linuxConfiguration")
    keys = ((linux or {}).get("ssh") or {}).get("publicKeys") if isinstance(linux, dict) else None
    if not profile.get("adminPassword") and not keys:
        raise invalid_parameter(
            "linuxConfiguration" if not windows else "adminPassword",
            "Authentication using either SSH or by user name and password must be enabled in Linux profile."
            if not windows
            else "Required parameter 'adminPassword' is missing (null).",
        )
    _fill_os_profile(profile, windows)


def _fill_os_profile(profile: dict[str, Any], windows: bool) -> None:
    """The defaults that Azure shows (recorded)."""
    profile.setdefault("secrets", [])
    profile.setdefault("allowExtensionOperations", True)
    profile.setdefault("requireGuestProvisionSignal", True)
    if windows:
        configuration = profile["windowsConfiguration"]
        configuration.setdefault("provisionVMAgent", True)
        configuration.setdefault("enableAutomaticUpdates", True)
        configuration.setdefault("enableVMAgentPlatformUpdates", False)
        patching = configuration.setdefault("patchSettings", {})
        patching.setdefault("patchMode", "AutomaticByOS")
        patching.setdefault("enableHotpatching", False)
        patching.setdefault("assessmentMode", "ImageDefault")
    elif isinstance(profile.get("linuxConfiguration"), dict) or "adminPassword" in profile:
        configuration = profile.setdefault("linuxConfiguration", {})
        configuration.setdefault("disablePasswordAuthentication", False)
        configuration.setdefault("enableVMAgentPlatformUpdates", False)
        configuration.setdefault("provisionVMAgent", True)
        patching = configuration.setdefault("patchSettings", {})
        patching.setdefault("patchMode", "ImageDefault")
        patching.setdefault("assessmentMode", "ImageDefault")


def _check_same_names(ctx: Context, profile: Any) -> None:
    assert ctx.before is not None
    had = ctx.before.properties.get("osProfile")
    if had is None and profile is not None:
        raise invalid_parameter("osProfile", "Parameter 'osProfile' is not allowed.")
    if not isinstance(profile, dict) or had is None:
        return
    for word in ("computerName", "adminUsername"):
        if word in had and profile.get(word) != had[word]:
            raise conflict("PropertyChangeNotAllowed", f"Changing property 'osProfile.{word}' is not allowed.",
                           f"osProfile.{word}")  # fmt: skip
    if (ctx.body or {}).get("properties", {}).get("osProfile", {}).get("customData") is not None:
        raise conflict(
            "PropertyChangeNotAllowed",
            "Changing property 'osProfile.customData' is not allowed.",
            "osProfile.customData",
        )


def check_unchanged(ctx: Context) -> None:
    """What is fixed when a machine is made."""
    before = ctx.before
    if before is None:
        return
    if ctx.resource.doc.get("zones") != before.doc.get("zones"):
        raise conflict("PropertyChangeNotAllowed", "Changing property 'zones' is not allowed.", "zones")
    for word in ("availabilitySet", "virtualMachineScaleSet"):
        old, new = (r.properties.get(word) or {} for r in (before, ctx.resource))
        if str(old.get("id", "")).lower() != str(new.get("id", "")).lower():
            raise conflict("PropertyChangeNotAllowed", f"Changing property '{word}' is not allowed.", word)
    old_image, new_image = (
        (r.properties.get("storageProfile") or {}).get("imageReference") or {} for r in (before, ctx.resource)
    )
    for word in ("publisher", "offer", "sku", "version", "id"):
        if str(old_image.get(word, "")).lower() != str(new_image.get(word, "")).lower():
            raise conflict(
                "PropertyChangeNotAllowed", "Changing property 'imageReference' is not allowed.", "imageReference"
            )


def check_disk_fits(vm: Resource, shape: Shape, sku: str, disk_name: str) -> None:
    """Premium storage only under sizes that can do it."""
    if sku.startswith(("Premium", "UltraSSD")) and not shape.premium:
        raise bad_request(
            "InvalidParameter",
            f"Requested operation cannot be performed because the VM size {shape.name} does not support the storage "
            f"account type {sku} of disk '{disk_name}'. Consider updating the VM to a size that supports Premium "
            f"storage.",
            "osDisk.managedDisk.storageAccountType",
        )


def check_generation(shape: Shape, generation: str | None) -> None:
    if generation is not None and generation not in shape.generations:
        number = generation.removeprefix("V")
        raise ArmError(
            400,
            "BadRequest",
            f"The selected VM size '{shape.name}' cannot boot Hypervisor Generation '{number}'. If this was a Create "
            f"operation please check that the Hypervisor Generation of the Image matches the Hypervisor Generation of "
            f"the selected VM Size. If this was an Update operation please select a Hypervisor Generation '{number}' "
            f"VM Size. For more information, see https://aka.ms/azuregen2vm",
        )


def check_security(vm: Resource, generation: str | None) -> None:
    """Trusted launch and confidential machines are of generation 2 (vendor's "Trusted Launch for Azure VMs")."""
    kind = str((vm.properties.get("securityProfile") or {}).get("securityType", "Standard")).lower()
    if kind in ("trustedlaunch", "confidentialvm") and generation != "V2":
        raise bad_request(
            "BadRequest",
            f"Use of {kind} setting is not supported for the provided image or disk: a virtual machine of hypervisor "
            f"generation 2 is needed.",
            "securityProfile.securityType",
        )

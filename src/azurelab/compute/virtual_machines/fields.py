"""The fields of a machine that Azure's deserialiser judges: kinds and enum words of the vendor's ARM schema (MIT).

Left open on purpose: `vmSize` (the size table judges it), `identity.type` (a set of words), plans and secrets.
"""

from __future__ import annotations

from azurelab.arm.fields import fields_of

__all__ = ["EXTENSION_FIELDS", "VM_FIELDS"]

_ACCOUNTS = "Standard_LRS|Premium_LRS|StandardSSD_LRS|UltraSSD_LRS|Premium_ZRS|StandardSSD_ZRS|PremiumV2_LRS"
_PATCHING = """
properties.osProfile.{os}.provisionVMAgent bool
properties.osProfile.{os}.enableVMAgentPlatformUpdates bool
properties.osProfile.{os}.patchSettings.assessmentMode enum ImageDefault|AutomaticByPlatform
properties.osProfile.{os}.patchSettings.patchMode enum {modes}
"""

VM_FIELDS = fields_of(
    f"""
properties! object
properties.hardwareProfile.vmSize text
properties.hardwareProfile.vmSizeProperties.vCPUsAvailable int
properties.hardwareProfile.vmSizeProperties.vCPUsPerCore int
properties.priority enum Regular|Low|Spot|SpotPlus
properties.evictionPolicy enum Deallocate|Delete
properties.billingProfile.maxPrice number
properties.licenseType text
properties.platformFaultDomain int
properties.availabilitySet.id text
properties.proximityPlacementGroup.id text
properties.additionalCapabilities.ultraSSDEnabled bool
properties.additionalCapabilities.hibernationEnabled bool
properties.diagnosticsProfile.bootDiagnostics.enabled bool
properties.diagnosticsProfile.bootDiagnostics.storageUri text
properties.securityProfile.encryptionAtHost bool
properties.securityProfile.securityType enum Standard|TrustedLaunch|ConfidentialVM
properties.securityProfile.uefiSettings.secureBootEnabled bool
properties.securityProfile.uefiSettings.vTpmEnabled bool
properties.scheduledEventsProfile.terminateNotificationProfile.enable bool
properties.scheduledEventsProfile.osImageNotificationProfile.enable bool
properties.networkProfile.networkInterfaces[].id text
properties.networkProfile.networkInterfaces[].properties.primary bool
properties.networkProfile.networkInterfaces[].properties.deleteOption enum Delete|Detach
properties.osProfile.computerName text
properties.osProfile.adminUsername text
properties.osProfile.adminPassword text
properties.osProfile.allowExtensionOperations bool
properties.osProfile.requireGuestProvisionSignal bool
properties.osProfile.secrets list
properties.osProfile.linuxConfiguration.disablePasswordAuthentication bool
properties.osProfile.linuxConfiguration.ssh.publicKeys[].path text
properties.osProfile.linuxConfiguration.ssh.publicKeys[].keyData text
{_PATCHING.format(os="linuxConfiguration", modes="ImageDefault|AutomaticByPlatform").strip()}
properties.osProfile.windowsConfiguration.enableAutomaticUpdates bool
properties.osProfile.windowsConfiguration.winRM.listeners[].protocol enum Http|Https
{_PATCHING.format(os="windowsConfiguration", modes="Manual|AutomaticByOS|AutomaticByPlatform").strip()}
properties.storageProfile.diskControllerType enum SCSI|NVMe
properties.storageProfile.imageReference.id text
properties.storageProfile.imageReference.publisher text
properties.storageProfile.imageReference.offer text
properties.storageProfile.imageReference.sku text
properties.storageProfile.imageReference.version text
properties.storageProfile.osDisk.name text
properties.storageProfile.osDisk.createOption enum FromImage|Attach|Empty|Copy|Restore
properties.storageProfile.osDisk.caching enum None|ReadOnly|ReadWrite
properties.storageProfile.osDisk.deleteOption enum Delete|Detach
properties.storageProfile.osDisk.osType enum Windows|Linux
properties.storageProfile.osDisk.diskSizeGB int
properties.storageProfile.osDisk.writeAcceleratorEnabled bool
properties.storageProfile.osDisk.diffDiskSettings.option enum Local
properties.storageProfile.osDisk.diffDiskSettings.placement enum CacheDisk|ResourceDisk|NvmeDisk
properties.storageProfile.osDisk.encryptionSettings.enabled bool
properties.storageProfile.osDisk.managedDisk.id text
properties.storageProfile.osDisk.managedDisk.storageAccountType enum {_ACCOUNTS}
properties.storageProfile.osDisk.vhd.uri text
properties.storageProfile.dataDisks[].lun! int
properties.storageProfile.dataDisks[].name text
properties.storageProfile.dataDisks[].createOption enum FromImage|Empty|Attach|Copy|Restore
properties.storageProfile.dataDisks[].caching enum None|ReadOnly|ReadWrite
properties.storageProfile.dataDisks[].deleteOption enum Delete|Detach
properties.storageProfile.dataDisks[].detachOption enum ForceDetach
properties.storageProfile.dataDisks[].diskSizeGB int
properties.storageProfile.dataDisks[].toBeDetached bool
properties.storageProfile.dataDisks[].writeAcceleratorEnabled bool
properties.storageProfile.dataDisks[].managedDisk.id text
properties.storageProfile.dataDisks[].managedDisk.storageAccountType enum {_ACCOUNTS}
properties.storageProfile.dataDisks[].sourceResource.id text
properties.storageProfile.dataDisks[].vhd.uri text
zones[] text
tags object
identity object
identity.userAssignedIdentities object
plan object
"""
)

EXTENSION_FIELDS = fields_of(
    """
properties! object
properties.publisher text
properties.type text
properties.typeHandlerVersion text
properties.autoUpgradeMinorVersion bool
properties.enableAutomaticUpgrade bool
properties.suppressFailures bool
properties.forceUpdateTag text
properties.settings object
properties.protectedSettings object
"""
)

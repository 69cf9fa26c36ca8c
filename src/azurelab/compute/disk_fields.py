"""The fields of disks, snapshots and images that Azure's deserialiser judges: kinds and words of the vendor's ARM
schema (MIT)."""

from __future__ import annotations

from azurelab.arm.fields import fields_of
from azurelab.compute.disk_sizes import SKUS

__all__ = ["DISK_FIELDS", "IMAGE_FIELDS", "SNAPSHOT_FIELDS"]

_OPTIONS = ("Empty|Attach|FromImage|Import|Copy|Restore|Upload|CopyStart|ImportSecure|UploadPreparedSecure"
            "|CopyFromSanSnapshot")  # fmt: skip
_ENCRYPTION = ("EncryptionAtRestWithPlatformKey|EncryptionAtRestWithCustomerKey"
               "|EncryptionAtRestWithPlatformAndCustomerKeys")  # fmt: skip
_SECURITY = ("TrustedLaunch|ConfidentialVM_VMGuestStateOnlyEncryptedWithPlatformKey"
             "|ConfidentialVM_DiskEncryptedWithPlatformKey|ConfidentialVM_DiskEncryptedWithCustomerKey"
             "|ConfidentialVM_NonPersistedTPM")  # fmt: skip
_COMMON = f"""
properties! object
properties.creationData! object
properties.creationData.createOption! enum {_OPTIONS}
properties.creationData.sourceResourceId text
properties.creationData.sourceUri text
properties.creationData.storageAccountId text
properties.creationData.imageReference.id text
properties.creationData.imageReference.lun int
properties.creationData.galleryImageReference.lun int
properties.creationData.uploadSizeBytes int
properties.creationData.logicalSectorSize int
properties.creationData.instantAccessDurationMinutes int
properties.creationData.performancePlus bool
properties.diskSizeGB int
properties.osType enum Windows|Linux
properties.hyperVGeneration enum V1|V2
properties.encryption.type enum {_ENCRYPTION}
properties.encryption.diskEncryptionSetId text
properties.encryptionSettingsCollection.enabled bool
properties.encryptionSettingsCollection.encryptionSettings list
properties.networkAccessPolicy enum AllowAll|AllowPrivate|DenyAll
properties.publicNetworkAccess enum Enabled|Disabled
properties.dataAccessAuthMode enum AzureActiveDirectory|None
properties.supportsHibernation bool
properties.supportedCapabilities.architecture enum x64|Arm64
properties.supportedCapabilities.acceleratedNetwork bool
properties.securityProfile.securityType enum {_SECURITY}
properties.purchasePlan object
sku object
sku.name enum {"|".join(SKUS)}
tags object
"""

DISK_FIELDS = fields_of(
    _COMMON
    + """
properties.diskIOPSReadWrite int
properties.diskMBpsReadWrite int
properties.diskIOPSReadOnly int
properties.diskMBpsReadOnly int
properties.maxShares int
properties.burstingEnabled bool
properties.optimizedForFrequentAttach bool
properties.tier text
zones[] text
"""
)
SNAPSHOT_FIELDS = fields_of(_COMMON + "properties.incremental bool\n")

_SOURCE = """
properties.storageProfile.{disk}.caching enum None|ReadOnly|ReadWrite
properties.storageProfile.{disk}.storageAccountType enum Standard_LRS|Premium_LRS|StandardSSD_LRS|UltraSSD_LRS
properties.storageProfile.{disk}.diskSizeGB int
properties.storageProfile.{disk}.managedDisk.id text
properties.storageProfile.{disk}.snapshot.id text
properties.storageProfile.{disk}.blobUri text
"""
IMAGE_FIELDS = fields_of(
    """
properties! object
properties.hyperVGeneration enum V1|V2
properties.sourceVirtualMachine.id text
properties.storageProfile.zoneResilient bool
properties.storageProfile.osDisk.osType enum Windows|Linux
properties.storageProfile.osDisk.osState enum Generalized|Specialized
properties.storageProfile.dataDisks[].lun! int
tags object
"""
    + _SOURCE.strip().format(disk="osDisk")
    + "\n"
    + _SOURCE.strip().format(disk="dataDisks[]")
)

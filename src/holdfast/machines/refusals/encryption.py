"""Encryption whose keys do not travel with a copied disk."""

from __future__ import annotations

from collections.abc import Iterator

from holdfast.clouds.protocols import Finding
from holdfast.machines.refusals.case import Case, refusal, warning


def check(case: Case) -> Iterator[Finding]:
    if any(
        disk.document is not None and disk.document.get("properties.encryptionSettingsCollection.enabled")
        for disk in case.facts.disks
    ):
        yield refusal(
            "AZURE_DISK_ENCRYPTION",
            "Disks are encrypted inside the guest by Azure Disk Encryption; a machine made from their copies needs the "
            "extension and the key vault secret that Azure does not show.",
            "Decrypt the disks, or use encryption at host, before the import.",
            case.facts.machine.ref,
        )
    kind = str(case.facts.machine.get("properties.securityProfile.securityType", "")).lower()
    if kind == "confidentialvm" and not case.reattach:
        yield refusal(
            "CONFIDENTIAL_NEEDS_REATTACH",
            "The state of a confidential machine's vTPM does not travel through a plain snapshot.",
            "Import it with --disks reattach.",
            "properties.securityProfile",
        )
    if kind == "trustedlaunch" and not case.reattach:
        yield warning(
            "VTPM_STATE",
            "Trusted launch: keys sealed in the vTPM may not be found again on disks made from snapshots.",
            "Use --disks reattach, or --probe to prove that the guest's services come up.",
            "properties.securityProfile",
        )

"""Which extensions the successor gets: those that the specification gives in full, and those named for re-creation."""

from __future__ import annotations

from typing import Any

from holdfast.clouds.azure.succession.names import in_group
from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Facts, Finding, Severity
from holdfast.nodes.spec import NodeSpec
from holdfast.nodes.spec.errors import NotSupportedYet

__all__ = ["extension_again", "recreated_extensions"]

EXTENSIONS = "Microsoft.Compute/virtualMachines/extensions"
EXTENSION_VERSION = "2024-07-01"
_REPEATED = ("publisher", "type", "typeHandlerVersion", "autoUpgradeMinorVersion", "enableAutomaticUpgrade", "settings",
             "suppressFailures", "protectedSettingsFromKeyVault", "provisionAfterExtensions")  # fmt: skip


def recreated_extensions(
    facts: Facts, spec: NodeSpec, named: tuple[str, ...], group: str, machine: str
) -> tuple[tuple[Document, ...], tuple[Finding, ...]]:
    """Documents to PUT after the proof, and findings. Protected settings in a specification are not taken yet: they
    would have to be stored with the operation."""
    launch = spec.compute.launch_specification if spec.compute else None
    documents: list[Document] = []
    for index, extension in enumerate((launch.extensions if launch else None) or []):
        path = f"compute.launchSpecification.extensions.{index}"
        if extension.protected_settings:
            raise NotSupportedYet(field=f"{path}.protectedSettings", problem="is not acted on by an import yet")
        properties: dict[str, Any] = {
            "publisher": extension.publisher,
            "type": extension.type,
            "typeHandlerVersion": extension.api_version,
            "autoUpgradeMinorVersion": extension.minor_version_auto_upgrade,
        }
        if extension.enable_automatic_upgrade is not None:
            properties["enableAutomaticUpgrade"] = extension.enable_automatic_upgrade
        if extension.public_settings:
            properties["settings"] = extension.public_settings
        if extension.protected_settings_from_key_vault:
            properties["protectedSettingsFromKeyVault"] = extension.protected_settings_from_key_vault
        documents.append(_document(facts, group, machine, extension.name, properties))
    given = {document.name.lower() for document in documents}
    have = {extension.name.lower(): extension for extension in facts.extensions}
    findings: list[Finding] = []
    for name in named:
        if (extension_of := have.get(name.lower())) is None:
            findings.append(
                Finding("EXTENSION_UNKNOWN", Severity.REFUSAL, f"The machine has no extension {name}.",
                        "Check the name with 'holdfast vm show'.", "recreate-extension")
            )  # fmt: skip
        elif name.lower() not in given:
            documents.append(extension_again(extension_of, facts, group, machine))
            findings.append(
                Finding("EXTENSION_PUBLIC_ONLY", Severity.WARNING,
                        f"{name} is created again with its public settings; Azure does not show protected ones.",
                        "Set its protected settings after the import if it needs them.", name)
            )  # fmt: skip
    return tuple(documents), tuple(findings)


def extension_again(original: Document, facts: Facts, group: str, machine: str) -> Document:
    """An extension as it can be read, for another machine."""
    properties = {key: original.get(f"properties.{key}") for key in _REPEATED
                  if original.get(f"properties.{key}") is not None}  # fmt: skip
    return _document(facts, group, machine, original.name, properties, original.tags)


def _document(
    facts: Facts, group: str, machine: str, name: str, properties: dict[str, Any], tags: dict[str, str] | None = None
) -> Document:
    owner = in_group(facts.machine.ref, group, "Microsoft.Compute/virtualMachines", machine)
    return Document(
        ref=f"{owner}/extensions/{name}",
        type=EXTENSIONS,
        api_version=EXTENSION_VERSION,
        body={"location": facts.machine.body["location"], "tags": tags or {}, "properties": properties},
    )

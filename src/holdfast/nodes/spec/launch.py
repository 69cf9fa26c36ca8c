"""compute.launchSpecification: what the machine is launched with (page 3.3)."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, Field

from holdfast.nodes.spec.base import Section
from holdfast.nodes.spec.network import Network

__all__ = ["Extension", "LaunchSpecification", "Tag"]


class Tag(Section):
    tag_key: Annotated[str, Field(min_length=1, max_length=512)]
    tag_value: Annotated[str, Field(max_length=512)] = ""


class Extension(Section):
    """An extension in full; protectedSettings cannot be read back from Azure and are never returned."""

    name: Annotated[str, Field(min_length=1)]
    type: Annotated[str, Field(min_length=1)]
    publisher: Annotated[str, Field(min_length=1)]
    api_version: Annotated[str, Field(min_length=1)]  # Spot's word for Azure's typeHandlerVersion
    minor_version_auto_upgrade: bool = True
    public_settings: dict[str, Any] | None = None
    protected_settings: dict[str, Any] | None = None
    enable_automatic_upgrade: bool | None = None
    protected_settings_from_key_vault: dict[str, Any] | None = None


class BootDiagnostics(Section):
    is_enabled: bool | None = None
    type: str | None = None
    storage_uri: str | None = Field(default=None, validation_alias=AliasChoices("storageUri", "storageUrl"))


class LaunchSpecification(Section):
    image: dict[str, Any] | None = None
    purchase_plan: dict[str, Any] | None = None
    network: Network | None = None
    login: dict[str, Any] | None = None
    os_disk: dict[str, Any] | None = None
    data_disks: list[dict[str, Any]] | None = None
    vm_name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    vm_name_prefix: Annotated[str, Field(min_length=1, max_length=25)] | None = None
    custom_data: str | None = None
    user_data: str | None = None
    shutdown_script: str | None = None
    load_balancers_config: dict[str, Any] | None = None
    tags: Annotated[list[Tag], Field(max_length=44)] | None = None
    managed_service_identities: list[dict[str, Any]] | None = None
    extensions: list[Extension] | None = None
    secrets: list[dict[str, Any]] | None = None
    boot_diagnostics: BootDiagnostics | None = None
    license_type: str | None = None
    security: dict[str, Any] | None = None
    proximity_placement_groups: list[dict[str, Any]] | None = None

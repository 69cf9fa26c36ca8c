"""compute.launchSpecification.network: cards of a machine whose network is not kept (page 3.3, NIC table)."""

from __future__ import annotations

from typing import Annotated

from pydantic import AliasChoices, Field, field_validator

from holdfast.nodes.spec.base import Section

__all__ = ["IpConfiguration", "Named", "Network", "NetworkInterface"]


class Named(Section):
    """A resource by name and group; both may be missing in what Terraform sends."""

    name: str | None = None
    resource_group_name: str | None = None


class IpConfiguration(Section):
    name: str
    private_ip_address_version: str = "IPv4"


class NetworkInterface(Section):
    is_primary: bool
    subnet_name: str
    assign_public_ip: bool | None = None
    public_ip_sku: str | None = None
    network_security_group: Named | None = None
    enable_ip_forwarding: bool | None = Field(
        default=None, validation_alias=AliasChoices("enableIpForwarding", "enableIPForwarding")
    )
    private_ip_addresses: list[str] | None = None
    public_ips: list[Named] | None = None
    additional_ip_configurations: list[IpConfiguration] | None = None
    application_security_groups: list[Named] | None = None

    @field_validator("public_ip_sku")
    @classmethod
    def _one_spelling(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if value.lower() not in ("standard", "basic"):
            raise ValueError("must be Standard or Basic")
        return value.capitalize()


class Network(Section):
    resource_group_name: str
    virtual_network_name: str
    network_interfaces: Annotated[list[NetworkInterface], Field(min_length=1)]

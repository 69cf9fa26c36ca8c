"""How an Azure subscription is reached: plain options, and one secret that prints as redacted."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from holdfast.core.errors import InvalidInput

__all__ = ["PUBLIC_ENDPOINT", "AzureConnection"]

_SUBSCRIPTION = re.compile(r"[0-9A-Za-z_-]+")  # a part of every path, so nothing that a URL would read otherwise
PUBLIC_ENDPOINT = "https://management.azure.com"


@dataclass(frozen=True)
class AzureConnection:
    """One subscription and the credential for it.

    endpoint: Azure Resource Manager; anything but the public one is a custom endpoint, for which instance discovery is
    off, the scope is ENDPOINT/.default and the authority is the endpoint itself unless `authority` is given.
    ca_file: PEM file that verifies the endpoint; None = the system's. client_secret None: azure-identity's default
    chain.
    prices_endpoint: a retail price list; None = the prices are unknown.
    known_limits: whether Azure's published request limits apply. None = for the public endpoint only; at a custom one
    the rate-limit headers and 429 answers alone teach us.
    timeout_s: how long one answer may take (not one long-running operation) before it counts as lost.
    """

    subscription: str
    tenant: str | None = None
    client_id: str | None = None
    client_secret: str | None = field(default=None, repr=False)
    endpoint: str = PUBLIC_ENDPOINT
    authority: str | None = None
    ca_file: str | None = None
    prices_endpoint: str | None = None
    known_limits: bool | None = None
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not _SUBSCRIPTION.fullmatch(self.subscription):
            raise InvalidInput(field="subscription", problem=f"'{self.subscription}' is not the id of a subscription")
        for name in ("endpoint", "authority", "prices_endpoint"):
            url = getattr(self, name)
            if url is None:
                continue
            parts = urlsplit(url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise InvalidInput(field=name, problem=f"'{url}' is not an http(s) URL")
            if parts.scheme == "http" and not _is_loopback(parts.hostname):
                raise InvalidInput(field=name, problem="only https is allowed, except on this machine's loopback")
        if self.client_secret and not (self.tenant and self.client_id):
            raise InvalidInput(field="client_secret", problem="a client secret needs a tenant and a client id with it")

    @property
    def base_url(self) -> str:
        return self.endpoint.rstrip("/")

    @property
    def is_custom(self) -> bool:
        return self.base_url.lower() != PUBLIC_ENDPOINT

    @property
    def is_loopback(self) -> bool:
        return _is_loopback(urlsplit(self.endpoint).hostname or "")

    @property
    def scope(self) -> str:
        return f"{self.base_url}/.default"

    def options(self) -> dict[str, Any]:
        """Everything but the secret, for storing and showing."""
        return {
            "subscription": self.subscription,
            "tenant": self.tenant,
            "client_id": self.client_id,
            "endpoint": self.endpoint,
            "authority": self.authority,
            "ca_file": self.ca_file,
            "prices_endpoint": self.prices_endpoint,
            "known_limits": self.known_limits,
            "timeout_s": self.timeout_s,
        }

    @classmethod
    def from_options(cls, options: Mapping[str, Any], secret: str | None) -> AzureConnection:
        """The inverse of `options`; keys written by a newer release are ignored."""
        known = {
            name: value for name, value in options.items() if name in cls.__dataclass_fields__ and value is not None
        }
        return cls(**{**known, "client_secret": secret})


def _is_loopback(host: str) -> bool:
    if host.lower() == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False

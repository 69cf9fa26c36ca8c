"""The credential of a connection: a service principal's secret, or azure-identity's default chain.

azure-identity asks a public host for "instance discovery" whenever the authority is not one it knows; with a custom
endpoint that is switched off, or an isolated network would fail after seconds of waiting. Imports are late, because
azure-identity takes a third of a second to load and `holdfast --help` must not pay for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.clouds.azure.connection import AzureConnection
from holdfast.core.errors import InvalidInput

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential

__all__ = ["credential_for"]


def credential_for(connection: AzureConnection) -> TokenCredential:
    """Raises InvalidInput where the authority is not https: tokens are asked for over TLS only."""
    options: dict[str, Any] = {"retry_total": 0}  # retries live in arm.py
    if connection.is_custom:
        options["authority"] = connection.authority or connection.base_url
        options["disable_instance_discovery"] = True
    elif connection.authority:
        options["authority"] = connection.authority
    if not str(options.get("authority", "https:")).startswith("https:"):
        raise InvalidInput(field="authority", problem="an http endpoint needs an https authority beside it")
    if connection.ca_file:
        options["connection_verify"] = connection.ca_file
    if connection.client_secret and connection.tenant and connection.client_id:
        from azure.identity import ClientSecretCredential

        return ClientSecretCredential(connection.tenant, connection.client_id, connection.client_secret, **options)
    from azure.identity import DefaultAzureCredential

    # A control plane has nobody sitting at it: what would ask a person or use a desktop's login is left out.
    return DefaultAzureCredential(
        **options,
        managed_identity_client_id=connection.client_id,
        exclude_interactive_browser_credential=True,
        exclude_shared_token_cache_credential=True,
        exclude_visual_studio_code_credential=True,
    )

"""Identity and cloud metadata: what clients ask before their first ARM call."""

from __future__ import annotations

import hmac
import uuid
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from azurelab.arm.errors import ArmError
from azurelab.arm.http import Call, Response
from azurelab.arm.types import Route
from azurelab.identity.aliases import alias_document
from azurelab.world.regions import REGIONS

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["identity_routes"]

TOKEN_LIFE_S = 3599


def identity_routes(lab: Lab) -> list[Route]:
    def issuer(tenant: str) -> str:
        return f"{lab.https_url}/{tenant}/v2.0"

    def openid(call: Call, params: dict[str, str]) -> Response:
        """MSAL demands https in here, also when it was asked over http."""
        tenant = params["tenant"]
        base = call.base_url if call.base_url.startswith("https:") else lab.https_url
        return Response(
            200,
            {
                "token_endpoint": f"{base}/{tenant}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "client_secret_basic"],
                "jwks_uri": f"{base}/{tenant}/discovery/v2.0/keys",
                "response_types_supported": ["code", "token"],
                "response_modes_supported": ["query", "fragment", "form_post"],
                "subject_types_supported": ["pairwise"],
                "id_token_signing_alg_values_supported": ["RS256"],
                "scopes_supported": ["openid"],
                "issuer": f"{base}/{tenant}/v2.0",
                "authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/{tenant}/oauth2/v2.0/devicecode",
                "tenant_region_scope": "NA",
                "cloud_instance_name": "azurelab",
            },
        )

    def refusal(status: int, error: str, code: int, text: str) -> Response:
        return Response(
            status,
            {
                "error": error,
                "error_description": f"AADSTS{code}: {text}",
                "error_codes": [code],
                "timestamp": lab.clock.timestamp(),
                "trace_id": str(uuid.uuid4()),
                "correlation_id": str(uuid.uuid4()),
            },
        )

    def token(call: Call, params: dict[str, str]) -> Response:
        form = dict(parse_qsl(call.raw.decode("utf-8", "replace")))
        if params["tenant"].lower() != lab.tenant:
            return refusal(400, "invalid_request", 90002, f"Tenant '{params['tenant']}' not found.")
        if form.get("grant_type") != "client_credentials":
            return refusal(
                400, "unsupported_grant_type", 70003, f"The grant type '{form.get('grant_type')}' is not supported."
            )
        client = form.get("client_id", "")
        principal = lab.applications.get(client)
        if principal is None:
            return refusal(
                400,
                "unauthorized_client",
                700016,
                f"Application with identifier '{client}' was not found in the directory.",
            )
        if not hmac.compare_digest(form.get("client_secret", ""), lab.applications.secret(client)):
            return refusal(401, "invalid_client", 7000215, "Invalid client secret provided.")
        scope = form.get("scope") or form.get("resource") or ""
        audience = scope.split()[0].removesuffix("/.default") if scope else lab.https_url
        made = lab.tokens.issue(principal, audience, issuer(lab.tenant), TOKEN_LIFE_S)
        return Response(
            200,
            {
                "token_type": "Bearer",
                "expires_in": TOKEN_LIFE_S,
                "ext_expires_in": TOKEN_LIFE_S,
                "access_token": made,
            },
            {"Cache-Control": "no-store"},
        )

    def keys(call: Call, params: dict[str, str]) -> Response:
        return Response(200, {"keys": []})  # tokens are signed with a secret: only this lab verifies them

    def metadata(call: Call, params: dict[str, str]) -> Response:
        """One object for 2022-09-01, an array of clouds for every other version (as the public endpoint has it)."""
        base = call.base_url
        secure = base if base.startswith("https:") else lab.https_url
        cloud = {
            "portal": secure,
            "authentication": {
                "loginEndpoint": secure,
                "audiences": [f"{secure}/", secure],
                "tenant": "common",
                "identityProvider": "AAD",
            },
            "graphAudience": f"{secure}/",
            "graph": f"{secure}/",
            "name": "azurelab",
            "suffixes": {"storage": "storage.azurelab", "keyVaultDns": "vault.azurelab"},
            "batch": f"{secure}/",
            "resourceManager": f"{secure}/",
            "vmImageAliasDoc": f"{secure}/metadata/aliases.json",
            "sqlManagement": f"{secure}/",
            "microsoftGraphResourceId": f"{secure}/",
            "gallery": f"{secure}/",
        }
        return Response(200, cloud if call.api_version == "2022-09-01" else [cloud])

    def aliases(call: Call, params: dict[str, str]) -> Response:
        return Response(200, alias_document())

    def subscription_shown(subscription: str) -> dict[str, Any]:
        return {
            "id": f"/subscriptions/{subscription}",
            "authorizationSource": "RoleBased",
            "managedByTenants": [],
            "subscriptionId": subscription,
            "tenantId": lab.tenant,
            "displayName": "azurelab",
            "state": "Enabled",
            "subscriptionPolicies": {
                "locationPlacementId": "Public_2014-09-01",
                "quotaId": "PayAsYouGo_2014-09-01",
                "spendingLimit": "Off",
            },
        }

    def subscriptions(call: Call, params: dict[str, str]) -> Response:
        return Response(200, {"value": [subscription_shown(lab.subscription)], "count": {"type": "Total", "value": 1}})

    def subscription(call: Call, params: dict[str, str]) -> Response:
        return Response(200, subscription_shown(params["subscription"]))

    def tenants(call: Call, params: dict[str, str]) -> Response:
        shown = {
            "id": f"/tenants/{lab.tenant}",
            "tenantId": lab.tenant,
            "countryCode": "DE",
            "displayName": "azurelab",
            "domains": ["azurelab.test"],
            "tenantCategory": "Home",
            "defaultDomain": "azurelab.test",
            "tenantType": "AAD",
        }
        return Response(200, {"value": [shown]})

    def locations(call: Call, params: dict[str, str]) -> Response:
        base = f"/subscriptions/{params['subscription']}/locations"
        value = []
        for r in REGIONS:
            shown: dict[str, Any] = {
                "id": f"{base}/{r.name}",
                "name": r.name,
                "type": "Region",
                "displayName": r.display,
                "regionalDisplayName": f"({r.group}) {r.display}",
                "metadata": {
                    "regionType": "Physical",
                    "regionCategory": "Recommended" if r.zones else "Other",
                    "geography": r.geography,
                    "geographyGroup": r.group,
                    "longitude": r.longitude,
                    "latitude": r.latitude,
                    "physicalLocation": r.physical,
                    "pairedRegion": [{"name": r.pair, "id": f"{base}/{r.pair}"}] if r.pair else [],
                },
            }
            if r.zones:
                shown["availabilityZoneMappings"] = [
                    {"logicalZone": str(z), "physicalZone": f"{r.name}-az{z}"} for z in (1, 2, 3)
                ]
            value.append(shown)
        return Response(200, {"value": value})

    def unknown_authority(call: Call, params: dict[str, str]) -> Response:
        raise ArmError(404, "NotFound", "This lab has no instance discovery; turn it off in the client.")

    def free(method: str, path: str, handle: Any) -> Route:
        return Route(method=method, path=path, handle=handle, auth=False, versioned=False)

    def arm(path: str, handle: Any, action: str) -> Route:
        return Route(method="GET", path=path, handle=handle, action=action)

    return [
        free("GET", "/{tenant}/v2.0/.well-known/openid-configuration", openid),
        free("GET", "/{tenant}/.well-known/openid-configuration", openid),
        free("POST", "/{tenant}/oauth2/v2.0/token", token),
        free("POST", "/{tenant}/oauth2/token", token),
        free("GET", "/{tenant}/discovery/v2.0/keys", keys),
        free("GET", "/common/discovery/instance", unknown_authority),
        free("GET", "/metadata/endpoints", metadata),
        free("GET", "/metadata/aliases.json", aliases),
        arm("/subscriptions", subscriptions, "Microsoft.Resources/subscriptions/read"),
        arm("/subscriptions/{subscription}", subscription, "Microsoft.Resources/subscriptions/read"),
        arm("/tenants", tenants, "Microsoft.Resources/tenants/read"),
        arm("/subscriptions/{subscription}/locations", locations, "Microsoft.Resources/subscriptions/locations/read"),
    ]

"""Signing in: azure-identity against the lab's own authority, and what a bearer is worth."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import httpx
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientSecretCredential
from azure.mgmt.resource.resources import ResourceManagementClient

from azurelab.app import Lab


def _https(lab: Lab, token: str | None) -> httpx.Response:
    import ssl

    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    context = ssl.create_default_context(cafile=str(lab.certificates.bundle))
    with httpx.Client(verify=context) as client:
        return client.get(f"{lab.https_url}/subscriptions?api-version=2022-12-01", headers=headers)


def test_azure_identity_signs_in_over_https_and_the_token_opens_arm(lab: Lab, clients: Any) -> None:
    client = ResourceManagementClient(
        clients.credential(),
        lab.subscription,
        base_url=lab.https_url,
        credential_scopes=[lab.https_url + "/.default"],
        connection_verify=str(lab.certificates.bundle),
    )

    made = client.resource_groups.create_or_update("signed-in", {"location": "westeurope"})

    assert made.properties.provisioning_state == "Succeeded"
    assert [e.kind for e in lab.events()] == ["created"]


def test_a_wrong_secret_and_an_unknown_application_get_no_token(lab: Lab) -> None:
    def credential(client: str, secret: str) -> ClientSecretCredential:
        return ClientSecretCredential(
            lab.tenant, client, secret, authority=lab.https_url, disable_instance_discovery=True,
            connection_verify=str(lab.certificates.bundle),
        )  # fmt: skip

    with pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        credential(lab.client_id, "wrong").get_token(lab.https_url + "/.default")
    with pytest.raises(ClientAuthenticationError, match="AADSTS700016"):
        credential("11111111-1111-1111-1111-111111111111", "x").get_token(lab.https_url + "/.default")


def test_bearers_are_needed_forged_ones_refused_and_opaque_ones_taken_as_the_owner(lab: Lab) -> None:
    good = lab.tokens.issue(lab.tokens.owner, lab.https_url, "issuer")
    head, claims, signature = good.split(".")
    stolen = json.loads(base64.urlsafe_b64decode(claims + "=="))
    stolen["appid"] = "somebody-else"
    forged = base64.urlsafe_b64encode(json.dumps(stolen).encode()).rstrip(b"=").decode()
    expired = lab.tokens.issue(lab.tokens.owner, lab.https_url, "issuer", lifetime_s=-10)

    answers = {
        name: _https(lab, token)
        for name, token in {
            "none": None, "good": good, "forged": f"{head}.{forged}.{signature}", "expired": expired, "opaque": "static",  # noqa: E501
        }.items()
    }  # fmt: skip

    assert {n: a.status_code for n, a in answers.items()} == {
        "none": 401, "good": 200, "forged": 401, "expired": 401, "opaque": 200,
    }  # fmt: skip
    assert answers["none"].json()["error"]["code"] == "AuthenticationFailed"
    assert "authorization_uri" in answers["none"].headers["www-authenticate"]
    assert answers["expired"].json()["error"]["code"] == "ExpiredAuthenticationToken"
    assert answers["forged"].json()["error"]["code"] == "InvalidAuthenticationToken"


def test_tokens_live_by_real_time_whatever_the_labs_clock_says(lab: Lab) -> None:
    token = lab.tokens.issue(lab.tokens.owner, lab.https_url, "issuer")
    lab.clock.advance(10 * 86400)

    assert _https(lab, token).status_code == 200
    assert lab.clock.now() - time.time() > 9 * 86400


def test_a_second_application_has_a_role_of_its_own(lab: Lab) -> None:
    lab.applications.add("22222222-2222-2222-2222-222222222222", "33333333-3333-3333-3333-333333333333", "s")
    lab.roles.set("22222222-2222-2222-2222-222222222222", ["*/nothing"])
    credential = ClientSecretCredential(
        lab.tenant, "22222222-2222-2222-2222-222222222222", "s", authority=lab.https_url,
        disable_instance_discovery=True, connection_verify=str(lab.certificates.bundle),
    )  # fmt: skip

    refused = _https(lab, credential.get_token(lab.https_url + "/.default").token)

    assert refused.status_code == 403
    assert "22222222-2222-2222-2222-222222222222" in refused.json()["error"]["message"]


def test_cloud_metadata_is_an_object_for_one_version_and_an_array_for_others(lab: Lab, clients: Any) -> None:
    one = clients.http.get("/metadata/endpoints?api-version=2022-09-01").json()
    many = clients.http.get("/metadata/endpoints?api-version=2020-06-01").json()
    aliases = clients.http.get("/metadata/aliases.json").json()["outputs"]["aliases"]["value"]

    assert isinstance(many, list)
    assert one["name"] == many[0]["name"] == "azurelab"
    assert one["authentication"]["loginEndpoint"] == lab.https_url
    assert aliases["Linux"]["Debian11"]["offer"] == "debian-11"
    assert aliases["Linux"]["Ubuntu2204"]["publisher"] == "Canonical"


def test_openid_configuration_speaks_https_even_when_asked_over_http(lab: Lab, clients: Any) -> None:
    found = clients.http.get(f"/{lab.tenant}/v2.0/.well-known/openid-configuration").json()

    for name in ("token_endpoint", "authorization_endpoint", "issuer", "jwks_uri"):
        assert found[name].startswith(lab.https_url)

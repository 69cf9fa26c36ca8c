"""`cloud check` on connections that cannot work: each is told apart, with the way out that fits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stages import connection_of

from azurelab.app import Lab
from holdfast.clouds.azure.cloud import AzureCloud
from holdfast.clouds.azure.connection import AzureConnection
from holdfast.clouds.errors import EndpointUntrusted, SubscriptionMissing
from holdfast.core.clock import ManualClock, SystemClock

NOBODYS = "11111111-1111-1111-1111-111111111111"


def opened(lab: Lab, **other: Any) -> AzureCloud:
    """Its clock passes over the pauses between tries."""
    options = {**connection_of(lab).options(), **other}
    connection = AzureConnection.from_options(options, other.get("secret", lab.client_secret))
    return AzureCloud("lab", connection, ManualClock(SystemClock().now()), lambda write: None)


@pytest.fixture
def other_ca(tmp_path: Path) -> str:
    with Lab.start(tmp_path / "other") as other:
        return str(other.certificates.bundle)


def codes(cloud: AzureCloud) -> list[str]:
    try:
        return [finding.code for finding in cloud.check()]
    finally:
        cloud.close()


def test_certificate_that_another_ca_made_is_told_as_such(lab: Lab, other_ca: str) -> None:
    cloud = opened(lab, ca_file=other_ca)

    with pytest.raises(EndpointUntrusted) as refused:
        list(cloud.observe())

    assert "--ca FILE" in refused.value.advice
    assert codes(cloud) == ["ENDPOINT_UNTRUSTED"]


def test_endpoint_where_nothing_listens_is_unreachable(lab: Lab) -> None:
    assert codes(opened(lab, endpoint="https://127.0.0.1:9")) == ["ENDPOINT_UNREACHABLE"]


def test_wrong_secret_is_a_credential_finding(lab: Lab) -> None:
    assert codes(opened(lab, secret="wrong")) == ["CREDENTIAL"]


def test_unknown_subscription_is_told_as_such_by_every_call(lab: Lab) -> None:
    cloud = opened(lab, subscription=NOBODYS)

    with pytest.raises(SubscriptionMissing) as refused:
        list(cloud.observe())

    assert NOBODYS in refused.value.message
    assert codes(cloud) == ["SUBSCRIPTION_UNREADABLE"]

"""A running lab in this process, and clients of it: raw HTTP and the Azure SDK's own classes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest
from azure.core.credentials import AzureKeyCredential
from azure.core.pipeline.policies import AzureKeyCredentialPolicy
from azure.identity import ClientSecretCredential
from azure.mgmt.compute import ComputeManagementClient
from azure.mgmt.network import NetworkManagementClient
from azure.mgmt.resource.resources import ResourceManagementClient

from azurelab.app import Lab


@dataclass
class Clients:
    """`http` sends a bearer and takes paths; the SDK clients speak plain HTTP with a key policy, as tests do best."""

    lab: Lab
    http: httpx.Client

    def _sdk(self, kind: Callable[..., Any]) -> Any:
        policy = AzureKeyCredentialPolicy(AzureKeyCredential("test"), "Authorization", prefix="Bearer")
        return kind(
            object(),
            self.lab.subscription,
            base_url=self.lab.http_url,
            authentication_policy=policy,
            polling_interval=0,
        )

    @cached_property
    def network(self) -> NetworkManagementClient:
        return self._sdk(NetworkManagementClient)

    @cached_property
    def resources(self) -> ResourceManagementClient:
        return self._sdk(ResourceManagementClient)

    @cached_property
    def compute(self) -> ComputeManagementClient:
        return self._sdk(ComputeManagementClient)

    @property
    def sub(self) -> str:
        return f"/subscriptions/{self.lab.subscription}"

    def credential(self) -> ClientSecretCredential:
        """The real identity code path, over HTTPS."""
        return ClientSecretCredential(
            self.lab.tenant,
            self.lab.client_id,
            self.lab.client_secret,
            authority=self.lab.https_url,
            disable_instance_discovery=True,
            connection_verify=str(self.lab.certificates.bundle),
        )

    def call(
        self, method: str, path: str, body: Any = None, version: str = "2024-05-01", **headers: str
    ) -> httpx.Response:
        mark = "&" if "?" in path else "?"
        names = {k.replace("_", "-"): v for k, v in headers.items()}
        return self.http.request(method, f"{path}{mark}api-version={version}", json=body, headers=names)

    def done(self, response: httpx.Response) -> httpx.Response:
        """The last poll of what a call started."""
        url = response.headers.get("azure-asyncoperation") or response.headers["location"]
        return self.http.get(url)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with Lab.start(tmp_path / "lab") as running:
        yield running
        assert running.bugs == []
        assert running.timers.problems == []


@pytest.fixture
def clients(lab: Lab) -> Iterator[Clients]:
    with httpx.Client(base_url=lab.http_url, headers={"Authorization": "Bearer test"}, timeout=30) as http:
        yield Clients(lab, http)


@pytest.fixture
def group(lab: Lab) -> str:
    """The id of a resource group `rg` in westeurope."""
    return lab.group("rg")

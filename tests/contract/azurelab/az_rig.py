"""The real azure-cli on a lab of its own: its configuration folder, written by hand, and a way to call it."""

from __future__ import annotations

import configparser
import json
import os
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from azurelab.app import Lab

AZ = Path(__file__).parents[3] / ".cache" / "azure-cli" / "bin" / "az"
Az = Callable[..., Any]


def configure(lab: Lab, folder: Path) -> dict[str, str]:
    """The configuration folder and the environment that az needs."""
    folder.mkdir()
    base = lab.https_url.replace("127.0.0.1", "localhost")
    cloud = configparser.ConfigParser()
    cloud["azurelab"] = {
        "endpoint_resource_manager": base,
        "endpoint_management": base + "/",
        "endpoint_active_directory": base,
        "endpoint_active_directory_resource_id": base + "/",
        "endpoint_active_directory_graph_resource_id": base + "/",
        "endpoint_microsoft_graph_resource_id": base + "/",
        "endpoint_vm_image_alias_doc": base + "/metadata/aliases.json",
        "suffix_storage_endpoint": "storage.azurelab",
        "subscription": lab.subscription,
    }
    with (folder / "clouds.config").open("w") as file:
        cloud.write(file)
    settings = configparser.ConfigParser()
    settings["cloud"] = {"name": "azurelab"}
    settings["core"] = {"instance_discovery": "false", "collect_telemetry": "false", "encrypt_token_cache": "false"}
    with (folder / "config").open("w") as file:
        settings.write(file)
    subscription = {
        "id": lab.subscription,
        "name": "lab",
        "state": "Enabled",
        "user": {"name": lab.client_id, "type": "servicePrincipal"},
        "isDefault": True,
        "tenantId": lab.tenant,
        "environmentName": "azurelab",
        "homeTenantId": lab.tenant,
        "managedByTenants": [],
    }
    profile = {"installationId": str(uuid.uuid4()), "subscriptions": [subscription]}
    (folder / "azureProfile.json").write_text(json.dumps(profile))
    principal = {"client_id": lab.client_id, "tenant": lab.tenant, "client_secret": lab.client_secret}
    (folder / "service_principal_entries.json").write_text(json.dumps([principal]))
    return {
        **{k: v for k, v in os.environ.items() if not k.startswith(("AZURE_", "PYTHON", "ARM_"))},
        "AZURE_CONFIG_DIR": str(folder),
        "REQUESTS_CA_BUNDLE": str(lab.certificates.bundle),
        "AZURE_CORE_INSTANCE_DISCOVERY": "false",
        "AZURE_CORE_COLLECT_TELEMETRY": "false",
        "AZURE_CORE_SURVEY_MESSAGE": "false",
        "AZURE_CORE_ONLY_SHOW_ERRORS": "true",
        "AZURE_CORE_DISPLAY_REGION_IDENTIFIED": "false",
        "AZURE_CORE_NO_COLOR": "true",
    }


def az_labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lab, Az]]:
    """For a fixture: the lab, and `az(words…, refused=False)`, which gives az's JSON, or its stderr where refused."""
    if not AZ.exists():
        pytest.fail(f"{AZ} is missing: run scripts/azure_cli.sh")
    folder = tmp_path_factory.mktemp("az")
    with Lab.start(folder / "lab") as lab:
        environment = configure(lab, folder / "config")

        def az(*words: str, refused: bool = False) -> Any:
            command = [str(AZ), *words, "--output", "json"]
            done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=180, check=False)
            if refused:
                assert done.returncode != 0, done.stdout
                return done.stderr
            assert done.returncode == 0, f"az {' '.join(words)}\n{done.stderr}\n{lab.bugs}"
            return json.loads(done.stdout) if done.stdout.strip() else None

        yield lab, az
        assert lab.bugs == []

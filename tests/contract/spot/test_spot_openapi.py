"""Our answers against Spot's own OpenAPI description, where it is at hand."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from unit.api.api_rig import ApiRig, api_rigs

N = "/azure/compute/statefulNode"
SHARED = Path(os.environ.get("HOLDFAST_SHARED", Path(__file__).parents[3].parent / "shared"))
CONTRACT = SHARED / "contracts" / "spot" / "openapi.json"

pytestmark = pytest.mark.skipif(not CONTRACT.exists(), reason=f"Spot's OpenAPI description is not at {CONTRACT}")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ApiRig]:
    yield from api_rigs(tmp_path)


@pytest.fixture(scope="module")
def contract() -> Any:
    from openapi_core import Config, OpenAPI

    told = json.loads(CONTRACT.read_text())
    told["servers"] = [{"url": "http://testserver"}]
    # Required of a create. An imported node has neither: its image is locked because the OS disk is persisted, and so
    # is its network where it is kept (spot-stateful-node-api.md section 4, rules 2 and 3).
    _not_required(told["components"]["schemas"], {"image", "network"})
    return OpenAPI.from_dict(told, config=Config(spec_validator_cls=None))


def _not_required(schema: Any, names: set[str]) -> None:
    if isinstance(schema, list):
        for inner in schema:
            _not_required(inner, names)
    elif isinstance(schema, dict):
        if isinstance(schema.get("required"), list):
            schema["required"] = [name for name in schema["required"] if name not in names]
        for inner in schema.values():
            _not_required(inner, names)


def conforms(contract: Any, response: Any) -> None:
    from openapi_core.testing import MockRequest, MockResponse

    request = response.request
    asked = MockRequest(
        "http://testserver",
        request.method.lower(),
        request.url.path,
        args={"accountId": "act-12345678"},
        headers={"Authorization": "Bearer x"},
    )
    told = MockResponse(response.content, status_code=response.status_code, content_type="application/json")
    contract.validate_response(asked, told)


@pytest.mark.parametrize("ended", [False, True], ids=["running", "imported"])
def test_every_answer_has_the_form_that_spot_describes(rig: ApiRig, contract: Any, ended: bool) -> None:
    rig.cloud.add_machine()
    body = {"statefulNodeImport": {"originalVmName": "db-1", "resourceGroupName": "rg-1"}}
    configuration = rig.client.get(f"{N}/resourceGroup/rg-1/virtualMachine/db-1/importConfiguration")
    begun = rig.client.post(f"{N}/import", json=body)
    item = begun.json()["response"]["items"][0]
    if ended:
        (shown,) = rig.client.get("/v1/imports").json()
        rig.run(shown["operation"])

    conforms(contract, configuration)
    conforms(contract, begun)
    for path in ("", "/status", f"/{item['node']['id']}", f"/{item['node']['id']}/status",
                 f"/import/{item['statefulImportId']}/status"):  # fmt: skip
        answer = rig.client.get(N + path)
        assert answer.status_code == 200
        conforms(contract, answer)


def test_spots_own_example_of_an_import_is_understood(rig: ApiRig) -> None:
    """Field by field: what the example says is either acted on or refused by name, never dropped."""
    rig.cloud.add_machine()
    example = {
        "statefulNodeImport": {
            "originalVmName": "db-1",
            "resourceGroupName": "rg-1",
            "drainingTimeout": 120,
            "resourcesRetentionTime": 96,
            "node": {
                "name": "stateful-node",
                "region": "westeurope",
                "resourceGroupName": "rg-1",
                "compute": {
                    "os": "Linux",
                    "vmSizes": {"odSizes": ["standard_d2s_v5"], "spotSizes": ["standard_d2s_v5"]},
                    "launchSpecification": {"tags": [{"tagKey": "Creator", "tagValue": "me"}], "vmName": "db-1-spot"},
                },
                "persistence": {
                    "shouldPersistOsDisk": True,
                    "osDiskPersistenceMode": "reattach",
                    "shouldPersistDataDisks": True,
                    "dataDisksPersistenceMode": "reattach",
                    "shouldPersistNetwork": False,
                },
            },
        }
    }

    answer = rig.client.post(f"{N}/import", json=example)

    assert answer.status_code == 200, answer.text
    (shown,) = rig.client.get("/v1/imports").json()
    rig.run(shown["operation"])
    assert rig.shown(shown["id"])["successor"]["name"] == "db-1-spot"

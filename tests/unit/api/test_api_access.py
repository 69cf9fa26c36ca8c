from __future__ import annotations

import json

import pytest

from holdfast.store.tokens import digest_of
from unit.api.api_rig import ApiRig

MUTATIONS = [
    ("POST", "/v1/clouds", {"name": "x", "options": {"subscription": "s"}}),
    ("DELETE", "/v1/clouds/lab", None),
    ("POST", "/v1/imports", {"machine": "rg-1/db-1"}),
    ("POST", "/v1/imports/sin-1/cancel", None),
    ("POST", "/v1/imports/sin-1/undo", {}),
    ("POST", "/v1/imports/sin-1/finish", {"confirmed": True}),
    ("POST", "/v1/imports/sin-1/extend", {"by_s": 1}),
    ("POST", "/v1/operations/op-1/cancel", None),
    ("POST", "/v1/operations/op-1/retry", None),
    ("POST", "/v1/tokens", {"name": "x"}),
    ("DELETE", "/v1/tokens/x", None),
    ("GET", "/v1/audit", None),
]


def test_call_without_a_token_is_answered_401_with_the_way_to_one(rig: ApiRig) -> None:
    answer = rig.as_(None).get("/v1/imports")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["code"] == "token.rejected"
    assert "holdfast token create" in answer.json()["remedy"]


def test_unknown_token_opens_nothing(rig: ApiRig) -> None:
    assert rig.as_("hft_made-up").get("/v1/imports").status_code == 401


@pytest.mark.parametrize(("method", "path", "body"), MUTATIONS)
def test_viewer_may_change_nothing(rig: ApiRig, method: str, path: str, body: object) -> None:
    viewer = rig.token("eyes", "viewer")

    answer = viewer.request(method, path, json=body)

    assert (answer.status_code, answer.json()["code"]) == (403, "token.not_allowed")
    assert answer.json()["exit_code"] == 4


def test_operator_imports_but_makes_no_tokens(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    operator = rig.token("hands", "operator")

    assert operator.post("/v1/imports", json={"machine": "rg-1/db-1"}).status_code == 201
    assert operator.post("/v1/tokens", json={"name": "more"}).status_code == 403


def test_revoked_token_opens_nothing_from_then_on(rig: ApiRig) -> None:
    viewer = rig.token("eyes", "viewer")
    assert viewer.get("/v1/imports").status_code == 200

    rig.client.delete("/v1/tokens/eyes")

    assert viewer.get("/v1/imports").status_code == 401
    assert rig.client.get("/v1/tokens").json()[0]["revoked_at"] is not None


def test_token_is_stored_as_a_digest_and_shown_once(rig: ApiRig) -> None:
    text = rig.client.post("/v1/tokens", json={"name": "ci", "role": "operator"}).json()["token"]

    stored = (rig.folder / "home.db").read_bytes() + (rig.folder / "home.db-wal").read_bytes()
    assert text.encode() not in stored
    assert digest_of(text).encode() in stored
    assert text not in rig.client.get("/v1/tokens").text
    assert text not in rig.client.get("/v1/audit").text


def test_second_live_token_of_a_name_is_refused(rig: ApiRig) -> None:
    rig.token("ci", "viewer")

    assert rig.client.post("/v1/tokens", json={"name": "ci"}).json()["code"] == "conflict"


def test_token_limited_to_other_clouds_sees_nothing_of_this_one(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()
    stranger = rig.token("stranger", "admin", ["elsewhere"])

    assert stranger.get("/v1/clouds").json() == []
    assert stranger.get("/v1/imports").json() == []
    assert stranger.get("/v1/nodes").json() == []
    assert stranger.get("/v1/operations").json() == []
    for path in (f"/v1/imports/{imported['id']}", f"/v1/nodes/{imported['node_id']}", "/v1/machines", "/v1/tokens",
                 f"/v1/operations/{imported['operation']}"):  # fmt: skip
        assert stranger.get(path).status_code == 403, path
    assert stranger.post("/v1/tokens", json={"name": "wider"}).status_code == 403
    spot = stranger.get(f"/azure/compute/statefulNode/{imported['node_id']}")
    assert spot.json()["response"]["errors"][0]["code"] == "GROUP_DOESNT_EXIST"


def test_every_mutation_leaves_a_line_in_the_audit_log(rig: ApiRig) -> None:
    rig.cloud.add_machine()
    operator = rig.token("hands", "operator")
    begun = operator.post(
        "/v1/imports", json={"machine": "rg-1/db-1", "options": {"prove_for_s": 5, "prove_timeout_s": 60}}
    ).json()
    rig.run(begun["operation"])
    operator.post(f"/v1/imports/{begun['id']}/extend", json={"by_s": 3600})
    operator.post(f"/v1/imports/{begun['id']}/undo", json={})

    lines = rig.client.get("/v1/audit").json()

    assert [(line["actor"], line["action"]) for line in lines if line["actor"] != "holdfast"] == [
        ("local", "token.create"),
        ("hands", "import.start"),
        ("hands", "import.extend"),
        ("hands", "import.undoing"),
    ]


def test_secrets_of_a_cloud_are_never_answered(rig: ApiRig) -> None:
    options = {"subscription": "s", "tenant": "t", "client_id": "c", "endpoint": "https://127.0.0.1:9"}
    body = {"name": "two", "options": options, "secret": "very-secret-words"}

    answers = [rig.client.post("/v1/clouds", json=body), rig.client.get("/v1/clouds"), rig.client.get("/v1/audit")]

    assert answers[0].status_code == 201
    assert answers[0].json()["has_secret"] is True
    assert all("very-secret-words" not in answer.text for answer in answers)


def test_malformed_body_is_refused_without_repeating_what_was_sent(rig: ApiRig) -> None:
    answer = rig.client.post("/v1/clouds", json={"name": 7, "secret": ["hidden-words"]})

    assert (answer.status_code, answer.json()["code"]) == (400, "input.invalid")
    assert "hidden-words" not in json.dumps(answer.json())


@pytest.mark.parametrize("name", ["local", "Holdfast", "", "with space"])
def test_name_that_would_lie_in_the_audit_log_is_refused(rig: ApiRig, name: str) -> None:
    assert rig.client.post("/v1/tokens", json={"name": name}).json()["field"] == "name"

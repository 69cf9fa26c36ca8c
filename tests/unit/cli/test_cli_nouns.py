from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.cli.main import NOUNS, main
from holdfast.clouds.protocols import Finding, Severity
from unit.api.api_rig import ApiRig
from unit.cli.cli_rig import Cli


@pytest.mark.parametrize("noun", NOUNS)
def test_every_noun_tells_its_verbs(noun: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([noun, "--help"]) == 0
    assert "Usage: " in capsys.readouterr().out


def test_version_and_help_say_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert (main(["--version"]), main(["--help"])) == (0, 0)
    out = capsys.readouterr().out
    assert out.startswith("holdfast 0.")
    assert all(f"\n  {noun} " in out for noun in NOUNS)


def test_unknown_noun_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["machine"]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("import", "plan"), "Missing argument"),
        (("import", "bogus"), "bogus"),
        (("vm", "list", "--bogus"), "--bogus"),
        (("import", "plan", "rg-1/db-1", "--draining-timeout", "soon"), "--draining-timeout"),
    ],
)
def test_wrong_usage_with_json_is_one_document_like_every_error(cli: Cli, words: tuple[str, ...], told: str) -> None:
    said = cli(*words, "--json")

    assert said.code == 2
    assert said.json["error"]["code"] == "usage"
    assert told in said.json["error"]["text"]
    assert f"holdfast {words[0]}" in said.json["error"]["remedy"]


def test_what_is_not_there_names_the_command_that_lists_what_is(cli: Cli) -> None:
    said = cli("import", "show", "sin-00000000", "--json")

    assert said.code == 3
    assert "holdfast import list" in said.json["error"]["remedy"]


def test_cloud_takes_its_credential_from_the_environment(cli: Cli, tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    ca.write_text("-----BEGIN CERTIFICATE-----\n")
    cli.env = {"AZURE_TENANT_ID": "t-1", "AZURE_CLIENT_ID": "c-1", "AZURE_CLIENT_SECRET": "hidden-words"}

    said = cli("cloud", "add", "azure", "two", "--subscription", "s", "--endpoint", "https://127.0.0.1:9",
               "--ca", str(ca), "--json")  # fmt: skip

    assert said.code == 0
    assert said.json["options"]["tenant"] == "t-1"
    assert said.json["options"]["ca_file"] == str(ca)
    assert said.json["has_secret"] is True
    assert "hidden-words" not in said.out + said.err


def test_credential_of_options_is_not_mixed_with_one_of_the_environment(cli: Cli) -> None:
    cli.env = {"AZURE_TENANT_ID": "t-1", "AZURE_CLIENT_ID": "c-1", "AZURE_CLIENT_SECRET": "hidden-words"}

    said = cli("cloud", "add", "azure", "two", "--subscription", "s", "--tenant", "t-2", "--json")

    assert said.json["options"].get("client_id") is None
    assert said.json["has_secret"] is False


def test_cloud_check_ends_with_4_when_something_is_missing(cli: Cli, rig: ApiRig) -> None:
    assert cli("cloud", "check", "--json").json == {"cloud": "lab", "ok": True, "findings": []}
    rig.cloud.findings = [Finding("PERMISSION_MISSING", Severity.REFUSAL, "It may not.", "Let it.")]

    said = cli("cloud", "check")

    assert said.code == 4
    assert "refused PERMISSION_MISSING: It may not." in said.out


def test_machines_can_be_listed_and_shown(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.cloud.generalized.add(rig.cloud.add_machine("gold", "rg-2").lower())

    everything = cli("vm", "list")
    group = cli("vm", "list", "--resource-group", "rg-2", "--json")

    assert [line.split()[0] for line in everything.out.splitlines()] == ["VM", "rg-1/db-1", "rg-2/gold"]
    assert "no: GENERALIZED" in everything.out
    assert [one["name"] for one in group.json] == ["gold"]
    assert cli("vm", "show", "rg-1/db-1", "--json").json["importable"] is True
    assert cli("vm", "show", "rg-1/none").code == 3


def test_nodes_and_operations_can_be_listed_and_shown(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()

    assert imported["node_id"] in cli("node", "list").out
    assert cli("node", "show", imported["node_id"], "--json").json["state"] == "active"
    assert [one["kind"] for one in cli("operation", "list", "--json").json] == ["import"]
    assert "Stop the original" in cli("operation", "show", imported["operation"]).out
    assert cli("operation", "follow", imported["operation"], "--json").json["state"] == "done"
    assert cli("operation", "retry", imported["operation"], "--json").json["error"]["code"] == "operation.not_stuck"
    assert cli("operation", "cancel", imported["operation"], "--json").code == 4


def test_tokens_are_made_listed_and_revoked(cli: Cli) -> None:
    made = cli("token", "create", "ci", "--role", "admin", "--json")

    assert made.json["token"].startswith("hft_")
    assert [one["name"] for one in cli("token", "list", "--json").json] == ["ci"]
    assert cli("token", "revoke", "ci").code == 0
    assert "revoked" in cli("token", "list").out
    assert cli("token", "create", "x", "--role", "king").code == 2

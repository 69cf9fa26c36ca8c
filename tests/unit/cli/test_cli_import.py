from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer

from holdfast.clouds.errors import CloudRefused
from holdfast.clouds.protocols import Power
from unit.api.api_rig import ApiRig
from unit.cli.cli_rig import Cli

FAST = ("--prove-for", "5", "--prove-timeout", "60")


def test_plan_prints_one_json_object_and_changes_nothing(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()

    said = cli("import", "plan", "rg-1/db-1", "--json")

    assert (said.code, said.err) == (0, "")
    assert said.json["vm_name"] == "db-1"
    assert rig.cloud.events == []


def test_plan_of_a_machine_that_is_refused_ends_with_4_and_shows_why(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.generalized.add(rig.cloud.add_machine().lower())

    shown, told = cli("import", "plan", "rg-1/db-1"), cli("import", "plan", "rg-1/db-1", "--json")

    assert (shown.code, told.code) == (4, 4)
    assert "refused GENERALIZED" in shown.out
    assert [finding["code"] for finding in told.json["findings"]] == ["GENERALIZED"]


def test_written_plan_is_run_exactly(cli: Cli, rig: ApiRig, tmp_path: Path) -> None:
    rig.cloud.add_machine()
    file = tmp_path / "plan.json"
    cli("import", "plan", "rg-1/db-1", *FAST, "--out", str(file))

    said = cli("import", "start", "--plan", str(file), "--wait", "--json")

    assert (said.code, said.json["state"]) == (0, "imported")
    assert said.json["plan_digest"] == json.loads(file.read_text())["digest"]
    assert file.stat().st_mode & 0o077 == 0


def test_stale_plan_is_refused_with_4_and_the_difference(cli: Cli, rig: ApiRig, tmp_path: Path) -> None:
    machine = rig.cloud.add_machine()
    file = tmp_path / "plan.json"
    cli("import", "plan", "rg-1/db-1", "--out", str(file))
    rig.cloud.change(machine, "properties.hardwareProfile.vmSize", "Standard_D4s_v5")

    said = cli("import", "start", "--plan", str(file), "--json")

    assert (said.code, said.json["error"]["code"]) == (4, "plan.stale")
    assert said.json["error"]["details"]["differences"]
    assert rig.cloud.events == []


def test_edited_spec_part_of_a_plan_is_a_spec(cli: Cli, rig: ApiRig, tmp_path: Path) -> None:
    rig.cloud.add_machine()
    file = tmp_path / "plan.json"
    cli("import", "plan", "rg-1/db-1", "--out", str(file))
    plan = json.loads(file.read_text())
    plan["spec"]["name"] = "renamed"
    spec = tmp_path / "spec.json"

    for told in (plan, plan["spec"], {"statefulNode": plan["spec"]}):
        spec.write_text(json.dumps(told))
        said = cli("import", "plan", "rg-1/db-1", "--spec", str(spec), "--json")
        assert (said.code, said.json["node"]["name"]) == (0, "renamed")


@pytest.mark.parametrize("network", ["new", "keep"])
@pytest.mark.parametrize("disks", ["snapshot", "reattach"])
def test_import_is_waited_for_and_undone(cli: Cli, rig: ApiRig, network: str, disks: str) -> None:
    machine = rig.cloud.add_machine()

    begun = cli("import", "start", "rg-1/db-1", *FAST, "--network", network, "--disks", disks, "--wait", "--json")
    undone = cli("import", "undo", begun.json["id"], "--wait", "--json")

    assert (begun.code, begun.json["state"]) == (0, "imported")
    assert (undone.code, undone.json["state"]) == (0, "undone")
    assert rig.cloud.power_of(machine)[0] is Power.RUNNING


def test_start_without_waiting_says_how_to_watch(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()

    said = cli("import", "start", "rg-1/db-1")

    assert said.code == 0
    assert "What happens, in order" in said.out
    assert "holdfast import follow sin-" in said.out


def test_list_is_an_array_with_id_state_and_the_name_of_the_machine(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()
    assert cli("import", "list", "--json").json == []
    imported = rig.imported()

    (one,) = cli("import", "list", "--json").json

    assert (one["id"], one["state"], one["vm_name"]) == (imported["id"], "imported", "db-1")


def test_show_tells_what_is_retained_and_for_how_long_still(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()
    rig.clock.advance(24 * 3600)

    said = cli("import", "show", imported["id"])

    assert "kept for 3d more" in said.out
    assert "original/os-disk" in said.out
    assert f"holdfast import undo {imported['id']}" in said.out


def test_extend_takes_the_duration_either_way(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()
    imported = rig.imported()

    first = cli("import", "extend", imported["id"], "24h", "--json").json
    second = cli("import", "extend", imported["id"], "--by", "1d", "--json").json

    assert second["countdown_s"] - first["countdown_s"] == pytest.approx(24 * 3600, abs=5)
    assert cli("import", "extend", imported["id"]).code == 2
    assert cli("import", "extend", imported["id"], "48").code == 2


def test_finish_without_a_terminal_does_not_ask(cli: Cli, rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    imported = rig.imported()

    said = cli("import", "finish", imported["id"], "--wait", "--json")

    assert (said.code, said.json["state"]) == (0, "finished")
    assert rig.cloud.read(machine) is None


def test_cancel_gives_the_original_back(cli: Cli, rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    begun = rig.start()

    said = cli("import", "cancel", begun["id"], "--wait", "--json")

    assert (said.code, said.json["state"]) == (0, "cancelled")
    assert rig.cloud.power_of(machine)[0] is Power.RUNNING


def test_import_that_fails_ends_with_1_and_says_why(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()
    rig.cloud.failing_probes.add("tcp://:22")

    said = cli("import", "start", "rg-1/db-1", *FAST, "--probe", "tcp://:22", "--wait", "--json")

    assert (said.code, said.json["state"]) == (1, "failed")
    assert said.json["error"]["code"]


def test_start_of_a_refused_machine_ends_with_4_and_lists_every_refusal(cli: Cli, rig: ApiRig) -> None:
    machine = rig.cloud.add_machine()
    rig.cloud.generalized.add(machine.lower())
    rig.cloud.change(machine, "properties.virtualMachineScaleSet", {"id": "/x/vmss"})

    shown, told = cli("import", "start", "rg-1/db-1"), cli("import", "start", "rg-1/db-1", "--json")

    assert (shown.code, told.code, shown.out) == (4, 4, "")
    assert "GENERALIZED" in shown.err
    assert "SCALE_SET_MEMBER" in shown.err
    assert {one["code"] for one in told.json["error"]["details"]["refusals"]} == {"GENERALIZED", "SCALE_SET_MEMBER"}
    assert rig.cloud.events == []


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (("plan", "db-1"), 2, "machine"),
        (("plan", "rg-1/db-1", "--network", "sideways"), 2, "network"),
        (("plan", "rg-1/db-1", "--retention", "96"), 2, "retention"),
        (("plan", "rg-1/db-1", "--spec", "/no/such/file"), 2, "spec"),
        (("start",), 2, "machine"),
        (("start", "--plan", "/no/such/file"), 2, "plan"),
        (("plan", "rg-1/none"), 3, None),
        (("show", "sin-none"), 3, None),
    ],
)
def test_wrong_usage_has_its_exit_code_and_field(
    cli: Cli, rig: ApiRig, words: tuple[str, ...], code: int, field: str | None
) -> None:
    rig.cloud.add_machine()

    said = cli("import", *words, "--json")

    assert said.code == code
    assert said.json["error"]["field"] == field
    assert rig.cloud.events == []


def test_plan_for_another_machine_is_refused(cli: Cli, rig: ApiRig, tmp_path: Path) -> None:
    rig.cloud.add_machine()
    file = tmp_path / "plan.json"
    cli("import", "plan", "rg-1/db-1", "--out", str(file))

    assert cli("import", "start", "rg-1/db-2", "--plan", str(file)).code == 2


@pytest.mark.parametrize(("answer", "code", "imports"), [(True, 0, 1), (False, 4, 0)])
def test_person_at_a_terminal_is_shown_the_plan_and_asked(
    cli: Cli, rig: ApiRig, monkeypatch: pytest.MonkeyPatch, answer: bool, code: int, imports: int
) -> None:
    rig.cloud.add_machine()
    asked: list[str] = []
    monkeypatch.setattr(typer, "confirm", lambda question: asked.append(question) or answer)
    cli.asks = True

    said = cli("import", "start", "rg-1/db-1")

    assert (said.code, len(asked)) == (code, 1)
    assert "What happens, in order" in said.out
    assert len(rig.client.get("/v1/imports").json()) == imports


def test_yes_asks_nobody(cli: Cli, rig: ApiRig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.cloud.add_machine()
    monkeypatch.setattr(typer, "confirm", lambda question: pytest.fail("asked"))
    cli.asks = True

    assert cli("import", "start", "rg-1/db-1", "--yes").code == 0


def test_ctrl_c_while_following_detaches_and_says_how_to_rejoin(
    cli: Cli, rig: ApiRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.cloud.add_machine()
    begun = rig.start()

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rig, "run", interrupted)
    said = cli("import", "follow", begun["id"])

    assert said.code == 0
    assert f"holdfast import follow {begun['id']}" in said.err
    assert rig.shown(begun["id"])["state"] == "running"


def test_lines_of_what_happens_go_beside_the_answer(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()

    said = cli("import", "start", "rg-1/db-1", *FAST, "--wait")

    assert "✓ Stop the original" in said.err
    assert "Stop the original" not in said.out.partition("What happens")[0]


def test_stuck_import_says_what_can_be_done_and_goes_on_when_told(cli: Cli, rig: ApiRig) -> None:
    rig.cloud.add_machine()
    begun = rig.start()
    rig.cloud.fail("delete", CloudRefused(cloud_code="Nope", message="no", ref="x"), times=1000)
    rig.cloud.failing_probes.add("tcp://:22")
    rig.cloud.fail(
        "ensure", CloudRefused(cloud_code="Nope", message="no", ref="x"), about="/virtualMachines/", times=50
    )
    rig.run(begun["operation"])

    stuck = cli("import", "show", begun["id"])
    rig.cloud.faults.clear()
    gone_on = cli("import", "retry", begun["id"], "--wait", "--json")

    assert f"holdfast import retry {begun['id']}" in stuck.out
    assert (gone_on.code, gone_on.json["state"]) == (1, "failed")
    assert rig.cloud.violations == []

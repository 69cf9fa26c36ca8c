"""`azurelab` as a program: up, down, status, env, reset; what others drive."""

from __future__ import annotations

import json
import shlex
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from azurelab import processes
from azurelab.cli import main


def _run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "azurelab.cli", *words], capture_output=True, text=True, timeout=90, check=False
    )


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    _run("down", "--home", str(tmp_path / "home"))


def test_up_detached_returns_when_both_ports_answer_and_env_opens_them(home: Path) -> None:
    up = _run("up", "--detach", "--home", str(home))
    twice = _run("up", "--detach", "--home", str(home))
    env = _run("env", "--home", str(home))
    values = {}
    for line in env.stdout.splitlines():
        words = shlex.split(line)
        assert words[0] == "export"
        assert len(words) == 2
        name, _, value = words[1].partition("=")
        values[name] = value
    context = ssl.create_default_context(cafile=values["REQUESTS_CA_BUNDLE"])
    with httpx.Client(verify=context, headers={"Authorization": "Bearer t"}) as client:
        secure = client.get(f"{values['AZURELAB_URL']}/subscriptions?api-version=2022-12-01").json()
        plain = client.get(f"{values['AZURELAB_HTTP_URL']}/azurelab/status").json()

    assert (up.returncode, twice.returncode, env.returncode) == (0, 0, 0)
    assert {
        "AZURE_SUBSCRIPTION_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_ID", "AZURE_CLIENT_SECRET", "AZURE_AUTHORITY_HOST",
        "REQUESTS_CA_BUNDLE", "AZURELAB_URL", "AZURELAB_HTTP_URL",
    } <= set(values)  # fmt: skip
    assert values["AZURE_AUTHORITY_HOST"] == values["AZURELAB_URL"]
    assert secure["value"][0]["subscriptionId"] == values["AZURE_SUBSCRIPTION_ID"]
    assert plain["home"] == str(home)
    assert len(Path(values["REQUESTS_CA_BUNDLE"]).read_text().split("BEGIN CERTIFICATE")) > 20, "the system's CAs, too"


def test_down_ends_every_process_and_ports_and_ids_stay_the_same(home: Path) -> None:
    _run("up", "--detach", "--home", str(home))
    before = _run("env", "--home", str(home)).stdout
    down = _run("down", "--home", str(home))
    status = _run("status", "--home", str(home), "--json")
    left = processes.of_home(home)
    offline = _run("env", "--home", str(home)).stdout
    _run("up", "--detach", "--home", str(home))
    after = _run("env", "--home", str(home)).stdout

    assert down.returncode == 0
    assert (status.returncode, json.loads(status.stdout)["running"]) == (3, False)
    assert left == []
    assert before == offline == after


def test_reset_empties_the_lab_and_keeps_who_it_is(home: Path) -> None:
    _run("up", "--detach", "--home", str(home))
    before = _run("env", "--home", str(home)).stdout
    record = processes.read(home)
    assert record is not None
    subscription = before.split("AZURE_SUBSCRIPTION_ID=")[1].split()[0]
    group = f"{record.http_url}/subscriptions/{subscription}/resourcegroups/g?api-version=2024-11-01"
    headers = {"Authorization": "Bearer t"}
    made = httpx.put(group, json={"location": "westeurope"}, headers=headers)

    reset = _run("reset", "--home", str(home))
    gone = httpx.get(group, headers=headers)

    assert (made.status_code, reset.returncode, gone.status_code) == (201, 0, 404)
    assert _run("env", "--home", str(home)).stdout == before


def test_env_of_a_home_without_a_lab_says_how_to_start_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["env", "--home", str(tmp_path / "none")])

    shown = capsys.readouterr()
    assert code == 3
    assert shown.out == ""
    assert "azurelab up --home" in shown.err


def test_a_pid_that_means_another_process_by_now_is_not_taken_for_the_lab(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        ticks = processes.start_time(child.pid)
        assert ticks is not None
        processes.write(tmp_path, processes.Record(child.pid, ticks - 1, "https://x", "http://x", "none"))
        stale = processes.read(tmp_path)
        main(["down", "--home", str(tmp_path)])
        alive = child.poll() is None
    finally:
        child.communicate(b"\n")

    assert stale is None
    assert alive

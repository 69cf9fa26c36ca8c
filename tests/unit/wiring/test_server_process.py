"""The server as a process: started by whoever needs it, once; ended in order; taken over after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.wiring import ServerFile

HOLDFAST = [sys.executable, "-m", "holdfast.cli.main"]


class Home:
    """A home of its own for real processes; every server that it ever had is ended with it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("HOLDFAST_", "AZURE_"))}
        self.env = {**clean, "HOLDFAST_HOME": str(folder)}
        self.pids: set[int] = set()

    def run(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*HOLDFAST, *words], env={**self.env, **env}, capture_output=True, text=True, timeout=110, check=False
        )
        self.note_server()
        return done

    def begin(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*HOLDFAST, *words], env=self.env, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def note_server(self) -> ServerFile | None:
        found = ServerFile.read(self.folder)
        if found is not None:
            self.pids.add(found.pid)
        return found

    def server(self) -> ServerFile:
        found = self.note_server()
        assert found is not None
        return found

    def end(self) -> None:
        self.note_server()
        for pid in self.pids:
            _kill(pid, signal.SIGKILL)


def _kill(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def gone(pid: int, within_s: float = 30.0) -> bool:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    made = Home(tmp_path / "home")
    yield made
    made.end()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, subprocess.CompletedProcess[str]]]:
    """A home whose server was started by its first command, and what that said. For tests that leave it running."""
    made = Home(tmp_path_factory.mktemp("served") / "home")
    yield made, made.run("cloud", "list", "--json")
    made.end()


Served = tuple[Home, subprocess.CompletedProcess[str]]


def test_cli_starts_one_server_says_so_and_every_later_one_uses_it(served: Served) -> None:
    home, first = served
    second = home.run("cloud", "list", "--json")

    assert (first.returncode, json.loads(first.stdout)) == (0, [])
    assert "started one in the background" in first.stderr
    assert (second.returncode, second.stderr) == (0, "")


@pytest.mark.slow
def test_two_clis_at_once_start_one_server(home: Home) -> None:
    both = [home.begin("cloud", "list", "--json") for _ in range(2)]
    said = [one.communicate(timeout=110) for one in both]
    home.note_server()

    assert [one.returncode for one in both] == [0, 0]
    assert sum("started one" in err for _, err in said) == 1


@pytest.mark.slow
def test_sigterm_ends_the_server_in_order_and_the_next_cli_starts_another(home: Home) -> None:
    home.run("cloud", "list")
    before = home.server()

    os.kill(before.pid, signal.SIGTERM)

    assert gone(before.pid)
    assert ServerFile.read(home.folder) is None
    assert home.run("cloud", "list").returncode == 0
    assert home.server().pid != before.pid


@pytest.mark.slow
def test_killed_server_is_replaced_by_the_next_cli(home: Home) -> None:
    home.run("cloud", "list")
    before = home.server()

    os.kill(before.pid, signal.SIGKILL)
    assert gone(before.pid)
    after = home.run("cloud", "list", "--json")

    assert (after.returncode, json.loads(after.stdout)) == (0, [])
    assert home.server().pid != before.pid


def test_token_is_made_without_a_token_beside_the_running_server_and_opens_it(served: Served) -> None:
    home, _ = served

    made = home.run("token", "create", "ci", "--role", "admin", "--json")
    token = json.loads(made.stdout)["token"]
    elsewhere = home.run("token", "list", "--json", HOLDFAST_URL=home.server().url, HOLDFAST_TOKEN=token)

    assert (made.returncode, made.stderr) == (0, "")
    assert [one["name"] for one in json.loads(elsewhere.stdout)] == ["ci"]


def test_url_that_nobody_answers_is_an_error_and_starts_nothing(home: Home) -> None:
    said = home.run("cloud", "list", "--json", HOLDFAST_URL="http://127.0.0.1:9")

    assert (said.returncode, json.loads(said.stdout)["error"]["code"]) == (2, "token.needed")
    assert ServerFile.read(home.folder) is None


def test_second_server_on_a_home_is_refused(served: Served) -> None:
    home, _ = served

    said = home.run("server", "--port", "0")

    assert said.returncode == 4
    assert "runs on" in said.stderr


def test_server_in_the_foreground_answers_where_it_was_told_to(home: Home) -> None:
    process = home.begin("server", "--host", "127.0.0.1", "--port", "0")
    deadline = time.monotonic() + 60
    while ServerFile.read(home.folder) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    found = home.server()

    health: dict[str, Any] = httpx.get(f"{found.url}/health", trust_env=False).json()
    process.send_signal(signal.SIGTERM)

    assert (found.pid, health["status"]) == (process.pid, "ok")
    assert process.wait(timeout=60) == 0
    process.communicate()


def test_home_is_for_its_owner_only(served: Served) -> None:
    home, _ = served

    modes = {path.name: path.stat().st_mode & 0o077 for path in home.folder.iterdir()}

    assert home.folder.stat().st_mode & 0o077 == 0
    assert {name: modes[name] for name in ("key", "local-token", "server.json")} == {
        "key": 0,
        "local-token": 0,
        "server.json": 0,
    }


def test_version_and_help_import_nothing_heavy() -> None:
    """0.2 s on any machine means: neither typer, rich, httpx nor the database."""
    heavy = {"typer", "click", "rich", "httpx", "sqlalchemy", "pydantic", "fastapi", "azure", "dbos", "cryptography"}
    code = (
        "import sys; from holdfast.cli.main import main; main(['--version']); main(['--help']);"
        f"print(sorted(set(sys.modules) & {heavy!r}))"
    )

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert said.stdout.splitlines()[-1] == "[]"

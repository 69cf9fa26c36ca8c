"""Both programs, driven from outside as a user drives them: commands, and a server that can be killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

__all__ = ["DemoFailed", "Holdfast", "Lab", "wait_until"]

BIN = Path(sys.executable).parent


class DemoFailed(Exception):
    """Something is not as it must be; the text says what."""


def wait_until(what: str, bound_s: float, look: Any) -> Any:
    """What `look()` returns once that is not None. Raises DemoFailed after the bound."""
    ends = time.monotonic() + bound_s
    while time.monotonic() < ends:
        if (found := look()) is not None:
            return found
        time.sleep(0.2)
    raise DemoFailed(f"{what} did not happen within {bound_s:.0f} s")


class Lab:
    """azurelab on a home of its own; guests: `qemu` (real ones) or `none`."""

    def __init__(self, home: Path, guests: str = "qemu") -> None:
        self._home = home
        self._run("up", "--detach", "--guests", guests)
        lines = self._run("env").splitlines()
        self.env = dict(line.removeprefix("export ").split("=", 1) for line in lines)
        self._arm = httpx.Client(
            base_url=self.env["AZURELAB_HTTP_URL"], headers={"Authorization": "Bearer demo"}, timeout=60
        )

    def _run(self, *words: str) -> str:
        done = subprocess.run(
            [BIN / "azurelab", *words, "--home", self._home], capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoFailed(f"azurelab {' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def id_of(self, path: str) -> str:
        return f"/subscriptions/{self.env['AZURE_SUBSCRIPTION_ID']}{path}"

    def put(self, ref: str, version: str, body: Mapping[str, Any]) -> None:
        """PUT as any ARM client would, and wait for the end of the operation."""
        answer = self._arm.put(ref, params={"api-version": version}, json={"location": "westeurope", **body})
        if answer.status_code >= 300:
            raise DemoFailed(f"PUT {ref}: {answer.status_code} {answer.text}")
        self._await(ref, answer)

    def _await(self, ref: str, answer: httpx.Response) -> None:
        if (url := answer.headers.get("azure-asyncoperation")) is None:
            return
        plain = url.replace(self.env["AZURELAB_URL"], self.env["AZURELAB_HTTP_URL"])

        def ended() -> bool | None:
            told = self._arm.get(plain).json()
            if told["status"] == "Failed":
                raise DemoFailed(f"{ref}: {told['error']}")
            return True if told["status"] == "Succeeded" else None

        wait_until(f"the end of the operation on {ref.rsplit('/', 1)[-1]}", 120, ended)

    def post(self, ref: str, version: str) -> None:
        """An action such as `/deallocate`, to its end."""
        answer = self._arm.post(ref, params={"api-version": version})
        if answer.status_code >= 300:
            raise DemoFailed(f"POST {ref}: {answer.status_code} {answer.text}")
        self._await(ref, answer)

    def get(self, ref: str, version: str) -> dict[str, Any] | None:
        answer = self._arm.get(ref, params={"api-version": version})
        if answer.status_code == 404:
            return None
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def control(self, path: str, wish: Mapping[str, Any]) -> None:
        """Change the lab's world, such as its quotas (`/azurelab/quota`)."""
        self._arm.put(path, json=wish).raise_for_status()

    def down(self) -> None:
        self._arm.close()
        self._run("down")


class Holdfast:
    """holdfast on a home of its own: a server process, and its commands."""

    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        self.home = home
        self._env = {**os.environ, **env, "HOLDFAST_HOME": str(home)}
        for name in ("HOLDFAST_URL", "HOLDFAST_TOKEN", "HOLDFAST_DATABASE_URL"):
            self._env.pop(name, None)
        self._server: subprocess.Popen[bytes] | None = None

    def start_server(self) -> int:
        """Returns its pid."""
        log = (self.home / "demo-server.log").open("ab")
        self._server = subprocess.Popen(
            [BIN / "holdfast", "server", "--port", "0"], env=self._env, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        wait_until("the start of the holdfast server", 60, lambda: self._answers() or None)
        return self._server.pid

    def _answers(self) -> bool:
        if self._server is None or self._server.poll() is not None:
            told = (self.home / "demo-server.log").read_text().splitlines()[-5:]
            raise DemoFailed("the holdfast server ended: " + " / ".join(told))
        path = self.home / "server.json"
        try:
            told = json.loads(path.read_text())
            return int(told["pid"]) == self._server.pid and httpx.get(f"{told['url']}/health").status_code == 200
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            return False

    def kill_server(self) -> None:
        """SIGKILL: no handler, no farewell."""
        if self._server is not None:
            self._server.send_signal(signal.SIGKILL)
            self._server.wait()

    def stop_server(self) -> None:
        """End the server of the home: ours, and one that a command started because it found none."""
        if self._server is not None and self._server.poll() is None:
            self._server.terminate()
            try:
                self._server.wait(30)
            except subprocess.TimeoutExpired:
                self._server.kill()
                self._server.wait()
        if (pid := self._server_of_the_home()) is not None:
            os.kill(pid, signal.SIGTERM)
            wait_until("the end of the home's server", 30, lambda: self._server_of_the_home() is None or None)

    def _server_of_the_home(self) -> int | None:
        """The process that server.json names, if it lives and is a holdfast server."""
        try:
            pid = int(json.loads((self.home / "server.json").read_text())["pid"])
            return pid if b"holdfast.api" in Path(f"/proc/{pid}/cmdline").read_bytes() else None
        except (OSError, ValueError, KeyError):
            return None

    def show(self, *words: str) -> None:
        """Run a command with its output on the terminal. Raises DemoFailed when it fails."""
        if subprocess.run([BIN / "holdfast", *words], env=self._env, check=False).returncode != 0:
            raise DemoFailed(f"holdfast {' '.join(words)} failed")

    def follow(self, import_id: str) -> subprocess.Popen[bytes]:
        """`import follow` on the terminal, beside what the demo does meanwhile."""
        return subprocess.Popen([BIN / "holdfast", "import", "follow", import_id], env=self._env)

    def api(self) -> httpx.Client:
        """A client of the server's own API, with the home's token."""
        told = json.loads((self.home / "server.json").read_text())
        token = (self.home / "local-token").read_text().strip()
        return httpx.Client(base_url=told["url"], headers={"Authorization": f"Bearer {token}"}, timeout=120)

    @property
    def pid(self) -> int:
        if self._server is None:
            raise DemoFailed("the holdfast server was not started")
        return self._server.pid

    def import_now(self, import_id: str) -> dict[str, Any]:
        """The import as the API shows it: cheaper than a command, for watching closely."""
        with self.api() as api:
            answer = api.get(f"/v1/imports/{import_id}")
        answer.raise_for_status()
        found: dict[str, Any] = answer.json()
        return found

    def ask(self, *words: str) -> Any:
        """Run a command with --json and return what it says."""
        done = subprocess.run(
            [BIN / "holdfast", *words, "--json"], env=self._env, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise DemoFailed(f"holdfast {' '.join(words)}: {done.stdout.strip()} {done.stderr.strip()}")
        return json.loads(done.stdout)

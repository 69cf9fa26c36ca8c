"""Real processes: holdfast's server (and azurelab) killed or frozen again and again while imports run.

Afterwards every import that was accepted has ended by itself, in one of its two good states; the lab's event log shows
no moment with two running machines of the same data; and nothing that carries our tags is unaccounted for.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.core.ids import short_hex
from holdfast.demo.machines import COMPUTE, IMAGE, NETWORK, make_group
from holdfast.demo.programs import Holdfast, Lab

pytestmark = [pytest.mark.chaos, pytest.mark.slow, pytest.mark.timeout(3000)]

KILLS = int(os.environ.get("HOLDFAST_CHAOS_KILLS", "50"))
IMPORTS_AT_ONCE = 6
VARIANTS = [{"network": network, "disks": disks} for network in ("new", "keep") for disks in ("snapshot", "reattach")]


class Scene:
    """A lab, a home, and imports that are started as others end."""

    def __init__(self, folder: Path) -> None:
        self.lab = Lab(folder / "lab", guests="none")
        for quota in ("cores", "lowPriorityCores", "standardDSv5Family"):
            self.lab.control("/azurelab/quota", {"location": "westeurope", "name": quota, "limit": 10_000})
        self.lab.control("/azurelab/time", {"profile": "azure", "scale": 0.02})  # so that kills fall into operations
        self.group = make_group(self.lab)
        (folder / "home").mkdir()
        self.holdfast = Holdfast(folder / "home", self.lab.env)
        self.holdfast.start_server()
        env = self.lab.env
        self.holdfast.ask("cloud", "add", "azure", "lab", "--subscription", env["AZURE_SUBSCRIPTION_ID"],
                          "--endpoint", env["AZURELAB_URL"], "--ca", env["REQUESTS_CA_BUNDLE"])  # fmt: skip
        self.machines: list[str] = []

    def close(self) -> None:
        self.holdfast.stop_server()
        self.lab.down()

    def imports(self) -> list[dict[str, Any]]:
        with self.holdfast.api() as api:
            answer = api.get("/v1/imports")
            answer.raise_for_status()
            found: list[dict[str, Any]] = answer.json()
        return found

    def keep_busy(self) -> None:
        """Start new imports until enough are open; one in four is cancelled at once."""
        is_open = [one for one in self.imports() if one["state"] in ("running", "cancelling")]
        with self.holdfast.api() as api:
            for _ in range(IMPORTS_AT_ONCE - len(is_open)):
                name = self._machine()
                options = {**random.choice(VARIANTS), "prove_for_s": 1}
                answer = api.post("/v1/imports", json={"machine": f"demo/{name}", "options": options})
                assert answer.status_code == 201, answer.text
                if random.random() < 0.25:
                    api.post(f"/v1/imports/{answer.json()['id']}/cancel")

    def _machine(self) -> str:
        name = f"vm-{len(self.machines)}-{short_hex(4)}"
        card = f"{self.group}/providers/Microsoft.Network/networkInterfaces/{name}-nic"
        subnet = {"id": f"{self.group}/providers/Microsoft.Network/virtualNetworks/vnet/subnets/default"}
        configurations = [{"name": "ip", "properties": {"subnet": subnet}}]
        self.lab.put(card, NETWORK, {"properties": {"ipConfigurations": configurations}})
        gone_with_it = {"deleteOption": "Delete"}
        properties = {
            "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
            "osProfile": {"computerName": name, "adminUsername": "ada", "adminPassword": "Correct-horse-1"},
            "storageProfile": {
                "imageReference": IMAGE,
                "osDisk": {"createOption": "FromImage", **gone_with_it},
                "dataDisks": [{"lun": 0, "createOption": "Empty", "diskSizeGB": 4, **gone_with_it}],
            },
            "networkProfile": {"networkInterfaces": [{"id": card, "properties": {"primary": True, **gone_with_it}}]},
        }
        self.lab.put(f"{self.group}/providers/Microsoft.Compute/virtualMachines/{name}", COMPUTE,
                     {"properties": properties})  # fmt: skip
        self.machines.append(name)
        return name

    def wait_until_all_rest(self, bound_s: float) -> list[dict[str, Any]]:
        deadline = time.monotonic() + bound_s
        while time.monotonic() < deadline:
            found = self.imports()
            if all(one["state"] in ("imported", "failed", "cancelled") for one in found):
                return found
            time.sleep(0.5)
        raise AssertionError([(one["id"], one["state"], one["error"]) for one in self.imports()])

    def events(self) -> list[dict[str, Any]]:
        told: list[dict[str, Any]] = []
        with httpx.Client(base_url=self.lab.env["AZURELAB_HTTP_URL"], timeout=60) as client:
            while page := client.get("/azurelab/events", params={"after": told[-1]["seq"] if told else 0}).json()[
                "events"
            ]:
                told += page
        return told

    def check(self) -> None:
        found = self.wait_until_all_rest(600)
        twins = twins_of(self.events(), self.machines)
        assert twins == []
        for one in found:
            name = one["vm_name"]
            machine = f"{self.group}/providers/Microsoft.Compute/virtualMachines/{name}"
            if one["state"] == "imported":
                assert self._power(one["successor"]["ref"]) == "PowerState/running", one
            else:
                assert self._power(machine) == "PowerState/running", one
                told = self.lab.get(machine, COMPUTE)
                assert told is not None
                assert not any(tag.startswith("holdfast-") for tag in told.get("tags") or {}), one

    def _power(self, machine: str) -> str:
        told = self.lab.get(f"{machine}/instanceView", COMPUTE)
        assert told is not None, machine
        return str(next(s["code"] for s in told["statuses"] if s["code"].startswith("PowerState/")))


def twins_of(events: list[dict[str, Any]], machines: list[str]) -> list[str]:
    """Moments at which a machine and its successor ran side by side; a successor's name begins with the machine's."""
    running: dict[str, set[str]] = {name: set() for name in machines}
    found = []
    for event in events:
        name = event["resource"].rsplit("/", 1)[-1].lower()
        family = next((m for m in machines if name == m or name.startswith(f"{m}-")), None)
        if family is None or "/virtualmachines/" not in event["resource"].lower():
            continue
        if event["kind"] == "power" and event["power"] in ("starting", "running"):
            running[family].add(name)
        elif event["kind"] == "deleted" or (event["kind"] == "power" and event["power"] in ("stopped", "deallocated")):
            running[family].discard(name)
        if len(running[family]) > 1:
            found.append(f"{event['seq']}: {sorted(running[family])}")
    return found


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    built = Scene(tmp_path)
    yield built
    built.close()


def disturb(scene: Scene, times: int, how: Callable[[], None]) -> None:
    seed = int(os.environ.get("HOLDFAST_CHAOS_SEED", time.time_ns() % 10_000))
    print(f"HOLDFAST_CHAOS_SEED={seed}")
    random.seed(seed)
    for _ in range(times):
        scene.keep_busy()
        time.sleep(random.uniform(0.1, 2.0))  # the moment of the kill is the point; nothing is waited for
        how()


def test_every_accepted_import_ends_well_however_often_the_server_is_killed(scene: Scene) -> None:
    def kill_and_restart() -> None:
        scene.holdfast.kill_server()
        scene.holdfast.start_server()

    disturb(scene, KILLS, kill_and_restart)

    scene.check()


def test_imports_end_well_when_the_server_is_frozen_for_longer_than_its_lease(scene: Scene) -> None:
    def freeze() -> None:
        os.kill(scene.holdfast.pid, signal.SIGSTOP)
        time.sleep(35)  # the lease is 30 s
        os.kill(scene.holdfast.pid, signal.SIGCONT)

    disturb(scene, 3, freeze)

    scene.check()

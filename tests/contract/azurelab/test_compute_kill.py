"""Machines and disks survive kill -9 of the lab at any moment: what was answered stands, and nothing is half held."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import httpx

_LAB = """
import sys, time
from azurelab.app import Lab
lab = Lab.start(sys.argv[1])
if lab.store.get(f"/subscriptions/{lab.subscription}/resourceGroups/rg") is None:
    lab.group("rg")
print(lab.http_url, lab.subscription, flush=True)
sys.stdin.read()
"""
REGION = "westeurope"


class Child:
    """A lab in a process of its own."""

    def __init__(self, home: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", _LAB, str(home)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        url, subscription = self.process.stdout.readline().split()
        self.client = httpx.Client(base_url=url, headers={"Authorization": "Bearer t"}, timeout=30)
        self.scope = f"/subscriptions/{subscription}/resourceGroups/rg/providers"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(30)
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.stdout.close()
        self.client.close()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The finished answer's body; raises when the lab dies meanwhile."""
        answer = self.client.request(method, f"{self.scope}{path}", params={"api-version": "2024-07-01"}, json=body)
        assert answer.status_code < 300, answer.text
        poll = answer.headers.get("azure-asyncoperation")
        while poll:
            state = self.client.get(poll).json()
            if state["status"] == "Succeeded":
                break
            assert state["status"] in ("InProgress", "Running", "Updating"), state
            time.sleep(0.01)
        return answer.json() if answer.content else None

    def list(self, kind: str) -> list[Any]:
        answer = self.client.get(f"{self.scope}/{kind}", params={"api-version": "2024-07-01"})
        found: list[Any] = answer.json()["value"]
        return found


def _vm(child: Child, n: int) -> None:
    """One machine's short life: made, written to, snapshot, its data disk moved to a copy, every third deleted."""
    subnet = f"{child.scope}/Microsoft.Network/virtualNetworks/v/subnets/s"
    configuration = {"name": "c", "properties": {"subnet": {"id": subnet}}}
    child.call(
        "PUT",
        f"/Microsoft.Network/networkInterfaces/n{n}",
        {"location": REGION, "properties": {"ipConfigurations": [configuration]}},
    )
    image = {"publisher": "Canonical", "offer": "UbuntuServer", "sku": "18.04-LTS", "version": "latest"}
    disk = {"lun": 0, "createOption": "Empty", "diskSizeGB": 1, "name": f"data{n}"}
    nic = {"id": f"{child.scope}/Microsoft.Network/networkInterfaces/n{n}"}
    child.call(
        "PUT",
        f"/Microsoft.Compute/virtualMachines/vm{n}",
        {
            "location": REGION,
            "properties": {
                "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
                "storageProfile": {
                    "imageReference": image,
                    "osDisk": {"createOption": "FromImage"},
                    "dataDisks": [disk],
                },
                "osProfile": {"computerName": "h", "adminUsername": "u", "adminPassword": "Pass!word1"},
                "networkProfile": {"networkInterfaces": [nic]},
            },
        },
    )
    data = f"{child.scope}/Microsoft.Compute/disks/data{n}"
    written = child.client.put("/azurelab/disks/write", params={"id": data, "offset": 0}, content=_mark(n))
    assert written.status_code == 204
    creation = {"createOption": "Copy", "sourceResourceId": data}
    body = {"location": REGION, "properties": {"creationData": creation, "incremental": True}}
    child.call("PUT", f"/Microsoft.Compute/snapshots/snap{n}", body)
    if n % 3 == 0:
        child.call("POST", f"/Microsoft.Compute/virtualMachines/vm{n}/deallocate")
        child.call("DELETE", f"/Microsoft.Compute/virtualMachines/vm{n}")


def _mark(n: int) -> bytes:
    return n.to_bytes(8, "big") * 512


def test_kill_9_under_load_leaves_no_machine_or_disk_half_made(tmp_path: Path) -> None:
    child = Child(tmp_path)
    spaces = {"addressSpace": {"addressPrefixes": ["10.0.0.0/16"]}}
    subnets = [{"name": "s", "properties": {"addressPrefix": "10.0.0.0/20"}}]
    child.call(
        "PUT",
        "/Microsoft.Network/virtualNetworks/v",
        {"location": REGION, "properties": {**spaces, "subnets": subnets}},
    )
    done: list[int] = []
    for generation in range(2):
        stop = threading.Event()

        def work(start: int, lab: Child, ended: threading.Event) -> None:
            n = start
            while not ended.is_set():
                try:
                    _vm(lab, n)
                except httpx.TransportError:
                    return  # the kill
                done.append(n)
                n += 1

        workers = [threading.Thread(target=work, args=(generation * 1000 + k * 100, child, stop)) for k in range(4)]
        for worker in workers:
            worker.start()
        reached = len(done) + 6 + generation
        deadline = time.monotonic() + 60
        while len(done) < reached and time.monotonic() < deadline:
            time.sleep(0.01)
        child.kill()
        stop.set()
        for worker in workers:
            worker.join(30)
        child = Child(tmp_path)
        _check(child, done)
    child.kill()


def _check(child: Child, done: list[int]) -> None:
    deadline = time.monotonic() + 60
    while True:
        machines, disks = child.list("Microsoft.Compute/virtualMachines"), child.list("Microsoft.Compute/disks")
        states = {r["properties"]["provisioningState"] for r in (*machines, *disks)}
        if states <= {"Succeeded"}:
            break
        assert time.monotonic() < deadline, states
        time.sleep(0.05)
    held = {d["id"].lower(): d.get("managedBy", "").lower() for d in disks}
    for machine in machines:
        profile = machine["properties"]["storageProfile"]
        for entry in (profile["osDisk"], *profile["dataDisks"]):
            assert held.pop(entry["managedDisk"]["id"].lower()) == machine["id"].lower()
    assert set(held.values()) <= {""}  # no disk says that a machine holds it which does not
    snapshots = {s["name"] for s in child.list("Microsoft.Compute/snapshots")}
    names = {m["name"] for m in machines}
    for n in done:
        assert f"snap{n}" in snapshots
        assert (f"vm{n}" in names) == (n % 3 != 0)
        read = {"offset": 0, "length": 4096}
        for kind, name in (("disks", "data"), ("snapshots", "snap")):
            target = f"{child.scope}/Microsoft.Compute/{kind}/{name}{n}"
            assert child.client.get("/azurelab/disks/read", params={"id": target, **read}).content == _mark(n)

"""200 imports at once on azurelab with `none` guests: time, and memory of both programs.

    python -m benchmarks.imports.scale [COUNT]

Goal: 200 in under 120 s, server and lab under 400 MB each. Real processes, real HTTP and TLS between them.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from holdfast.demo.machines import COMPUTE, IMAGE, NETWORK, make_group
from holdfast.demo.programs import DemoFailed, Holdfast, Lab

__all__ = ["main"]

PEOPLE = 16  # clients that start imports side by side


def make_machine(lab: Lab, group: str, name: str) -> None:
    """An OS disk and one data disk, no public address."""
    card = f"{group}/providers/Microsoft.Network/networkInterfaces/{name}-nic"
    subnet = {"id": f"{group}/providers/Microsoft.Network/virtualNetworks/vnet/subnets/default"}
    lab.put(card, NETWORK, {"properties": {"ipConfigurations": [{"name": "ip", "properties": {"subnet": subnet}}]}})
    properties = {
        "hardwareProfile": {"vmSize": "Standard_D2s_v5"},
        "osProfile": {"computerName": name, "adminUsername": "ada", "adminPassword": "Correct-horse-1"},
        "storageProfile": {
            "imageReference": IMAGE,
            "osDisk": {"createOption": "FromImage"},
            "dataDisks": [{"lun": 0, "createOption": "Empty", "diskSizeGB": 4}],
        },
        "networkProfile": {"networkInterfaces": [{"id": card, "properties": {"primary": True}}]},
    }
    lab.put(f"{group}/providers/Microsoft.Compute/virtualMachines/{name}", COMPUTE, {"properties": properties})


def peak_mb(pid: int) -> int:
    """The most memory that the process ever held."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) // 1024
    raise DemoFailed(f"process {pid} is gone")


def lab_pid(home: Path) -> int:
    found = [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit()
        and (entry / "cmdline").exists()
        and str(home).encode() in (entry / "cmdline").read_bytes()
        and b"azurelab" in (entry / "cmdline").read_bytes()
    ]
    if not found:
        raise DemoFailed("azurelab's process was not found")
    return min(found)


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    lab = Lab(folder / "lab", guests="none")
    (folder / "home").mkdir()
    holdfast = Holdfast(folder / "home", lab.env)
    try:
        group = make_group(lab)
        for quota in ("cores", "lowPriorityCores", "standardDSv5Family"):
            lab.control("/azurelab/quota", {"location": "westeurope", "name": quota, "limit": 10_000})
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: make_machine(lab, group, f"vm-{n}"), range(count)))
        holdfast.start_server()
        env = lab.env
        holdfast.ask("cloud", "add", "azure", "lab", "--subscription", env["AZURE_SUBSCRIPTION_ID"],
                     "--endpoint", env["AZURELAB_URL"], "--ca", env["REQUESTS_CA_BUNDLE"])  # fmt: skip
        with holdfast.api() as api:
            api.post("/v1/imports/plan", json={"machine": "demo/vm-0"}).raise_for_status()  # warm: the sizes are read

            def start(number: int) -> None:
                wish = {"machine": f"demo/vm-{number}", "options": {"prove_for_s": 1}}
                answer = api.post("/v1/imports", json=wish)
                if answer.status_code != 201:
                    raise DemoFailed(f"vm-{number}: {answer.text}")

            began = time.monotonic()
            with ThreadPoolExecutor(PEOPLE) as pool:
                list(pool.map(start, range(count)))
            accepted = time.monotonic() - began
            while True:
                shown = api.get("/v1/imports").json()
                states = [one["state"] for one in shown]
                if all(state != "running" for state in states):
                    break
                time.sleep(1)
            took = time.monotonic() - began
        told = {
            "imports": count,
            "imported": states.count("imported"),
            "seconds": round(took, 1),
            "accepted_after_s": round(accepted, 1),
            "server_peak_mb": peak_mb(holdfast.pid),
            "lab_peak_mb": peak_mb(lab_pid(folder / "lab")),
        }
        print(json.dumps(told))
        for one in [one for one in shown if one["state"] != "imported"][:3]:
            print(one["id"], one["state"], json.dumps(one["error"]))
        good = told["imported"] == count
    finally:
        holdfast.stop_server()
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

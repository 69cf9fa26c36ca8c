"""The downtime of an import, on real guests: from the last journal line of the old guest to the first of the new one.

    python -m benchmarks.imports.downtime [ROUNDS]

The floor is the guest's own stop and boot: the same machine deallocated and started through ARM, measured the same way
in the same run. Goal with the instant profile: import ≤ 1.3 × floor. Split by phase from the operation's own record.
Means, not medians: the guest writes a line each second, so one round is right to a second only and medians jump by one.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from datetime import datetime
from itertools import pairwise
from pathlib import Path

from holdfast.demo.machines import COMPUTE, Guest, make_group, make_machine
from holdfast.demo.programs import DemoFailed, Holdfast, Lab

__all__ = ["main"]

PHASES = {
    "stop": ("stop_original",),
    "snapshots": ("take_final_snapshots",),
    "disks": ("make_disks",),
    "free the original": ("dissolve_original",),
    "launch": ("launch_machine#0",),
    "boot and proof": ("machine_runs", "prove_machine"),
}
VARIANTS = (("new", "snapshot"), ("keep", "reattach"))


def last_gap_s(guest: Guest) -> float:
    """Seconds between the last line of one boot and the first of the next, at the newest boot."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        lines = guest.journal(0)
        gaps = [after[2] - before[2] for before, after in pairwise(lines) if before[1] != after[1]]
        if gaps:
            return gaps[-1]
        time.sleep(0.5)
    raise DemoFailed("the journal shows no boot")


def floor_s(lab: Lab, machine: str) -> float:
    """The guest's own stop and boot, without any import."""
    lab.post(f"{machine}/deallocate", COMPUTE)
    lab.post(f"{machine}/start", COMPUTE)
    guest = Guest(lab, machine)
    guest.wait_until_it_serves()
    return last_gap_s(guest)


def phases_of(holdfast: Holdfast, operation: str) -> dict[str, float]:
    with holdfast.api() as api:
        told = api.get(f"/v1/operations/{operation}/steps").json()
    took: dict[str, float] = {}
    for name, keys in PHASES.items():
        for step in told:
            if step["key"] in keys and step["ended_at"]:
                began, ended = (datetime.fromisoformat(step[at]) for at in ("started_at", "ended_at"))
                took[name] = round(took.get(name, 0.0) + (ended - began).total_seconds(), 2)
    return took


def main() -> int:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    folder = Path(tempfile.mkdtemp(prefix="holdfast-bench-"))
    lab = Lab(folder / "lab")
    (folder / "home").mkdir()
    holdfast = Holdfast(folder / "home", lab.env)
    good = True
    try:
        group = make_group(lab)
        holdfast.start_server()
        env = lab.env
        holdfast.ask("cloud", "add", "azure", "lab", "--subscription", env["AZURE_SUBSCRIPTION_ID"],
                     "--endpoint", env["AZURELAB_URL"], "--ca", env["REQUESTS_CA_BUNDLE"])  # fmt: skip
        for network, disks in VARIANTS:
            floors, imports, phases = [], [], []
            for number in range(rounds):
                machine = make_machine(lab, group, f"{network}-{disks}-{number}")
                Guest(lab, machine).wait_until_it_serves()
                floors.append(floor_s(lab, machine))
                name = machine.rsplit("/", 1)[-1]
                how = ("--network", network, "--disks", disks, "--probe", "http://:8080/health", "--prove-for", "1")
                ended = holdfast.ask("import", "start", f"demo/{name}", *how, "--yes", "--wait")
                if ended["state"] != "imported":
                    raise DemoFailed(f"{name}: {ended['state']} {ended['error']}")
                node = Guest(lab, ended["successor"]["ref"])
                imports.append(last_gap_s(node))
                phases.append(phases_of(holdfast, ended["operation"]))
                lab.post(f"{node.ref}/deallocate", COMPUTE)
            ratio = statistics.fmean(imports) / statistics.fmean(floors)
            good = good and ratio <= 1.3
            names = [name for name in PHASES if any(name in one for one in phases)]
            told = {
                "variant": f"{network} x {disks}",
                "rounds": rounds,
                "import_s": round(statistics.fmean(imports), 2),
                "floor_s": round(statistics.fmean(floors), 2),
                "ratio": round(ratio, 2),
                "phases_s": {name: statistics.median(one.get(name, 0.0) for one in phases) for name in names},
            }
            print(json.dumps(told))
    finally:
        holdfast.stop_server()
        lab.down()
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

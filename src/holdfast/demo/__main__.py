"""`make demo`: import a running machine, kill the server in the middle, prove that nothing was lost, undo another.

Exits 1 at the first thing that is not as it must be. KEEP=1 leaves both programs running and says where.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

from holdfast.demo.machines import Guest, Look, make_group, make_machine
from holdfast.demo.programs import DemoFailed, Holdfast, Lab, wait_until
from holdfast.demo.telling import say, table, title

KILL_AT = frozenset({"take_final_snapshots", "make_disks", "launch_machine#0", "machine_runs", "prove_machine"})
LONGEST_GAP_S = 5.0  # between two journal lines of one boot


def main() -> int:
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="holdfast-demo-"))
    lab: Lab | None = None
    holdfast: Holdfast | None = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        title("A cloud on this machine")
        lab = Lab(folder / "lab")
        say(f"azurelab answers at {lab.env['AZURELAB_URL']}, its guests are real virtual machines on QEMU.")
        (folder / "home").mkdir()
        holdfast = Holdfast(folder / "home", lab.env)
        tell(lab, holdfast)
        title(f"Done in {time.monotonic() - began:.0f} s: every check passed")
    except (DemoFailed, OSError) as failed:
        title("The demo FAILED")
        say(str(failed))
        return 1
    finally:
        _leave(folder, lab, holdfast)
    return 0


def tell(lab: Lab, holdfast: Holdfast) -> None:
    """The story, in order."""
    db, web = two_machines(lab)
    connect(lab, holdfast)
    import_with_a_kill(lab, holdfast, db)
    import_and_undo(holdfast, web)


def two_machines(lab: Lab) -> tuple[Guest, Guest]:
    title("Two machines with data")
    group = make_group(lab)
    with ThreadPoolExecutor(2) as pool:
        refs = list(pool.map(lambda name: make_machine(lab, group, name), ("db-1", "web-1")))
    db, web = (Guest(lab, ref) for ref in refs)
    for guest in (db, web):
        guest.wait_until_it_serves()
        for lun in (0, 1):
            guest.record(lun, f"written before the import, lun {lun}")
        name = guest.ref.rsplit("/", 1)[-1]
        say(f"{name} runs at {guest.address()}: an OS disk, and a journal line each second on both of its data disks.")
    return db, web


def connect(lab: Lab, holdfast: Holdfast) -> None:
    title("Holdfast is connected to the cloud and looks around")
    holdfast.start_server()
    env = lab.env
    holdfast.show("cloud", "add", "azure", "lab", "--subscription", env["AZURE_SUBSCRIPTION_ID"],
                  "--endpoint", env["AZURELAB_URL"], "--ca", env["REQUESTS_CA_BUNDLE"],
                  "--prices-endpoint", env["AZURELAB_URL"])  # fmt: skip
    holdfast.show("cloud", "check")
    holdfast.show("vm", "list")


def import_with_a_kill(lab: Lab, holdfast: Holdfast, db: Guest) -> None:
    title("What an import of db-1 would do. A plan changes nothing")
    probe = ("--probe", "http://:8080/health", "--prove-for", "3")
    holdfast.show("import", "plan", "demo/db-1", *probe)

    title("The import: new network, disks copied from snapshots. The server is killed in the middle")
    before = db.look()
    journals = {lun: db.journal(lun) for lun in (0, 1)}
    import_id = str(holdfast.ask("import", "start", "demo/db-1", *probe, "--yes")["id"])
    follower = holdfast.follow(import_id)
    step = wait_until("the import reaching its middle", 120, lambda: _middle(holdfast, import_id))
    follower.terminate()  # first: a command that finds no server starts one
    follower.wait()
    holdfast.kill_server()
    say(f"\nSIGKILL to the holdfast server while it was busy with '{step}'. It is dead; nothing was said goodbye to.")
    time.sleep(1)
    pid = holdfast.start_server()
    say(f"A new server (process {pid}) is started. It finds the import in its records and goes on:")
    holdfast.show("import", "follow", import_id)
    shown = holdfast.ask("import", "show", import_id)
    if shown["state"] != "imported":
        raise DemoFailed(f"the import ended as {shown['state']}: {shown['error']}")

    node = Guest(lab, str(shown["successor"]["ref"]))
    node.wait_until_it_serves()
    after = node.look()
    compare("db-1 before, and the node's machine after", before, after)
    require(after.vm_id != before.vm_id, "the node has a machine of its own")
    require(after.priority == "Spot", "it runs on spot capacity")
    require(after.host_name == before.host_name, "the guest kept its host name")
    require(after.boots == before.boots + 1, "the OS disk counted exactly one more boot")
    require(after.digests == before.digests, "both data disks hold the same bytes")
    for lun in (0, 1):
        check_journal(lun, journals[lun], node.journal(lun))
    left = holdfast.ask("import", "show", import_id)
    require(
        left["countdown_s"] > 95 * 3600, "the originals are kept, and are deleted in 96 hours if nobody says otherwise"
    )
    title("What is retained, and for how long")
    holdfast.show("import", "list")


def import_and_undo(holdfast: Holdfast, web: Guest) -> None:
    title("A second import keeps the network and reattaches the disks, and is undone")
    before = web.look()
    started = holdfast.ask("import", "start", "demo/web-1", "--network", "keep", "--disks", "reattach",
                           "--probe", "http://:8080/health", "--prove-for", "2", "--yes")  # fmt: skip
    import_id = str(started["id"])
    holdfast.show("import", "follow", import_id)
    during = web.look()
    compare("web-1 before, and as a node", before, during)
    require(during.vm_id != before.vm_id, "it is another machine object under the same name")
    require(during.public_ip == before.public_ip and during.private_ip == before.private_ip, "both addresses are kept")
    require(during.disks == before.disks, "it is the same disks")
    web.record(0, "written as a node")

    ended = holdfast.ask("import", "undo", import_id, "--wait", "--yes")
    require(ended["state"] == "undone", "the import is undone")
    web.wait_until_it_serves()
    after = web.look()
    compare("web-1 before, and given back", before, after)
    require(after.priority == before.priority, "it is an on-demand machine again")
    require((after.public_ip, after.private_ip, after.disks) == (before.public_ip, before.private_ip, before.disks),
            "addresses and disks are its own")  # fmt: skip
    require(after.digests[1] == before.digests[1] and after.digests[0] != before.digests[0],
            "the disks hold what was there, and what the node wrote meanwhile")  # fmt: skip


def compare(what: str, before: Look, after: Look) -> None:
    rows = [
        ("machine", before.ref.rsplit("/", 1)[-1], after.ref.rsplit("/", 1)[-1]),
        ("VM id", before.vm_id, after.vm_id),
        ("size", before.size, after.size),
        ("priority", before.priority, after.priority),
        ("private address", before.private_ip, after.private_ip),
        ("public address", before.public_ip, after.public_ip),
        ("host name", before.host_name, after.host_name),
        ("boots of the OS disk", str(before.boots), str(after.boots)),
    ]
    for lun in sorted(before.digests):
        rows.append((f"digest of data disk {lun}", before.digests[lun][:16], after.digests[lun][:16]))
        rows.append((f"last journal line, disk {lun}", str(before.journal_last[lun]), str(after.journal_last[lun])))
    table(what, rows)


def check_journal(lun: int, before: list[tuple[int, int, float]], after: list[tuple[int, int, float]]) -> None:
    """No sequence number is missing, what was there is there, and time stood still only across the one stop."""
    numbers = [line[0] for line in after]
    require(numbers == list(range(1, len(after) + 1)), f"no line is missing in the journal of disk {lun}")
    require(after[: len(before)] == before, f"every line of before is there, on disk {lun}")
    gaps = [(b[2] - a[2], a[1] != b[1]) for a, b in pairwise(after)]
    long = [gap for gap, across_boots in gaps if gap > LONGEST_GAP_S and not across_boots]
    require(not long, f"no interval over {LONGEST_GAP_S:.0f} s within a boot, on disk {lun}")
    stops = [gap for gap, across_boots in gaps if across_boots]
    if len(stops) == 1:
        say(f"  disk {lun}: {len(after)} lines; between the last of the old machine and the first of the new one: "
            f"{stops[0]:.1f} s")  # fmt: skip


def require(holds: bool, what: str) -> None:
    if not holds:
        raise DemoFailed(f"not true: {what}")
    say(f"  ✓ {what}")


def _middle(holdfast: Holdfast, import_id: str) -> str | None:
    now = holdfast.import_now(import_id)
    if now["state"] != "running":
        raise DemoFailed(f"the import ended before it could be killed: {now['state']} {now['error']}")
    progress = now.get("progress") or {}
    return str(progress["title"]) if progress.get("step") in KILL_AT else None


def _leave(folder: Path, lab: Lab | None, holdfast: Holdfast | None) -> None:
    if os.environ.get("KEEP") == "1":
        say(f"KEEP=1: both keep running on {folder}. End them with: azurelab down --home {folder}/lab, and "
            f"kill the holdfast server named in {folder}/home/server.json")  # fmt: skip
        return
    if holdfast is not None:
        holdfast.stop_server()
    if lab is not None:
        lab.down()
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())

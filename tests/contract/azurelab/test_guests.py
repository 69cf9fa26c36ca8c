"""Real guests on QEMU, with azurelab's own disk server beneath them: what a machine's user and its lab can rely on."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import socket
import subprocess
import sys
import textwrap
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from azurelab.disks.nbd.server import NbdServer
from azurelab.disks.store import DiskStore
from azurelab.guests import image as images
from azurelab.guests.hypervisor import Agent, DiskAttachment, GuestSpec, NicAttachment, Power
from azurelab.guests.qemu import QemuGuests

pytestmark = [pytest.mark.guests, pytest.mark.timeout(400)]

GIB = 1 << 30
BOOT_S = 120.0  # emulated, and the machine is busy with other tests
KEY = "/subscriptions/s/resourcegroups/rg/providers/microsoft.compute/virtualmachines/db-1"


def eventually(look: Callable[[], Any], timeout_s: float = 20.0) -> Any:
    """The first true value of `look` (connection errors count as not yet)."""
    deadline = time.monotonic() + timeout_s
    while True:
        with contextlib.suppress(httpx.TransportError):
            if found := look():
                return found
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s"
        time.sleep(0.1)


@pytest.fixture(scope="session")
def image() -> images.GuestImage:
    if missing := images.missing_tools():
        pytest.skip(f"real guests need {', '.join(missing)}")
    return images.ensure()


@dataclass
class Bench:
    """A home with disks, their server and a hypervisor: azurelab without its protocols."""

    home: Path
    image: images.GuestImage
    network: str = field(default_factory=lambda: f"127.{random.randrange(100, 250)}.{random.randrange(1, 250)}")

    def __post_init__(self) -> None:
        self.open()
        if self.store.find("image") is None:
            self.store.import_raw("image", self.image.disk)
            self.store.seal("image")
            self.store.clone("image", "os", 4 * GIB)
            self.store.create("data-0", 1 * GIB)
            self.store.create("data-1", 4 * GIB)
            self.store.create("data-7", 1 * GIB)

    def open(self) -> None:
        self.store = DiskStore(self.home / "disks")
        self.nbd = NbdServer(self.home / "nbd.sock", self.store.find)
        self.nbd.start()
        self.guests = QemuGuests(self.home)

    def close(self, *, stop_guests: bool = True) -> None:
        self.guests.close(stop_guests=stop_guests)
        self.nbd.close()
        self.store.close()

    def disk(self, lun: int | None) -> DiskAttachment:
        export = "os" if lun is None else f"data-{lun}"
        return DiskAttachment(lun, self.nbd.path, export, self.store.get(export).size_bytes)

    def spec(self, **changes: Any) -> GuestSpec:
        compute = {
            "name": "db-1",
            "location": "westeurope",
            "resourceGroupName": "rg",
            "vmSize": "Standard_D2s_v5",
            "osProfile": {"computerName": "db-host", "adminUsername": "azureuser"},
            "publicKeys": [{"keyData": self.public_key + "\r\n", "path": "/home/azureuser/.ssh/authorized_keys"}],
        }
        card = NicAttachment("nic", "00-0D-3A-0A-0B-0C", "10.0.0.4", 24, f"{self.network}.4", primary=True)
        spec = GuestSpec(
            key=KEY,
            vm_id="0a1b2c3d-1111-2222-3333-444455556666",
            host_name="db-host",
            disks=(self.disk(None), self.disk(0), self.disk(1)),
            nics=(card,),
            compute=compute,
            custom_data=b"#!/bin/sh\nhostname > /root/custom-data-ran\n",
        )
        return replace(spec, **changes)

    @property
    def public_key(self) -> str:
        key = self.home / "id_dropbear"
        if not key.exists():
            self.image.tools.run("dropbearkey", "-t", "ed25519", "-f", str(key))
        printed = self.image.tools.run("dropbearkey", "-y", "-f", str(key))
        return next(line for line in printed.splitlines() if line.startswith("ssh-ed25519"))

    def ssh(self, command: str, user: str = "azureuser") -> str:
        words = [*self.image.tools.command("dbclient"), "-y", "-y", "-i", str(self.home / "id_dropbear")]
        words += [f"{user}@{self.network}.4", command]
        home = {"HOME": str(self.home), "PATH": os.environ["PATH"]}
        done = subprocess.run(words, capture_output=True, text=True, env=home, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def get(self, path: str, host: int = 4) -> httpx.Response:
        return httpx.get(f"http://{self.network}.{host}:8080{path}", timeout=10, trust_env=False)

    def health(self, host: int = 4) -> dict[str, Any]:
        answer: dict[str, Any] = self.get("/health", host).json()
        return answer

    def booted(self, boots: int) -> dict[str, Any]:
        """Health once the guest serves for the n-th time and its agent is ready."""
        eventually(lambda: self.health()["boots"] == boots, BOOT_S)
        eventually(lambda: self.guests.agent(KEY) is Agent.READY, BOOT_S)
        return self.health()

    def journal(self, lun: int) -> list[tuple[int, int, float]]:
        lines = [line.split() for line in self.get(f"/journal?lun={lun}").text.splitlines() if line]
        return [(int(sequence), int(boot), float(at)) for sequence, boot, at in lines]


@pytest.fixture(scope="module")
def running(image: images.GuestImage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """One guest for all tests that leave it as it was."""
    bench = Bench(tmp_path_factory.mktemp("running"), image)
    bench.guests.start(bench.spec())
    bench.booted(1)
    yield bench
    bench.close()


@pytest.fixture
def fresh(image: images.GuestImage, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path, image)
    yield bench
    bench.close()


def test_a_guest_knows_who_it_is_from_the_metadata_service(running: Bench) -> None:
    health = running.health()

    assert health["status"] == "ok"
    assert (health["host_name"], health["vm_name"], health["resource_group"]) == ("db-host", "db-1", "rg")
    assert health["vm_id"] == "0a1b2c3d-1111-2222-3333-444455556666"
    assert health["private_ips"] == ["10.0.0.4"]
    assert (health["boots"], health["first_boots"]) == (1, 1)
    assert {22, 8080} <= set(health["listening"])


def test_blank_data_disks_are_formatted_by_lun_and_keep_a_journal_every_second(running: Bench) -> None:
    disks = running.health()["disks"]
    assert [(d["lun"], d["label"], d["boots"], d["size_bytes"]) for d in disks] == [
        (0, "data-lun0", 1, GIB),
        (1, "data-lun1", 1, 4 * GIB),
    ]
    assert len({d["files"]["fixed.bin"] for d in disks}) == 2

    eventually(lambda: len(running.journal(0)) >= 4)

    for lun in (0, 1):
        journal = running.journal(lun)
        assert [sequence for sequence, _, _ in journal] == list(range(1, len(journal) + 1))
        gaps = [after[2] - before[2] for before, after in itertools.pairwise(journal)]
        assert all(0 < gap < 5 for gap in gaps)


def test_the_admin_logs_in_with_the_key_and_custom_data_ran_once(running: Bench) -> None:
    assert running.ssh("cat /root/custom-data-ran; id -u") == "db-host\n0\n"
    assert running.ssh("cat /etc/hostname", user="root") == "db-host\n"


def test_the_metadata_service_refuses_a_request_without_its_header(running: Bench) -> None:
    url = "http://169.254.169.254/metadata/instance?api-version=2021-02-01"
    said = running.ssh(f"timeout 6 wget -q -S -O - '{url}' 2>&1 || true")
    assert "400 Bad Request" in said

    leaf = "http://169.254.169.254/metadata/instance/compute/vmSize?api-version=2021-02-01&format=text"
    assert running.ssh(f"timeout 6 wget -q -O - --header Metadata:true '{leaf}'") == "Standard_D2s_v5"


def test_a_port_opened_later_is_forwarded_and_closed_again(running: Bench) -> None:
    address = (f"{running.network}.4", 9000)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address, 5)

    running.ssh("nc -ll -p 9000 -e /bin/echo hello </dev/null >/dev/null 2>&1 & echo $! > /run/later")

    def greeting() -> bytes:
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(address, 5) as connection:
            return connection.recv(100)
        return b""

    assert eventually(greeting) == b"hello\n"
    assert 9000 in running.guests.listening(KEY)

    running.ssh("kill $(cat /run/later)")
    eventually(lambda: greeting() == b"")


def test_a_disk_attached_while_running_appears_and_leaves_again(running: Bench) -> None:
    running.guests.attach(KEY, running.disk(7))
    running.guests.attach(KEY, running.disk(7))

    luns = eventually(lambda: [d["lun"] for d in running.health()["disks"] if d["lun"] == 7])
    assert luns == [7]
    assert running.store.get("data-7").allocated_bytes() > 0

    running.guests.detach(KEY, 7)
    running.guests.detach(KEY, 7)
    eventually(lambda: [d["lun"] for d in running.health()["disks"]] == [0, 1])


def test_a_guest_notices_a_preempt_and_approves_it(running: Bench) -> None:
    running.guests.notify_preempt(KEY, time.time() + 30)

    eventually(lambda: running.health()["events"] == 1)
    assert running.health()["last_event"] == "Preempt"
    url = "http://169.254.169.254/metadata/scheduledevents?api-version=2020-07-01"
    document = json.loads(
        eventually(lambda: running.ssh(f"timeout 6 wget -q -O - --header Metadata:true '{url}' | grep Started || true"))
    )
    assert document["Events"][0]["Resources"] == ["db-1"]


def test_a_changed_public_address_moves_every_forward(running: Bench) -> None:
    spec = running.spec()
    moved = replace(spec, nics=(replace(spec.nics[0], public_ip=f"{running.network}.9"),))

    running.guests.readdress(moved)

    assert running.health(9)["host_name"] == "db-host"
    with pytest.raises(httpx.ConnectError):
        running.health(4)
    running.guests.readdress(replace(spec, nics=(replace(spec.nics[0], public_ip=None),)))
    with pytest.raises(httpx.ConnectError):
        running.health(9)
    running.guests.readdress(spec)
    assert running.health(4)["host_name"] == "db-host"


def test_acknowledged_data_survives_a_killed_qemu_and_counters_and_name_move_to_a_new_machine(fresh: Bench) -> None:
    changes: list[tuple[str, Power]] = []
    fresh.guests.on_power_change(lambda key, power: changes.append((key, power)))
    fresh.guests.start(fresh.spec())
    fresh.booted(1)
    url = f"http://{fresh.network}.4:8080"
    content = random.randbytes(200_000)
    stored = httpx.put(f"{url}/files/blob?lun=1", content=content, timeout=20, trust_env=False)
    assert stored.status_code == 201
    for number in range(5):
        answer = httpx.post(f"{url}/records?lun=0", content=f"record {number}", timeout=20, trust_env=False)
        assert answer.json()["records"] == number + 1
    before = fresh.health()["disks"]
    last = fresh.journal(0)[-1]

    os.kill(_qemu_of(fresh), signal.SIGKILL)
    eventually(lambda: changes == [(KEY, Power.OFF)])
    assert fresh.guests.power(KEY) is Power.OFF
    # the disks go to another machine, made by Attach: new vmId, no osProfile
    compute = {"name": "db-2", "resourceGroupName": "rg2"}
    other = fresh.spec(vm_id=str(uuid.uuid4()), host_name="", compute=compute, custom_data=None)
    fresh.guests.start(other)
    health = fresh.booted(2)

    assert (health["host_name"], health["vm_name"], health["vm_id"]) == ("db-host", "db-2", other.vm_id)
    assert [d["boots"] for d in health["disks"]] == [2, 2]
    assert [d["uuid"] for d in health["disks"]] == [d["uuid"] for d in before]
    assert [d["files"] for d in health["disks"]] == [d["files"] for d in before]
    assert fresh.get("/files/blob?lun=1").content == content
    assert fresh.get("/records?lun=0").text.splitlines() == [f"record {number}" for number in range(5)]
    journal = eventually(lambda: (lines := fresh.journal(0))[-1][1] == 2 and lines)
    assert last in journal
    assert [sequence for sequence, _, _ in journal] == list(range(1, len(journal) + 1))


def _abandoned(image: images.GuestImage, folder: Path, *, wait_s: int) -> tuple[Path, str]:
    """A home whose guest runs on while its controller was killed, and its network; the guest waits for its disks."""
    script = folder / "controller.py"
    script.write_text(
        textwrap.dedent(
            """
            import sys, time
            from pathlib import Path
            sys.path[:0] = [sys.argv[2]]
            import azurelab.guests.command as command
            command.RECONNECT_S = int(sys.argv[4])
            import test_guests as t
            bench = t.Bench(Path(sys.argv[1]), t.images.ensure(), network=sys.argv[3])
            bench.guests.start(bench.spec())
            bench.booted(1)
            t.httpx.post(f"http://{bench.network}.4:8080/records", content="kept", timeout=20, trust_env=False)
            print("up", flush=True)
            time.sleep(1000)
            """
        )
    )
    home = folder / "home"
    home.mkdir()
    network = f"127.{random.randrange(100, 250)}.7"
    words = [sys.executable, str(script), str(home), str(Path(__file__).parent), network, str(wait_s)]
    controller = subprocess.Popen(words, stdout=subprocess.PIPE)
    assert controller.stdout is not None
    with controller.stdout:
        assert controller.stdout.readline() == b"up\n"
        controller.kill()
        controller.wait()
    return home, network


def _is_silent(network: str) -> bool:
    try:
        httpx.get(f"http://{network}.4:8080/health", timeout=2, trust_env=False)
    except httpx.HTTPError:
        return True
    return False


def test_a_guest_that_waited_too_long_for_its_disks_goes_on_when_they_are_back(
    image: images.GuestImage, tmp_path: Path
) -> None:
    home, network = _abandoned(image, tmp_path, wait_s=1)
    # Nobody serves its disks: its journal's next write fails, and QEMU stops it. A stopped guest answers nobody.
    eventually(lambda: _is_silent(network))

    bench = Bench(home, image, network)
    try:
        bench.guests.adopt({KEY: bench.spec()})
        before = eventually(lambda: bench.journal(0))
        eventually(lambda: len(bench.journal(0)) > len(before) + 2)
        assert eventually(lambda: bench.health())["boots"] == 1
    finally:
        bench.close()


def test_a_guest_outlives_a_killed_controller_and_is_adopted_with_its_disks(
    image: images.GuestImage, tmp_path: Path
) -> None:
    home, network = _abandoned(image, tmp_path, wait_s=3600)

    bench = Bench(home, image, network)
    try:
        bench.guests.adopt({KEY: bench.spec()})

        assert bench.guests.power(KEY) is Power.RUNNING
        before = eventually(lambda: bench.journal(0))
        health = eventually(lambda: bench.health())
        assert (health["boots"], health["disks"][0]["records"]) == (1, 1)
        eventually(lambda: len(bench.journal(0)) > len(before))  # its disks are back
        eventually(lambda: bench.guests.agent(KEY) is Agent.READY)
        moved = bench.spec()
        bench.guests.readdress(replace(moved, nics=(replace(moved.nics[0], public_ip=f"{network}.8"),)))
        assert bench.health(8)["boots"] == 1
        bench.guests.stop(KEY, graceful=True)
        assert bench.guests.power(KEY) is Power.OFF
    finally:
        bench.close()


@pytest.mark.slow
def test_a_guest_that_powers_itself_off_is_noticed_and_restarts_keep_counting(fresh: Bench) -> None:
    changes: list[tuple[str, Power]] = []
    fresh.guests.on_power_change(lambda key, power: changes.append((key, power)))
    fresh.guests.start(fresh.spec())
    fresh.booted(1)

    fresh.guests.restart(KEY)
    fresh.booted(2)
    fresh.ssh("(sleep 1; poweroff) </dev/null >/dev/null 2>&1 &")
    eventually(lambda: changes == [(KEY, Power.OFF)])
    assert fresh.guests.agent(KEY) is Agent.ABSENT

    fresh.guests.start(fresh.spec())
    health = fresh.booted(3)
    assert (health["boots"], health["first_boots"]) == (3, 1)
    journal = fresh.journal(1)
    assert [sequence for sequence, _, _ in journal] == list(range(1, len(journal) + 1))
    assert [boot for _, boot, _ in journal] == sorted(boot for _, boot, _ in journal)
    assert b"ready" in fresh.guests.console(KEY)


@pytest.mark.slow
def test_a_grown_data_disk_and_freed_blocks_reach_guest_and_store(fresh: Bench) -> None:
    fresh.guests.start(fresh.spec())
    fresh.booted(1)
    url = f"http://{fresh.network}.4:8080"
    httpx.put(f"{url}/files/big?lun=0", content=random.randbytes(8 << 20), timeout=60, trust_env=False)
    full = fresh.store.get("data-0").allocated_bytes()
    httpx.delete(f"{url}/files/big?lun=0", timeout=20, trust_env=False)
    fresh.ssh("sync")
    eventually(lambda: fresh.store.get("data-0").allocated_bytes() < full - (7 << 20), 40)
    fresh.guests.stop(KEY, graceful=True)

    fresh.store.resize("data-0", 3 * GIB)
    fresh.guests.start(fresh.spec())
    fresh.booted(2)

    assert fresh.health()["disks"][0]["size_bytes"] == 3 * GIB
    blocks = int(fresh.ssh("stat -f -c '%b %s' /data/lun0").split()[0]) * 4096
    assert blocks > 2.9 * GIB


def _qemu_of(bench: Bench) -> int:
    marks = str(bench.home / "guests")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                command = (entry / "cmdline").read_bytes()
                if command.startswith(b"qemu-system") and marks.encode() in command:
                    return int(entry.name)
    raise AssertionError("no QEMU of this bench runs")

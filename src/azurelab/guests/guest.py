"""One running guest: its process, its machine protocol, its agent, its report. Used by `qemu`, which knows them all."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from azurelab.guests import agent, forwards
from azurelab.guests.command import Paths, block_device, block_node, device_id
from azurelab.guests.events import ScheduledEvents
from azurelab.guests.hypervisor import Agent, DiskAttachment, GuestBusy, GuestSpec
from azurelab.guests.process import Process
from azurelab.guests.qmp import Qmp, QmpClosed, QmpError
from azurelab.guests.resuming import Resumption

__all__ = ["Guest"]

_log = logging.getLogger(__name__)

READY_KEPT_S = 3.0  # an agent that answered is not asked again for so long
AGENT_COMES_WITHIN_S = 180.0  # after this a guest whose agent never showed up has none
ASK_AGAIN_S = 4.0  # a guest that is still booting misses the power button
QUIT_S = 5.0  # QEMU drains its disks; longer means that they hang
UNPLUG_S = 40.0  # a guest that is still booting answers late
MOST_REPORT_BYTES = 1 << 20


class Guest:
    """Made when QEMU answers on its QMP socket. Methods may be called from any thread, `step` from one only."""

    def __init__(
        self,
        spec: GuestSpec,
        paths: Paths,
        process: Process,
        events: ScheduledEvents,
        ended: Callable[[Guest], None],
        *,
        qmp_timeout_s: float,
    ) -> None:
        self.spec = spec
        self.paths = paths
        self.process = process
        self.events = events
        self.stopping = False
        self.ready = False
        self.complaints: list[str] = []
        self.began = time.monotonic()
        self._ports: tuple[int, ...] = ()
        self._read_bytes = 0
        self._resets = 0
        self._agent_lock = threading.Lock()
        self._agent_seen = False
        self._agent_ready_until = 0.0
        self._forward_lock = threading.Lock()
        self._forwards_stale = True
        self._resumption: Resumption | None = None
        self.qmp = Qmp.wait_for(paths.qmp, qmp_timeout_s, process.alive, self._on_event, on_close=lambda: ended(self))
        self._resumption = Resumption(self.qmp.execute)

    # -- what the guest tells -----------------------------------------------------------------------------------

    def _on_event(self, name: str, data: dict[str, Any]) -> None:
        if name == "RESET":
            self._resets += 1
            self.ready = False
            self._agent_ready_until = 0.0
            self.began = time.monotonic()
            self._ports = ()
            self._forwards_stale = True
        elif name == "BLOCK_IO_ERROR":
            _log.warning("guest %s: disk error %s", self.spec.key, data)
            if self._resumption is not None:
                self._resumption.trouble()

    def step(self) -> None:
        """Read what the guest reported since the last time and forward its ports. Called a few times a second."""
        self._read_report()
        if self._forwards_stale:
            self.forward()
        if self._resumption is not None and self._resumption.step():
            _log.info("guest %s goes on after trouble with its disks", self.spec.key)

    def _read_report(self) -> None:
        try:
            with self.paths.report.open("rb") as report:
                report.seek(self._read_bytes)
                news = report.read(MOST_REPORT_BYTES)
        except FileNotFoundError:
            return
        whole = news[: news.rfind(b"\n") + 1]
        self._read_bytes += len(whole)
        for line in whole.decode("ascii", "replace").splitlines():
            word, *rest = line.split()
            if word == "ready":
                self.ready = True
            elif word == "ports":
                self._ports = tuple(sorted({int(p) for p in rest if p.isdigit() and 0 < int(p) < 65536}))
                self._forwards_stale = True
        if self._read_bytes > MOST_REPORT_BYTES:  # QEMU appends, so that the file may be cut
            with self.paths.report.open("r+b") as report:
                report.truncate(0)
            self._read_bytes = 0

    @property
    def listening(self) -> tuple[int, ...]:
        """TCP ports that the guest says it listens on."""
        return self._ports

    # -- addresses ----------------------------------------------------------------------------------------------

    def readdress(self, spec: GuestSpec) -> None:
        self.spec = spec
        self.forward()

    def forward(self) -> None:
        """Make the forwards those of the present addresses and ports."""
        with self._forward_lock:
            self._forwards_stale = False
            try:
                complaints = forwards.apply(self.qmp.monitor, forwards.wanted(self.spec, self._ports))
            except QmpClosed:
                return  # it is off; `ended` tells the others
            for complaint in complaints:
                if complaint not in self.complaints:
                    _log.warning("guest %s: not forwarded: %s", self.spec.key, complaint)
            self.complaints = complaints

    # -- agent and power ----------------------------------------------------------------------------------------

    def agent_state(self) -> Agent:
        if time.monotonic() < self._agent_ready_until:
            return Agent.READY
        if not self._agent_connected():
            young = time.monotonic() - self.began < AGENT_COMES_WITHIN_S
            return Agent.NOT_READY if self._agent_seen or young else Agent.ABSENT
        self._agent_seen = True
        resets = self._resets
        try:
            with self._agent_lock:
                agent.ask(self.paths.agent, "guest-ping")
        except agent.AgentSilent:
            return Agent.NOT_READY
        if resets == self._resets:
            self._agent_ready_until = time.monotonic() + READY_KEPT_S
        return Agent.READY

    def _agent_connected(self) -> bool:
        """Whether a program in the guest holds the agent's port open."""
        try:
            ports = self.qmp.execute("query-chardev")
        except QmpClosed:
            return False
        return any(port["label"] == "qga" and port["frontend-open"] for port in ports)

    def stop(self, *, graceful: bool, timeout_s: float) -> None:
        """Off when this returns. Every acknowledged write has left QEMU by then."""
        self.stopping = True
        if graceful:
            deadline = time.monotonic() + timeout_s
            while (left := deadline - time.monotonic()) > 0 and self.process.alive():
                self._ask_to_power_off()
                if self.process.wait(min(left, ASK_AGAIN_S)):
                    break
        if self.process.alive():
            with contextlib.suppress(QmpClosed, QmpError):
                self.qmp.execute("quit", timeout_s=QUIT_S)
            if not self.process.wait(QUIT_S):
                self.process.kill()  # its disks hang: azurelab's disk server is gone, or QEMU is broken
                self.process.wait(30)

    def _ask_to_power_off(self) -> None:
        if self._agent_connected():
            with contextlib.suppress(agent.AgentSilent), self._agent_lock:
                agent.tell(self.paths.agent, "guest-shutdown", mode="powerdown")
                return
        with contextlib.suppress(QmpClosed, QmpError):
            self.qmp.execute("system_powerdown")

    def restart(self, timeout_s: float) -> None:
        """Through the guest where it answers, by the reset button where not."""
        resets = self._resets
        if self._agent_connected():
            with contextlib.suppress(agent.AgentSilent), self._agent_lock:
                agent.tell(self.paths.agent, "guest-shutdown", mode="reboot")
                deadline = time.monotonic() + timeout_s
                while time.monotonic() < deadline and self._resets == resets and self.process.alive():
                    time.sleep(0.05)
        if self._resets == resets and self.process.alive():
            self.qmp.execute("system_reset")

    # -- data disks ---------------------------------------------------------------------------------------------

    def attach(self, disk: DiskAttachment) -> None:
        """Plug a data disk into a free root port. Plugged already is success; GuestBusy when no port is free."""
        name = device_id(disk.lun)
        if self._plugged(name):
            return
        port = next((p for p, devices in self._root_ports().items() if not devices), None)
        if port is None:
            raise GuestBusy("no free slot for another data disk; stop the machine and start it again")
        nodes = {node["node-name"] for node in self.qmp.execute("query-named-block-nodes", flat=True)}
        if name not in nodes:
            self.qmp.execute("blockdev-add", **block_node(disk))
        try:
            self.qmp.execute("device_add", **block_device(disk, port))
        except QmpError:
            self.qmp.execute("blockdev-del", node_name=name)
            raise

    def detach(self, lun: int) -> None:
        """Unplug; the disk is free when this returns. GuestBusy when the guest does not let go of it."""
        name = device_id(lun)
        deadline = time.monotonic() + UNPLUG_S
        asked = 0.0
        while self._plugged(name):
            if time.monotonic() > deadline:
                raise GuestBusy(f"the guest does not release the disk at lun {lun}")
            if time.monotonic() > asked + 2:
                asked = time.monotonic()
                with contextlib.suppress(QmpError):  # asked before, and the guest has not answered yet
                    self.qmp.execute("device_del", id=f"disk-{name}")
            time.sleep(0.05)
        nodes = {node["node-name"] for node in self.qmp.execute("query-named-block-nodes", flat=True)}
        if name in nodes:
            self.qmp.execute("blockdev-del", node_name=name)

    def _plugged(self, name: str) -> bool:
        devices = self.qmp.execute("qom-list", path="/machine/peripheral")
        return any(device["name"] == f"disk-{name}" for device in devices)

    def _root_ports(self) -> dict[str, list[Any]]:
        """Root port → what is plugged into it."""
        return {
            device["qdev_id"]: device["pci_bridge"].get("devices", [])
            for bus in self.qmp.execute("query-pci")
            for device in bus["devices"]
            if device["qdev_id"].startswith("port") and "pci_bridge" in device
        }

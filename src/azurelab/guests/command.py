"""The QEMU command line of one guest. Pure: a machine, its run directory and the accelerator give a list of words.

Sources: QEMU's manual page; the measurements behind the choices are in docs/guests.md.
"""

from __future__ import annotations

import ipaddress
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azurelab.guests.hypervisor import DiskAttachment, GuestSpec

__all__ = [
    "FABRIC_GUEST",
    "MEMORY_MIB",
    "Paths",
    "block_device",
    "block_node",
    "command_line",
    "device_id",
    "root_ports",
]

MEMORY_MIB = 96  # 80 failed to boot on Debian 12 and 13
TRANSLATION_CACHE_MIB = (
    64  # 32 saves 30 MB of memory per guest and costs 0.3 s of processor time per boot; 16 costs 1 s
)
RECONNECT_S = 3600  # how long a guest waits for its disks while azurelab is down; then its writes fail
FREE_PORTS = 6  # spare slots for data disks that come while the machine runs
MOST_PORTS = 64  # Azure's largest number of data disks
FABRIC_GUEST = "169.254.0.4"


@dataclass(frozen=True)
class Paths:
    """A guest's files. `sockets` may lie elsewhere: a unix socket's path has at most 107 bytes."""

    folder: Path
    sockets: Path

    @property
    def qmp(self) -> Path:
        return self.sockets / "qmp"

    @property
    def agent(self) -> Path:
        return self.sockets / "qga"

    @property
    def metadata(self) -> Path:
        return self.sockets / "imds"

    @property
    def console(self) -> Path:
        return self.folder / "console.log"

    @property
    def report(self) -> Path:
        return self.folder / "report"

    @property
    def log(self) -> Path:
        return self.folder / "qemu.log"

    @property
    def events(self) -> Path:
        return self.folder / "events.json"

    @property
    def custom_data(self) -> Path:
        return self.folder / "custom-data"


def device_id(lun: int | None) -> str:
    """Names a disk everywhere: QEMU's node and device, and the serial number by which the guest knows it."""
    return "osdisk" if lun is None else f"lun{lun}"


def block_node(disk: DiskAttachment) -> dict[str, Any]:
    """The disk's backend. Discards reach it; it comes back by itself when azurelab was restarted."""
    return {
        "driver": "nbd",
        "node-name": device_id(disk.lun),
        "server": {"type": "unix", "path": str(disk.socket)},
        "export": disk.export,
        "reconnect-delay": RECONNECT_S,
        "discard": "unmap",
        "read-only": disk.read_only,
    }


def block_device(disk: DiskAttachment, port: str | None) -> dict[str, Any]:
    """The disk as the guest sees it; `port` is the root port it is plugged into, None for the OS disk.

    A write that fails because azurelab is gone for too long stops the guest instead of breaking its file systems.
    """
    name = device_id(disk.lun)
    device: dict[str, Any] = {
        "driver": "virtio-blk-pci",
        "id": f"disk-{name}",
        "drive": name,
        "serial": name,
        "werror": "stop",
        "rerror": "stop",
    }
    if port is None:
        device["bootindex"] = 1
    else:
        device["bus"] = port
    return device


def root_ports(data_disks: int) -> list[str]:
    """Ids of the root ports: one per data disk and some to spare."""
    return [f"port{number}" for number in range(min(data_disks + FREE_PORTS, MOST_PORTS))]


def command_line(
    spec: GuestSpec, paths: Paths, accelerator: Sequence[str], relay: Sequence[str], qemu: str = "qemu-system-x86_64"
) -> list[str]:
    """All words. `accelerator` holds -accel and -cpu; `relay` connects its stdin and stdout to the metadata socket."""
    words = [qemu, "-name", f"azurelab-{spec.vm_id}", "-nodefaults", "-no-user-config", "-display", "none"]
    words += [*accelerator, "-machine", "q35", "-smp", "1", "-m", str(MEMORY_MIB), "-uuid", spec.vm_id]
    words += ["-qmp", f"unix:{_escaped(paths.qmp)},server=on,wait=off", "-serial", f"file:{_escaped(paths.console)}"]
    words += ["-device", "virtio-serial-pci", "-device", "virtio-rng-pci"]
    words += _port("qga", f"socket,path={_escaped(paths.agent)},server=on,wait=off", "org.qemu.guest_agent.0")
    words += _port("report", f"file,path={_escaped(paths.report)},append=on", "azurelab.report")
    words += _disks(spec.disks)
    words += _cards(spec, shlex.join([*relay, str(paths.metadata)]))
    if spec.custom_data is not None:
        words += ["-fw_cfg", f"name=opt/azurelab/custom-data,file={_escaped(paths.custom_data)}"]
    # spawn=deny would silently kill the metadata service's relay
    return [*words, "-sandbox", "on,obsolete=deny,resourcecontrol=deny"]


def _escaped(path: Path | str) -> str:
    """QEMU's option syntax writes a comma twice."""
    return str(path).replace(",", ",,")


def _port(name: str, backend: str, guest_name: str) -> list[str]:
    kind, _, rest = backend.partition(",")
    return ["-chardev", f"{kind},id={name},{rest}", "-device", f"virtserialport,chardev={name},name={guest_name}"]


def _disks(disks: Sequence[DiskAttachment]) -> list[str]:
    data = sorted((d for d in disks if d.lun is not None), key=lambda d: d.lun or 0)
    words: list[str] = []
    ports = root_ports(len(data))
    for number, port in enumerate(ports):
        # eight functions per slot, the first one says so
        slot, function = 0x10 + number // 8, number % 8
        more = {"multifunction": True} if function == 0 else {}
        words += _json_device(
            {"driver": "pcie-root-port", "id": port, "bus": "pcie.0", "addr": f"{slot:#x}.{function:#x}",
             "chassis": number + 1, "slot": number + 1, **more}
        )  # fmt: skip
    for disk in disks:
        words += ["-blockdev", json.dumps(block_node(disk))]
    for disk in disks:
        words += _json_device(block_device(disk, None if disk.lun is None else ports[data.index(disk)]))
    return words


def _json_device(device: dict[str, Any]) -> list[str]:
    return ["-device", json.dumps(device)]


def _cards(spec: GuestSpec, relay: str) -> list[str]:
    """The primary card reaches the metadata service on the fabric's network; the guest adds its private addresses.

    restrict=on: nothing but the forwards and the metadata service is reachable, so no guest contacts any network.
    """
    words: list[str] = []
    for number, card in enumerate(sorted(spec.nics, key=lambda nic: not nic.primary)):
        if number == 0:
            net = "net=169.254.0.0/16"
        else:  # Azure keeps .1 to .3 of every subnet for itself; slirp takes .2 and .3
            subnet = ipaddress.ip_interface(f"{card.private_ip}/{card.prefix_length}").network
            net = f"net={subnet},dhcpstart={card.private_ip}"
        option = f"user,id=net{number},{net},ipv6=off,restrict=on"
        if number == 0:
            option += f",guestfwd=tcp:169.254.169.254:80-cmd:{_escaped(relay)}"
        digits = card.mac.replace("-", "").replace(":", "").lower()
        mac = ":".join(digits[i : i + 2] for i in range(0, 12, 2))
        words += ["-netdev", option, "-device", f"virtio-net-pci,netdev=net{number},mac={mac},romfile="]
    return words

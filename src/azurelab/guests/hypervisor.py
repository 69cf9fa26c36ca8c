"""What a hypervisor is to azurelab: it runs one guest per machine from disks that azurelab serves.

`none` keeps power states only (for thousands of machines); `qemu` runs real guests. Resource types know only this.
Every verb blocks until it is true, may be repeated, and is called from worker threads, never two at once for one key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

__all__ = ["Agent", "BootFailed", "DiskAttachment", "GuestBusy", "GuestSpec", "Hypervisor", "NicAttachment", "Power"]


class Power(StrEnum):
    RUNNING = "running"
    OFF = "off"


class Agent(StrEnum):
    """What the guest agent says. ABSENT: the guest has none, or is off."""

    READY = "ready"
    NOT_READY = "not ready"
    ABSENT = "absent"


class BootFailed(Exception):
    """The guest could not be started; the text goes into the operation's error."""


class GuestBusy(Exception):
    """The running guest does not do its part: no free slot for a disk, or it does not release one."""


@dataclass(frozen=True)
class DiskAttachment:
    """One disk as the guest sees it: an NBD export on a unix socket that azurelab serves. lun None = the OS disk."""

    lun: int | None
    socket: Path
    export: str
    size_bytes: int
    read_only: bool = False


@dataclass(frozen=True)
class NicAttachment:
    """One network card with its primary IP configuration. `public_ip` is an address in 127.0.0.0/8 or None."""

    nic_id: str
    mac: str
    private_ip: str
    prefix_length: int
    public_ip: str | None
    primary: bool


@dataclass(frozen=True)
class GuestSpec:
    """All that a hypervisor needs to run one machine.

    `key` is the ARM id in lower case. `compute` is the `compute` object of the instance metadata service (name, vmId,
    location, vmSize, tagsList, publicKeys, userData …); the hypervisor serves it, `network` and scheduled events.
    `host_name` is osProfile.computerName, empty for a machine made by Attach: its guest then keeps the name that stands
    on its OS disk. `vm_id` is a UUID; a guest that sees a new one runs user data again, as cloud-init does.
    """

    key: str
    vm_id: str
    host_name: str
    disks: tuple[DiskAttachment, ...]
    nics: tuple[NicAttachment, ...]
    compute: Mapping[str, Any] = field(default_factory=dict)
    custom_data: bytes | None = None


class Hypervisor(Protocol):
    """Order for one key: start, then any of the others; `remove` at the end frees everything but the disks."""

    def start(self, spec: GuestSpec) -> None:
        """Run the guest; returns when its process lives (booting goes on). Running already is success. BootFailed."""

    def stop(self, key: str, *, graceful: bool, timeout_s: float = 60) -> None:
        """Off: by agent or ACPI when graceful, hard after `timeout_s` or when not. Off already is success."""

    def restart(self, key: str) -> None:
        """The guest boots again with its disks; returns when the boot has begun. BootFailed when it is off."""

    def power(self, key: str) -> Power:
        """As it is now: a guest that powered itself off is OFF."""

    def agent(self, key: str) -> Agent: ...

    def attach(self, key: str, disk: DiskAttachment) -> None:
        """Hot-plug a data disk into a running guest; a guest that is off needs nothing. GuestBusy."""

    def detach(self, key: str, lun: int) -> None:
        """Unplug a data disk; nothing is written to it after this returns. Not plugged is success. GuestBusy."""

    def readdress(self, spec: GuestSpec) -> None:
        """Addresses or metadata changed (public IP attached, tags set): serve the new ones to the running guest."""

    def notify_preempt(self, key: str, not_before_s: float) -> None:
        """Show a Scheduled Events `Preempt` to the guest; the eviction itself is done by the caller.

        `not_before_s` is Unix time. A pending one stays as it is; a stop clears it.
        """

    def console(self, key: str) -> bytes:
        """What the serial console printed since the last start (empty where there is none)."""

    def remove(self, key: str) -> None: ...

    def adopt(self, specs: Mapping[str, GuestSpec]) -> None:
        """After a restart of azurelab: find the guests that still run; end those not in `specs` (the machines that
        should run). One in `specs` that does not run any more is OFF, and no listener is called for it."""

    def on_power_change(self, listener: Callable[[str, Power], None]) -> None:
        """`listener(key, power)` is called from a hypervisor thread when a guest stops or starts by itself."""

    def close(self, *, stop_guests: bool) -> None:
        """End helper threads and processes; with `stop_guests` every guest of this home ends too."""

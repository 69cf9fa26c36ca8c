"""Which public ports lead into a guest: every TCP port that it listens on, at the public address of each of its cards.

Pure, apart from the two commands at the end. QEMU itself listens, so that a public address answers while azurelab is
away. A port below 1024 that this user may not open is moved up by 10000 (22 → 10022).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

from azurelab.guests.hypervisor import GuestSpec

__all__ = ["MOVED_BY", "Forward", "apply", "existing", "wanted"]

MOVED_BY = 10000


@dataclass(frozen=True, order=True)
class Forward:
    """PUBLIC:port on the host leads to private:port in the guest, through the card `netdev`."""

    netdev: str
    public_ip: str
    port: int
    private_ip: str
    guest_port: int

    def add(self) -> str:
        return f"hostfwd_add {self.netdev} tcp:{self.public_ip}:{self.port}-{self.private_ip}:{self.guest_port}"

    def remove(self) -> str:
        return f"hostfwd_remove {self.netdev} tcp:{self.public_ip}:{self.port}"


def wanted(spec: GuestSpec, ports: Collection[int]) -> set[Forward]:
    """All forwards for these listening ports; cards without a public address have none."""
    cards = sorted(spec.nics, key=lambda nic: not nic.primary)
    return {
        Forward(f"net{number}", card.public_ip, port, card.private_ip, port)
        for number, card in enumerate(cards)
        if card.public_ip
        for port in ports
    }


def existing(usernet: str) -> set[Forward]:
    """The forwards in the human monitor's `info usernet`: so they are known after a restart of azurelab too."""
    found = set()
    netdev = ""
    for line in usernet.splitlines():
        if card := re.search(r"\((\w+)\):", line):
            netdev = card.group(1)
        elif row := re.match(r"\s*TCP\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)", line):
            found.add(Forward(netdev, row.group(1), int(row.group(2)), row.group(3), int(row.group(4))))
    return found


def apply(monitor: Callable[[str], str], goal: set[Forward]) -> list[str]:
    """Make QEMU forward exactly `goal`; a complaint for each that the host refuses (address or port taken)."""
    present = existing(monitor("info usernet"))
    moved = {replace(f, port=f.port + MOVED_BY) for f in goal if f.port < 1024}
    complaints = []
    for forward in sorted(present - goal - moved):
        monitor(forward.remove())
    for forward in sorted(goal - present):
        higher = replace(forward, port=forward.port + MOVED_BY)
        if higher in present and forward.port < 1024:
            continue
        answer = monitor(forward.add())
        if answer.strip() and forward.port < 1024:
            answer = monitor(higher.add())
        if answer.strip():
            complaints.append(f"{forward.public_ip}:{forward.port}: {answer.strip()}")
    return complaints

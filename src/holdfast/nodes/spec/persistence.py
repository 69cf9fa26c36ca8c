"""persistence: what survives the machine (page 3.4). The modes are the node's later life, not how import gets disks."""

from __future__ import annotations

from typing import Literal

from holdfast.nodes.spec.base import Section

__all__ = ["Persistence"]

Mode = Literal["reattach", "onLaunch"]


class Persistence(Section):
    should_persist_os_disk: bool | None = None
    os_disk_persistence_mode: Mode | None = None
    should_persist_data_disks: bool | None = None
    data_disks_persistence_mode: Mode | None = None
    should_persist_network: bool | None = None
    should_persist_vm: bool | None = None  # gone since 2022; accepted and without effect

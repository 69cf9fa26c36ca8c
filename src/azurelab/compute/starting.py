"""What compute does when a lab starts and ends: disks opened and swept, guests found again, listeners joined."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from azurelab.arm.asgi import Mount
from azurelab.arm.store import Store
from azurelab.compute.control import BEHAVIOUR_PREFIX, add_controls
from azurelab.compute.marketplace import GUEST_IMAGE_SERVICE
from azurelab.compute.services import VM_TYPE
from azurelab.compute.virtual_machines.evicting import resume_evictions
from azurelab.compute.virtual_machines.guest import adopt_guests, boot, guest_changed_power, spec_of
from azurelab.disks.blob.routes import PREFIX
from azurelab.disks.service import DiskService
from azurelab.guests import image as guest_image
from azurelab.guests.behaviour import Behaviour
from azurelab.guests.hypervisor import Power
from azurelab.guests.none import NoGuests
from azurelab.guests.qemu import QemuGuests

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["BEHAVIOUR_SETTING", "Compute"]

BEHAVIOUR_SETTING = BEHAVIOUR_PREFIX
"""Prefix of the settings that say how a machine without a guest behaves; the rest is its id in lower case, or `*`."""

_ENDED_SETTING = "guests.ended"
"""True after a shutdown that ended the guests: they boot again, as machines do when their host comes back."""


class Compute:
    """Opens the disks at once, so that operations can be recovered; guests are looked for in `start`."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.disks = DiskService(lab.home, lab.clock.now)
        lab.services["disks"] = self.disks
        if lab.hypervisor is None:
            lab.hypervisor = (
                QemuGuests(lab.home) if lab.guests_kind == "qemu" else NoGuests(self._behaviour, lab.clock.now)
            )
        self._threads: list[threading.Thread] = []

    @property
    def mounts(self) -> list[Mount]:
        return [(PREFIX, self.disks.data_plane)]

    def _behaviour(self, key: str) -> Behaviour:
        """Asked at every look: the machine's own setting, else that for all."""
        store: Store = self._lab.store
        found = store.setting(BEHAVIOUR_SETTING + key) or store.setting(BEHAVIOUR_SETTING + "*") or {}
        return Behaviour(**found)

    def start(self) -> None:
        lab = self._lab
        add_controls(lab)
        self.disks.sweep(_named_volumes(lab.store))
        # Real guests need the image; without guests it is only used where it happens to be there.
        built = guest_image.ensure() if lab.guests_kind == "qemu" else guest_image.find()
        if built is not None:
            volume = self.disks.ensure_image(f"guest-{built.key}", built.disk)
            lab.services[GUEST_IMAGE_SERVICE] = volume.id
        self.disks.start()
        assert lab.hypervisor is not None
        lab.hypervisor.on_power_change(lambda key, power: guest_changed_power(lab, key, power))
        lab.nic_listeners.append(lambda nic_id, vm_id: _readdress(lab, vm_id))
        lab.tag_listeners.append(lambda resource_id: _readdress(lab, resource_id))
        boot_again = bool(lab.store.setting(_ENDED_SETTING, False))
        adopt_guests(lab, forgive=boot_again)
        if boot_again:
            lab.store.set_setting(_ENDED_SETTING, False)
            thread = threading.Thread(target=self._boot_again, name="azurelab-boot", daemon=True)
            self._threads.append(thread)
            thread.start()
        resume_evictions(lab)

    def _boot_again(self) -> None:
        lab = self._lab
        assert lab.hypervisor is not None
        for vm in lab.store.of_type(VM_TYPE):
            if vm.hidden.get("power") == "running" and lab.hypervisor.power(vm.key) is Power.OFF:
                boot(lab, vm)

    def stop(self, stop_guests: bool) -> None:
        lab = self._lab
        for thread in self._threads:
            thread.join()
        if stop_guests:
            lab.store.set_setting(_ENDED_SETTING, True)
        assert lab.hypervisor is not None
        lab.hypervisor.close(stop_guests=stop_guests)
        self.disks.close()


def _named_volumes(store: Store) -> set[str]:
    """Every volume that some resource's hidden part names."""
    named: set[str] = set()
    for type_name in ("Microsoft.Compute/disks", "Microsoft.Compute/snapshots", "Microsoft.Compute/images", VM_TYPE):
        for resource in store.of_type(type_name):
            hidden: dict[str, Any] = resource.hidden
            for word in ("volume", "os_volume"):
                if word in hidden:
                    named.add(str(hidden[word]))
            for word in ("volumes", "data_volumes"):
                named.update(str(v) for v in (hidden.get(word) or {}).values())
    return named


def _readdress(lab: Lab, vm_id: str) -> None:
    """A running guest hears of new addresses and tags."""
    vm = lab.store.get(vm_id)
    if vm is not None and vm.type == VM_TYPE and vm.hidden.get("power") == "running" and lab.hypervisor is not None:
        lab.hypervisor.readdress(spec_of(lab, vm))

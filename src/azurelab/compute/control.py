"""Control routes of compute: what a guest would do to its disks, and how machines without guests behave.

PUT  /azurelab/disks/write?id=ARMID&offset=N            body: the bytes, 512-aligned
PUT  /azurelab/disks/clear?id=ARMID&offset=N&length=M   a discard
GET  /azurelab/disks/read?id=ARMID&offset=N&length=M    raw bytes (disks and snapshots)
GET  /azurelab/disks/digest?id=ARMID                    {"sha256", "size", "allocated"}
PUT  /azurelab/disks/limits                             {"incrementalSnapshots": true}
POST /azurelab/vms/evict?id=ARMID[&notice=SECONDS]      as Azure would, for want of capacity
PUT  /azurelab/vms/behaviour[?id=ARMID]                 guests.behaviour.Behaviour as JSON; without id: all machines
POST /azurelab/vms/poweroff?id=ARMID                    the guest shuts itself down (`none` guests)
GET  /azurelab/vms/console?id=ARMID                     what the serial console printed
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from azurelab.arm.errors import ArmError, bad_request, not_found
from azurelab.arm.http import Call, Response
from azurelab.arm.store import Resource
from azurelab.compute.services import VM_TYPE, disks_of
from azurelab.compute.snapshots import LIMITS_SETTING
from azurelab.compute.virtual_machines.evicting import evict
from azurelab.compute.virtual_machines.guest import hypervisor_of
from azurelab.disks.errors import OutOfRange, ReadOnly
from azurelab.disks.volume import Volume
from azurelab.guests.behaviour import Behaviour
from azurelab.guests.none import NoGuests

if TYPE_CHECKING:
    from azurelab.app import Lab

__all__ = ["BEHAVIOUR_PREFIX", "add_controls"]

BEHAVIOUR_PREFIX = "behaviour:"

# One answer of `read` is held in memory whole.
_MOST_READ_BYTES = 64 << 20


def add_controls(lab: Lab) -> None:
    def write(call: Call) -> Any:
        volume = _volume(lab, call)
        with _refusals():
            volume.write(_number(call, "offset"), call.raw)
        return Response(204)

    def clear(call: Call) -> Any:
        volume = _volume(lab, call)
        with _refusals():
            volume.clear(_number(call, "offset"), _number(call, "length"))
        return Response(204)

    def read(call: Call) -> Any:
        volume, length = _volume(lab, call), _number(call, "length")
        if length > _MOST_READ_BYTES:
            raise bad_request("InvalidParameter", f"at most {_MOST_READ_BYTES} bytes at once", "length")
        with _refusals():
            data = bytes(volume.read(_number(call, "offset"), length))
        return Response(200, data, {"Content-Type": "application/octet-stream"})

    def digest(call: Call) -> Any:
        volume = _volume(lab, call)
        return {"sha256": volume.digest(), "size": volume.size_bytes, "allocated": volume.allocated_bytes()}

    def limits(call: Call) -> Any:
        lab.store.set_setting(LIMITS_SETTING, bool(call.object.get("incrementalSnapshots")))

    def evict_now(call: Call) -> Any:
        vm = _machine(lab, call)
        notice = call.query.get("notice")
        evict(lab, vm.id, notice_s=None if notice is None else float(notice))

    def behave(call: Call) -> Any:
        known = {f.name for f in fields(Behaviour)}
        unknown = set(call.object) - known
        if unknown:
            raise bad_request(
                "InvalidParameter", f"not a behaviour: {', '.join(sorted(unknown))}; known: {sorted(known)}"
            )
        key = call.query.get("id", "*").lower()
        lab.store.set_setting(BEHAVIOUR_PREFIX + key, call.object or None)

    def power_off(call: Call) -> Any:
        vm, hypervisor = _machine(lab, call), hypervisor_of(lab)
        if not isinstance(hypervisor, NoGuests):
            raise bad_request("InvalidParameter", "A real guest powers itself off; tell it so.", "id")
        hypervisor.power_off_from_inside(vm.key)

    def console(call: Call) -> Any:
        vm = _machine(lab, call)
        return Response(200, hypervisor_of(lab).console(vm.key), {"Content-Type": "text/plain; charset=utf-8"})

    lab.control.add("PUT", "/azurelab/disks/write", write)
    lab.control.add("PUT", "/azurelab/disks/clear", clear)
    lab.control.add("GET", "/azurelab/disks/read", read)
    lab.control.add("GET", "/azurelab/disks/digest", digest)
    lab.control.add("PUT", "/azurelab/disks/limits", limits)
    lab.control.add("POST", "/azurelab/vms/evict", evict_now)
    lab.control.add("PUT", "/azurelab/vms/behaviour", behave)
    lab.control.add("POST", "/azurelab/vms/poweroff", power_off)
    lab.control.add("GET", "/azurelab/vms/console", console)


class _refusals:  # noqa: N801  a context manager that reads as a phrase
    """The store's refusals as answers."""

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, exc: BaseException | None, trace: object) -> None:
        if isinstance(exc, OutOfRange):
            raise ArmError(400, "OutOfRange", str(exc)) from exc
        if isinstance(exc, ReadOnly):
            raise ArmError(409, "ReadOnly", "A snapshot cannot be written.") from exc


def _volume(lab: Lab, call: Call) -> Volume:
    resource_id = call.query.get("id", "")
    found = lab.store.get(resource_id)
    if found is None or "volume" not in found.hidden:
        raise not_found(resource_id or "id", None)
    return disks_of(lab).store.get(str(found.hidden["volume"]))


def _machine(lab: Lab, call: Call) -> Resource:
    found = lab.store.get(call.query.get("id", ""))
    if found is None or found.type != VM_TYPE:
        raise not_found(call.query.get("id", "id"), None)
    return found


def _number(call: Call, name: str) -> int:
    text = call.query.get(name, "")
    if not text.isdigit():
        raise bad_request("InvalidParameter", f"The query parameter '{name}' must be a whole number of bytes.", name)
    return int(text)

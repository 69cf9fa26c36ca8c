"""Small typed views: where in a document the things stand that this client looks at."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from holdfast.clouds.documents import Document
from holdfast.clouds.protocols import Agent, Power

__all__ = ["Nic", "Vm", "agent_of", "is_generalized", "power_of"]

_POWER = {
    "running": Power.RUNNING,
    "stopped": Power.STOPPED,
    "deallocated": Power.DEALLOCATED,
    "starting": Power.CHANGING,
    "stopping": Power.CHANGING,
    "deallocating": Power.CHANGING,
}


class Vm:
    """A virtual machine's document."""

    @staticmethod
    def size(vm: Document) -> str:
        return str(vm.get("properties.hardwareProfile.vmSize", ""))

    @staticmethod
    def priority(vm: Document) -> str:
        """Regular or Spot; Azure's older word Low is Spot's forerunner and stays as it is."""
        return str(vm.get("properties.priority", "Regular"))

    @staticmethod
    def os_disk(vm: Document) -> dict[str, Any]:
        return dict(vm.get("properties.storageProfile.osDisk", {}))

    @staticmethod
    def data_disks(vm: Document) -> list[dict[str, Any]]:
        """By lun."""
        return sorted(vm.get("properties.storageProfile.dataDisks", []), key=lambda disk: int(disk.get("lun", 0)))

    @staticmethod
    def os(vm: Document) -> str:
        return str(Vm.os_disk(vm).get("osType") or ("Windows" if _has_windows(vm) else "Linux"))

    @staticmethod
    def nic_refs(vm: Document) -> list[str]:
        """Primary first, then in the machine's order."""
        cards = list(vm.get("properties.networkProfile.networkInterfaces", []))
        cards.sort(key=lambda card: not (card.get("properties") or {}).get("primary"))
        return [str(card["id"]) for card in cards if card.get("id")]

    @staticmethod
    def zones(vm: Document) -> tuple[str, ...]:
        return tuple(str(zone) for zone in vm.body.get("zones") or ())

    @staticmethod
    def system_identity(vm: Document) -> str | None:
        """The principal id of the system-assigned identity; "" where it has one that does not show its id."""
        identity = vm.body.get("identity") or {}
        if "systemassigned" not in str(identity.get("type", "")).replace(" ", "").lower():
            return None
        return str(identity.get("principalId") or "")


class Nic:
    """A network interface's document."""

    @staticmethod
    def configurations(nic: Document) -> list[dict[str, Any]]:
        """The properties of its ip configurations, the primary one first."""
        found = [dict(one.get("properties") or {}) for one in nic.get("properties.ipConfigurations", [])]
        return sorted(found, key=lambda one: not one.get("primary"))

    @staticmethod
    def private_ip(nic: Document) -> str | None:
        return next((str(c["privateIPAddress"]) for c in Nic.configurations(nic) if c.get("privateIPAddress")), None)

    @staticmethod
    def public_ip_refs(nic: Document) -> list[str]:
        addresses = [c.get("publicIPAddress") or {} for c in Nic.configurations(nic)]
        return [str(address["id"]) for address in addresses if address.get("id")]


def _has_windows(vm: Document) -> bool:
    return vm.get("properties.osProfile.windowsConfiguration") is not None


def _codes(view: Mapping[str, Any] | None) -> Iterable[str]:
    return [str(status.get("code", "")) for status in (view or {}).get("statuses") or ()]


def power_of(view: Mapping[str, Any] | None) -> Power:
    """From an instance view. UNKNOWN where it names no power state: a machine that Azure is still making, or lost."""
    for code in _codes(view):
        kind, _, state = code.partition("/")
        if kind.lower() == "powerstate":
            return _POWER.get(state.lower(), Power.UNKNOWN)
    return Power.UNKNOWN


def agent_of(view: Mapping[str, Any] | None) -> Agent:
    """READY only where the guest agent says so. ABSENT: no agent ever reported, or the machine is deallocated."""
    agent = (view or {}).get("vmAgent")
    if not agent:
        return Agent.ABSENT
    shown = [str(status.get("displayStatus", "")).lower() for status in agent.get("statuses") or ()]
    return Agent.READY if "ready" in shown else Agent.NOT_READY


def is_generalized(view: Mapping[str, Any] | None) -> bool:
    return any(code.lower() == "osstate/generalized" for code in _codes(view))

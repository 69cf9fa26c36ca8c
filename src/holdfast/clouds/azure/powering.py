"""Power as a level: read the state, do what leads to the level, read again. A lost answer is one more state to read."""

from __future__ import annotations

from holdfast.clouds.azure.arm import ATTEMPTS, Arm
from holdfast.clouds.azure.errors import LostAnswer
from holdfast.clouds.azure.reading import Reader
from holdfast.clouds.azure.versions import version_for
from holdfast.clouds.azure.waiting import Waiter
from holdfast.clouds.errors import CloudError, CloudUnavailable
from holdfast.clouds.protocols import Call, Power, PowerLevel
from holdfast.core.clock import Clock

__all__ = ["Switch", "next_action"]

_LEVELS = {
    PowerLevel.RUNNING: Power.RUNNING,
    PowerLevel.STOPPED: Power.STOPPED,
    PowerLevel.DEALLOCATED: Power.DEALLOCATED,
}
_DOING = {"start": "starting", "powerOff": "stopping", "deallocate": "deallocating"}


def next_action(power: Power, level: PowerLevel) -> str | None:
    """The POST that leads from a settled state towards the level; None when the level is reached.

    From deallocated to stopped the way leads over running: Azure gives hardware only to a machine that starts.
    An unknown state is brought to the level by the level's own action, which Azure takes in any state.
    """
    if power is _LEVELS[level]:
        return None
    if level is PowerLevel.RUNNING or (level is PowerLevel.STOPPED and power is Power.DEALLOCATED):
        return "start"
    return "powerOff" if level is PowerLevel.STOPPED else "deallocate"


class Switch:
    def __init__(self, arm: Arm, reader: Reader, waiter: Waiter, clock: Clock) -> None:
        self._arm = arm
        self._reader = reader
        self._waiter = waiter
        self._clock = clock

    def power(self, call: Call, machine: str, level: PowerLevel) -> None:
        name = machine.rsplit("/", 1)[-1]
        last: CloudError | None = None
        for attempt in range(ATTEMPTS):
            power = self._reader.power_of(machine)[0]
            if power is Power.CHANGING:
                self._waiter.until(call, machine, f"waiting for machine {name}", lambda: self._is_settled(machine))
                power = self._reader.power_of(machine)[0]
            action = next_action(power, level)
            if action is None:
                return
            path = f"{machine}/{action}?api-version={version_for(machine)}"
            if action == "powerOff":
                path += "&skipShutdown=false"
            try:
                answer = self._arm.change(call, "POST", path)
                self._waiter.finish(call, answer, machine, f"{_DOING[action]} machine {name}")
            except LostAnswer as exc:
                last = exc
                call.check()
                self._clock.sleep(self._arm.first_wait_s * 2**attempt)
        if next_action(self._reader.power_of(machine)[0], level) is not None:
            raise last or CloudUnavailable(
                cloud_code="PowerLevel", message=f"it is not {level} after {ATTEMPTS} tries", ref=machine
            )

    def _is_settled(self, machine: str) -> bool:
        return self._reader.power_of(machine)[0] is not Power.CHANGING

"""Every verb from every power state."""

from __future__ import annotations

import pytest

from azurelab.compute.virtual_machines.powering import Refused, next_power

POWERS = ("starting", "running", "stopping", "stopped", "deallocating", "deallocated")
TABLE = {
    "start": dict.fromkeys(POWERS, "running"),
    "powerOff": {**dict.fromkeys(POWERS[:4], "stopped"), "deallocating": "deallocating", "deallocated": "deallocated"},
    "deallocate": dict.fromkeys(POWERS, "deallocated"),
    "restart": {**dict.fromkeys(POWERS[:4], "running"), "deallocating": None, "deallocated": None},
    "redeploy": {power: power for power in POWERS},
    "reapply": {power: power for power in POWERS},
    "generalize": {**{power: power for power in POWERS}, "starting": None, "running": None},
}


@pytest.mark.parametrize("verb", TABLE)
@pytest.mark.parametrize("power", POWERS)
def test_each_verb_from_each_power_state_ends_where_azure_ends_or_is_refused(verb: str, power: str) -> None:
    wanted = TABLE[verb][power]

    if wanted is None:
        with pytest.raises(Refused):
            next_power(power, verb)
    else:
        assert next_power(power, verb) == wanted

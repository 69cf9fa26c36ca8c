"""What a credential may do, from Azure's effective permissions at a scope."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = ["NEEDED", "missing"]

_COMPUTE, _NETWORK = "Microsoft.Compute", "Microsoft.Network"

# What imports and nodes do, action by action: `cloud check` shows those that are missing.
NEEDED = (
    f"{_COMPUTE}/virtualMachines/read",
    f"{_COMPUTE}/virtualMachines/write",
    f"{_COMPUTE}/virtualMachines/delete",
    f"{_COMPUTE}/virtualMachines/start/action",
    f"{_COMPUTE}/virtualMachines/powerOff/action",
    f"{_COMPUTE}/virtualMachines/deallocate/action",
    f"{_COMPUTE}/virtualMachines/instanceView/read",
    f"{_COMPUTE}/virtualMachines/extensions/read",
    f"{_COMPUTE}/disks/read",
    f"{_COMPUTE}/disks/write",
    f"{_COMPUTE}/disks/delete",
    f"{_COMPUTE}/snapshots/read",
    f"{_COMPUTE}/snapshots/write",
    f"{_COMPUTE}/snapshots/delete",
    f"{_COMPUTE}/skus/read",
    f"{_COMPUTE}/locations/usages/read",
    f"{_NETWORK}/networkInterfaces/read",
    f"{_NETWORK}/networkInterfaces/write",
    f"{_NETWORK}/networkInterfaces/delete",
    f"{_NETWORK}/networkInterfaces/join/action",
    f"{_NETWORK}/publicIPAddresses/read",
    f"{_NETWORK}/publicIPAddresses/write",
    f"{_NETWORK}/publicIPAddresses/delete",
    f"{_NETWORK}/publicIPAddresses/join/action",
    f"{_NETWORK}/virtualNetworks/subnets/join/action",
    f"{_NETWORK}/networkSecurityGroups/join/action",
    "Microsoft.Resources/tags/read",
    "Microsoft.Resources/tags/write",
    "Microsoft.Authorization/locks/read",
)


def missing(grants: Iterable[Mapping[str, Any]], actions: Sequence[str]) -> tuple[str, ...]:
    """Those of `actions` that none of the grants allows.

    Each grant is one role: it allows what matches its `actions` and none of its `notActions`. A notAction takes nothing
    from another role. `*` stands for any text, slashes included; case does not matter.
    """
    rules = [(_patterns(grant.get("actions")), _patterns(grant.get("notActions"))) for grant in grants]
    return tuple(
        action for action in actions if not any(_any(allow, action) and not _any(deny, action) for allow, deny in rules)
    )


def _patterns(texts: Iterable[str] | None) -> list[re.Pattern[str]]:
    return [re.compile(".*".join(map(re.escape, text.split("*"))), re.IGNORECASE) for text in texts or ()]


def _any(patterns: Iterable[re.Pattern[str]], action: str) -> bool:
    return any(pattern.fullmatch(action) for pattern in patterns)

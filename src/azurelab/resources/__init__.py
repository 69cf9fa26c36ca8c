"""Resource groups, locks, tags, providers, deployments, SKUs, usages, prices: what belongs to no single provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.rooms import Room


def open_room(lab: Lab) -> Room:
    from azurelab.resources.groups import GROUPS, group_routes
    from azurelab.resources.locks import LOCKS
    from azurelab.rooms import Room

    return Room(types=[GROUPS, LOCKS], routes=group_routes(lab))

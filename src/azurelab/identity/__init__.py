"""Who calls: token endpoint, openid configuration, cloud metadata, subscriptions, tenants, certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.rooms import Room


def open_room(lab: Lab) -> Room:
    from azurelab.identity.endpoints import identity_routes
    from azurelab.rooms import Room

    return Room(routes=identity_routes(lab))

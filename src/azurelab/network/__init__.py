"""Virtual networks, cards, public addresses, security groups, load balancers. Packets flow in guests/, not here."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.rooms import Room


def open_room(lab: Lab) -> Room:
    from azurelab.network import (
        application_gateways,
        inner,
        interfaces,
        load_balancers,
        lookups,
        public_ips,
        routing_tables,
        security_groups,
        virtual_networks,
    )
    from azurelab.rooms import Room

    modules = (
        virtual_networks,
        interfaces,
        public_ips,
        security_groups,
        load_balancers,
        application_gateways,
        routing_tables,
    )
    routes = [*inner.inner_routes(lab), *lookups.lookup_routes(lab)]
    return Room(types=[t for module in modules for t in module.TYPES], routes=routes)

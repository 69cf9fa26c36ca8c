"""Resource groups, locks, tags, providers, deployments, SKUs, usages, prices: what belongs to no single provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azurelab.app import Lab
    from azurelab.rooms import Room


def open_room(lab: Lab) -> Room:
    from azurelab.resources import (
        authorization,
        deployments,
        groups,
        listing,
        locks,
        offers,
        prices,
        providers,
        storage,
        tag_names,
        tags,
    )
    from azurelab.rooms import Room

    return Room(
        types=[groups.GROUPS, locks.LOCKS, authorization.ASSIGNMENTS, deployments.DEPLOYMENTS, storage.ACCOUNTS],
        routes=[
            *groups.group_routes(lab),
            *providers.provider_routes(lab),
            *offers.offer_routes(lab),
            *prices.price_routes(lab),
            *listing.listing_routes(lab),
            *deployments.deployment_routes(lab),
            *tag_names.tag_name_routes(lab),
            *storage.storage_routes(lab),
        ],
        scoped={
            "microsoft.resources/tags": tags.tags_endpoint(lab),
            "microsoft.authorization/permissions": authorization.permissions_endpoint(lab),
            "microsoft.authorization/roledefinitions": authorization.definitions_endpoint(lab),
        },
    )

"""Microsoft.Network/routeTables, routes and natGateways: data that subnets refer to; packets take the host's routes."""

from __future__ import annotations

import uuid
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource
from azurelab.arm.types import NETWORK, Etags, Field, Lro, ResourceType, Verb
from azurelab.network.errors import NetworkError
from azurelab.network.parts import absorb, embedded
from azurelab.network.spelling import SPELLING

__all__ = ["TYPES"]

_TABLE, _ROUTE = "Microsoft.Network/routeTables", "Microsoft.Network/routeTables/routes"


def _complete_route(ctx: Context, route: Resource, before: Resource | None) -> None:
    route.properties.setdefault("hasBgpOverride", False)


def _prepare_route(ctx: Context) -> None:
    _complete_route(ctx, ctx.resource, ctx.before)


def _prepare(ctx: Context) -> None:
    p = ctx.resource.properties
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    if ctx.type.name == _TABLE:
        p.setdefault("disableBgpRoutePropagation", False)
        absorb(ctx, "routes", _ROUTE, _complete_route, lambda c, r: None)
    else:
        p.setdefault("idleTimeoutInMinutes", 4)
        ctx.resource.doc.setdefault("sku", {"name": "Standard", "tier": "Regional"})


def _view(ctx: Context, resource: Resource) -> dict[str, Any]:
    etag = ctx.lab.arm.etag(ctx.type, resource)
    users = [{"id": r.id} for r in ctx.store.referring(resource.id) if r.type.endswith("/subnets")]
    properties = {**resource.properties, **({"subnets": users} if users else {})}
    if resource.type == _TABLE:
        properties["routes"] = embedded(ctx, resource, _ROUTE, etag, None)
    return {**resource.doc, "properties": properties}


def _refuse_used(ctx: Context) -> None:
    users = ctx.store.referring(ctx.id.text)
    if users:
        kind = "RouteTable" if ctx.type.name == _TABLE else "NatGateway"
        raise NetworkError(
            400,
            f"InUse{kind}CannotBeDeleted",
            f"{kind} {ctx.resource.id} is in use and cannot be deleted. Subnets that use it: {users[0].id}.",
        )


def _drop_routes(ctx: Context) -> None:
    for child in ctx.store.children(ctx.id.text):
        ctx.remove(child.id)


def _type(name: str) -> ResourceType:
    return ResourceType(
        name=name,
        flavor=NETWORK,
        put=Verb(lro=Lro.AAO, seconds=3, quick=True, prepare=_prepare, state="Updating"),
        patch=Verb(existing=200, quick=True, prepare=_prepare),
        delete=Verb(
            existing=202, lro=Lro.BOTH, seconds=4, quick=True, prepare=_refuse_used, finish=_drop_routes, empty=True
        ),
        etags=Etags.WEAK,
        readonly=("properties.resourceGuid", "properties.provisioningState", "properties.subnets"),
        body_error="InvalidRequestFormat",
        spelling=SPELLING,
        view=_view,
        delete_order=77,
    )


_ROUTES = ResourceType(
    name=_ROUTE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=3, quick=True, prepare=_prepare_route, state="Updating"),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=4, quick=True, empty=True),
    etags=Etags.WEAK,
    parent_etag=True,
    located=False,
    in_resources_list=False,
    readonly=("properties.provisioningState",),
    fields=(
        Field(
            path="properties.nextHopType",
            values=("VirtualNetworkGateway", "VnetLocal", "Internet", "VirtualAppliance", "None"),
        ),
    ),
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    delete_order=76,
)

TYPES = (_type(_TABLE), _ROUTES, _type("Microsoft.Network/natGateways"))

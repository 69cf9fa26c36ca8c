"""Microsoft.Network/applicationGateways: kept as data. Backend health tells what the guests' cards say: a server is Up
when its machine runs, for no probe is sent."""

from __future__ import annotations

import uuid
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource
from azurelab.arm.types import NETWORK, Etags, Lro, ResourceType, Verb
from azurelab.network.interfaces import NIC_TYPE, configurations
from azurelab.network.load_balancers import frontend_refs, frontends, give_public
from azurelab.network.parts import decorate
from azurelab.network.spelling import SPELLING

__all__ = ["TYPES"]

_LISTS = (
    "gatewayIPConfigurations",
    "sslCertificates",
    "trustedRootCertificates",
    "trustedClientCertificates",
    "sslProfiles",
    "authenticationCertificates",
    "frontendPorts",
    "backendAddressPools",
    "backendHttpSettingsCollection",
    "httpListeners",
    "urlPathMaps",
    "requestRoutingRules",
    "probes",
    "rewriteRuleSets",
    "redirectConfigurations",
    "privateLinkConfigurations",
)
# (list whose entries are shown, under which word, list whose entries refer to them, by which words)
_BACK = (
    ("frontendIPConfigurations", "httpListeners", "httpListeners", ("frontendIPConfiguration",)),
    ("frontendPorts", "httpListeners", "httpListeners", ("frontendPort",)),
    ("httpListeners", "requestRoutingRules", "requestRoutingRules", ("httpListener",)),
    ("backendAddressPools", "requestRoutingRules", "requestRoutingRules", ("backendAddressPool",)),
    ("backendHttpSettingsCollection", "requestRoutingRules", "requestRoutingRules", ("backendHttpSettings",)),
)


def _prepare(ctx: Context) -> None:
    gateway = ctx.resource
    p = gateway.properties
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    p.setdefault("operationalState", "Stopped" if ctx.is_new else "Running")
    p["frontendIPConfigurations"] = frontends(ctx, gateway)
    for word in _LISTS:
        p[word] = decorate(gateway, word, p.get(word))
    for setting in p["backendHttpSettingsCollection"]:
        q = setting["properties"]
        q.setdefault("cookieBasedAffinity", "Disabled")
        q.setdefault("pickHostNameFromBackendAddress", False)
        q.setdefault("requestTimeout", 30)
    for listener in p["httpListeners"]:
        listener["properties"].setdefault("hostNames", [])
        listener["properties"].setdefault("requireServerNameIndication", False)
    for pool in p["backendAddressPools"]:
        pool["properties"].setdefault("backendAddresses", [])


def _finish(ctx: Context) -> None:
    with ctx.edit() as gateway:
        gateway.properties["operationalState"] = "Running"
    give_public(ctx)


def _view(ctx: Context, gateway: Resource) -> dict[str, Any]:
    etag = ctx.lab.arm.etag(GATEWAYS, gateway)
    p = {**gateway.properties}
    for word in ("frontendIPConfigurations", *_LISTS):
        p[word] = [{**i, "etag": etag} for i in p.get(word) or ()]
    for shown, under, holders, words in _BACK:
        for entry in p[shown]:
            back = [
                {"id": h["id"]}
                for h in p[holders]
                for w in words
                if str((h["properties"].get(w) or {}).get("id", "")).lower() == entry["id"].lower()
            ]
            if back:
                entry["properties"] = {**entry["properties"], under: back}
    return {**gateway.doc, "properties": p}


def _power(state: str) -> Any:
    def finish(ctx: Context) -> None:
        with ctx.edit() as gateway:
            gateway.properties["operationalState"] = state
        ctx.log("power", state=state)

    return finish


def _health(ctx: Context) -> dict[str, Any]:
    """Every address of every pool with every setting; Up where a running machine's card has it."""
    p = ctx.resource.properties
    up = {
        c["properties"].get("privateIPAddress"): c["id"]
        for nic in ctx.store.of_type(NIC_TYPE)
        if nic.hidden.get("up")
        for c in configurations(nic)
    }
    pools = []
    for pool in p["backendAddressPools"]:
        servers = []
        for address in pool["properties"].get("backendAddresses") or ():
            where = address.get("ipAddress") or address.get("fqdn")
            server = {"address": where, "health": "Up" if where in up else "Unhealthy"}
            if where in up:
                server["ipConfiguration"] = {"id": up[where]}
            servers.append(server)
        pools.append(
            {
                "backendAddressPool": {"id": pool["id"]},
                "backendHttpSettingsCollection": [
                    {"backendHttpSettings": {"id": s["id"]}, "servers": servers}
                    for s in p["backendHttpSettingsCollection"]
                ],
            }
        )
    return {"backendAddressPools": pools}


GATEWAYS = ResourceType(
    name="Microsoft.Network/applicationGateways",
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=300, quick=True, prepare=_prepare, finish=_finish, state="Updating"),
    patch=Verb(existing=200, quick=True, prepare=_prepare),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=60, quick=True, empty=True),
    actions={
        "start": Verb(existing=202, lro=Lro.BOTH, seconds=60, quick=True, finish=_power("Running"), empty=True),
        "stop": Verb(existing=202, lro=Lro.BOTH, seconds=60, quick=True, finish=_power("Stopped"), empty=True),
        "backendhealth": Verb(existing=202, lro=Lro.LOC, seconds=3, quick=True, result=_health, empty=True),
    },
    etags=Etags.WEAK,
    readonly=("properties.resourceGuid", "properties.provisioningState", "properties.operationalState"),
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    view=_view,
    refs=frontend_refs,
    delete_order=40,
)

TYPES = (GATEWAYS,)

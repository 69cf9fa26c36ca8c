"""Microsoft.Network/networkSecurityGroups, their rules, and applicationSecurityGroups: data that filters no packet."""

from __future__ import annotations

import uuid
from typing import Any

from azurelab.arm.context import Context
from azurelab.arm.store import Resource
from azurelab.arm.types import NETWORK, Etags, Lro, ResourceType, Verb
from azurelab.network.errors import NetworkError
from azurelab.network.fields import ANY as ANY_FIELDS
from azurelab.network.fields import RULE as RULE_FIELDS
from azurelab.network.fields import RULES as GROUP_FIELDS
from azurelab.network.parts import absorb, embedded
from azurelab.network.spelling import SPELLING

__all__ = ["ASG_TYPE", "NSG_TYPE", "RULE_TYPE", "TYPES"]

NSG_TYPE = "Microsoft.Network/networkSecurityGroups"
RULE_TYPE = "Microsoft.Network/networkSecurityGroups/securityRules"
ASG_TYPE = "Microsoft.Network/applicationSecurityGroups"
_LISTS = ("sourcePortRanges", "destinationPortRanges", "sourceAddressPrefixes", "destinationAddressPrefixes")

# name, description, source, destination, access, priority, direction
_DEFAULTS = (
    (
        "AllowVnetInBound",
        "Allow inbound traffic from all VMs in VNET",
        "VirtualNetwork",
        "VirtualNetwork",
        "Allow",
        65000,
        "Inbound",
    ),
    (
        "AllowAzureLoadBalancerInBound",
        "Allow inbound traffic from azure load balancer",
        "AzureLoadBalancer",
        "*",
        "Allow",
        65001,
        "Inbound",
    ),
    ("DenyAllInBound", "Deny all inbound traffic", "*", "*", "Deny", 65500, "Inbound"),
    (
        "AllowVnetOutBound",
        "Allow outbound traffic from all VMs to all VMs in VNET",
        "VirtualNetwork",
        "VirtualNetwork",
        "Allow",
        65000,
        "Outbound",
    ),
    (
        "AllowInternetOutBound",
        "Allow outbound traffic from all VMs to Internet",
        "*",
        "Internet",
        "Allow",
        65001,
        "Outbound",
    ),
    ("DenyAllOutBound", "Deny all outbound traffic", "*", "*", "Deny", 65500, "Outbound"),
)


def _default_rules(nsg: Resource, etag: str) -> list[dict[str, Any]]:
    state = nsg.properties.get("provisioningState", "Succeeded")
    return [
        {
            "name": name,
            "id": f"{nsg.id}/defaultSecurityRules/{name}",
            "etag": etag,
            "type": f"{NSG_TYPE}/defaultSecurityRules",
            "properties": {
                "provisioningState": state,
                "description": description,
                "protocol": "*",
                "sourcePortRange": "*",
                "destinationPortRange": "*",
                "sourceAddressPrefix": source,
                "destinationAddressPrefix": destination,
                "access": access,
                "priority": priority,
                "direction": direction,
                **{word: [] for word in _LISTS},
            },
        }
        for name, description, source, destination, access, priority, direction in _DEFAULTS
    ]


def _complete_rule(ctx: Context, rule: Resource, before: Resource | None) -> None:
    p = rule.properties
    priority = p.get("priority")
    if not isinstance(priority, int) or not 100 <= priority <= 4096:
        raise NetworkError(
            400,
            "SecurityRuleInvalidPriority",
            f"Security rule has invalid Priority. Value provided: {priority} Allowed range 100-4096.",
        )
    for word in ("protocol", "access", "direction"):
        if not isinstance(p.get(word), str):
            raise NetworkError(
                400,
                "SecurityRuleParameterContainsUnsupportedValue",
                f"Required security rule parameters are missing for security rule with Id: {rule.id}. Security rule "
                f"must specify {word}.",
            )
    parent = rule.id.rsplit("/securityRules/", 1)[0]
    for other in ctx.store.children(parent, RULE_TYPE):
        q = other.properties
        if other.key != rule.key and q["priority"] == priority and q["direction"].lower() == p["direction"].lower():
            raise NetworkError(
                400,
                "SecurityRuleConflict",
                f"Security rule {rule.name} conflicts with rule {other.name}. Rules cannot have the same Priority and "
                f"Direction.",
            )
    for word in _LISTS:
        p.setdefault(word, [])


def _prepare_rule(ctx: Context) -> None:
    _complete_rule(ctx, ctx.resource, ctx.before)


def _prepare(ctx: Context) -> None:
    p = ctx.resource.properties
    p.setdefault("resourceGuid", str(uuid.uuid4()))
    p.pop("defaultSecurityRules", None)
    absorb(ctx, "securityRules", RULE_TYPE, _complete_rule, lambda c, r: None)


def _view(ctx: Context, nsg: Resource) -> dict[str, Any]:
    etag = ctx.lab.arm.etag(NSGS, nsg)
    users = ctx.store.referring(nsg.id)
    cards = [{"id": r.id} for r in users if r.type.endswith("/networkInterfaces")]
    subnets = [{"id": r.id} for r in users if r.type.endswith("/subnets")]
    return {
        **nsg.doc,
        "properties": {
            **nsg.properties,
            "securityRules": embedded(ctx, nsg, RULE_TYPE, etag, None),
            "defaultSecurityRules": _default_rules(nsg, etag),
            **({"networkInterfaces": cards} if cards else {}),
            **({"subnets": subnets} if subnets else {}),
        },
    }


def _refuse_used(ctx: Context) -> None:
    users = ctx.store.referring(ctx.id.text)
    if users:
        kind = "NetworkSecurityGroup" if ctx.type.name == NSG_TYPE else "ApplicationSecurityGroup"
        words = "Network security group" if ctx.type.name == NSG_TYPE else "Application security group"
        raise NetworkError(
            400,
            f"InUse{kind}CannotBeDeleted",
            f"{words} {ctx.resource.id} cannot be deleted because it is in use by the following resources: "
            f"{', '.join(r.id for r in users)}. In order to delete the {words}, remove the association with the "
            f"resource(s). To learn how to do this, see aka.ms/deletensg.",
        )


def _drop_rules(ctx: Context) -> None:
    for child in ctx.store.children(ctx.id.text):
        ctx.remove(child.id)


NSGS = ResourceType(
    name=NSG_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=4, quick=True, prepare=_prepare, state="Updating"),
    patch=Verb(existing=200, quick=True, prepare=_prepare),
    delete=Verb(
        existing=202, lro=Lro.BOTH, seconds=10, quick=True, prepare=_refuse_used, finish=_drop_rules, empty=True
    ),
    etags=Etags.WEAK,
    readonly=(
        "properties.resourceGuid",
        "properties.provisioningState",
        "properties.networkInterfaces",
        "properties.subnets",
    ),
    fields=GROUP_FIELDS,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    view=_view,
    delete_order=75,
)

RULES = ResourceType(
    name=RULE_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=4, quick=True, prepare=_prepare_rule, state="Updating"),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=10, quick=True, empty=True),
    etags=Etags.WEAK,
    parent_etag=True,
    located=False,
    in_resources_list=False,
    readonly=("properties.provisioningState",),
    fields=RULE_FIELDS,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    delete_order=74,
)


def _prepare_asg(ctx: Context) -> None:
    ctx.resource.properties.setdefault("resourceGuid", str(uuid.uuid4()))


ASGS = ResourceType(
    name=ASG_TYPE,
    flavor=NETWORK,
    put=Verb(lro=Lro.AAO, seconds=2, quick=True, prepare=_prepare_asg, state="Updating"),
    patch=Verb(existing=200, quick=True, prepare=_prepare_asg),
    delete=Verb(existing=202, lro=Lro.BOTH, seconds=4, quick=True, prepare=_refuse_used, empty=True),
    etags=Etags.WEAK,
    readonly=("properties.resourceGuid", "properties.provisioningState"),
    fields=ANY_FIELDS,
    body_error="InvalidRequestFormat",
    spelling=SPELLING,
    delete_order=76,
)

TYPES = (NSGS, RULES, ASGS)

"""ARM resources as documents: what tells them apart, which fields are read-only, whether one is as it was asked.

Pure: no I/O. Paths are dotted; `*` stands for every element of a list or every key of an object.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from datetime import datetime
from typing import Any

from holdfast.clouds.azure.ids import parse_id
from holdfast.clouds.documents import Document

__all__ = ["as_request", "document_of", "identity_of", "satisfies", "tag"]

# What tells a resource from a later one of the same name. Types without a line have nothing of that kind.
_IDENTITY = {
    "microsoft.compute/virtualmachines": "vmId",
    "microsoft.compute/disks": "uniqueId",
    "microsoft.compute/snapshots": "uniqueId",
    "microsoft.compute/galleries": "uniqueId",
    "microsoft.network/networkinterfaces": "resourceGuid",
    "microsoft.network/publicipaddresses": "resourceGuid",
    "microsoft.network/virtualnetworks": "resourceGuid",
    "microsoft.network/networksecuritygroups": "resourceGuid",
    "microsoft.network/applicationsecuritygroups": "resourceGuid",
    "microsoft.network/loadbalancers": "resourceGuid",
}

# Read-only, whatever the type.
_EVERYWHERE = (
    "id",
    "name",
    "type",
    "etag",
    "systemData",
    "properties.provisioningState",
    "properties.resourceGuid",
    "properties.uniqueId",
    "identity.principalId",
    "identity.tenantId",
    "identity.userAssignedIdentities.*.principalId",
    "identity.userAssignedIdentities.*.clientId",
)

_READ_ONLY: dict[str, tuple[str, ...]] = {
    "microsoft.compute/virtualmachines": (
        "resources",
        "properties.vmId",
        "properties.instanceView",
        "properties.timeCreated",
        "properties.storageProfile.imageReference.exactVersion",
        "properties.storageProfile.dataDisks.*.diskIOPSReadWrite",
        "properties.storageProfile.dataDisks.*.diskMBpsReadWrite",
    ),
    "microsoft.compute/virtualmachines/extensions": ("properties.instanceView",),
    "microsoft.compute/disks": (
        "managedBy",
        "managedByExtended",
        "sku.tier",
        "properties.isArmResource",
        "properties.timeCreated",
        "properties.diskState",
        "properties.diskSizeBytes",
        "properties.propertyUpdatesInProgress",
        "properties.shareInfo",
        "properties.LastOwnershipUpdateTime",
        "properties.completionPercent",
        "properties.creationData.sourceUniqueId",
    ),
    "microsoft.compute/snapshots": (
        "managedBy",
        "sku.tier",
        "properties.isArmResource",
        "properties.timeCreated",
        "properties.diskState",
        "properties.diskSizeBytes",
        "properties.completionPercent",
        "properties.copyCompletionError",
        "properties.snapshotAccessState",
        "properties.incrementalSnapshotFamilyId",
        "properties.creationData.sourceUniqueId",
    ),
    "microsoft.network/networkinterfaces": (
        "properties.macAddress",
        "properties.primary",
        "properties.virtualMachine",
        "properties.privateEndpoint",
        "properties.privateLinkService",
        "properties.hostedWorkloads",
        "properties.tapConfigurations",
        "properties.dscpConfiguration",
        "properties.vnetEncryptionSupported",
        "properties.defaultOutboundConnectivityEnabled",
        "properties.allowPort25Out",
        "properties.dnsSettings.appliedDnsServers",
        "properties.dnsSettings.internalFqdn",
        "properties.dnsSettings.internalDomainNameSuffix",
        "properties.ipConfigurations.*.id",
        "properties.ipConfigurations.*.etag",
        "properties.ipConfigurations.*.type",
        "properties.ipConfigurations.*.properties.provisioningState",
        "properties.ipConfigurations.*.properties.privateLinkConnectionProperties",
    ),
    "microsoft.network/publicipaddresses": (
        "properties.ipConfiguration",
        "properties.ipAddress",
        "properties.dnsSettings.fqdn",
        "properties.natGateway",
        "properties.linkedPublicIPAddress",
        "properties.servicePublicIPAddress",
    ),
}


def document_of(body: Mapping[str, Any], api_version: str, read_at: datetime, etag: str | None = None) -> Document:
    """The document of a resource as it was read. etag: of the answer's header, where the body has none."""
    ref = str(body["id"])
    kind = str(body.get("type") or parse_id(ref).type)
    found_etag = body.get("etag") or etag
    return Document(
        ref=ref,
        type=kind,
        api_version=api_version,
        body=dict(body),
        etag=str(found_etag) if found_etag else None,
        identity=identity_of(kind, body),
        read_at=read_at,
    )


def identity_of(type_name: str, body: Mapping[str, Any]) -> str | None:
    """The immutable identity of a resource, in lower case; None where its type has none or it has not got it yet."""
    key = _IDENTITY.get(type_name.lower())
    properties = body.get("properties")
    if key is None or not isinstance(properties, Mapping) or not properties.get(key):
        return None
    return str(properties[key]).lower()


def as_request(document: Document) -> Document:
    """The document without what Azure alone may say, fit to be sent. What we do not know stays in."""
    body = deepcopy(document.body)
    for path in (*_EVERYWHERE, *_READ_ONLY.get(document.type.lower(), ())):
        _remove(body, path.split("."))
    return replace(document, body=body)


def _remove(place: Any, path: Sequence[str]) -> None:
    first, *rest = path
    if first == "*":
        below = place if isinstance(place, list) else place.values() if isinstance(place, dict) else ()
        for one in below:
            _remove(one, rest)
    elif isinstance(place, dict):
        key = _key(place, first)
        if key is None:
            return
        if rest:
            _remove(place[key], rest)
        else:
            del place[key]


def _key(place: Mapping[str, Any], name: str) -> str | None:
    """The key as it is spelled: Azure itself varies the case of some."""
    if name in place:
        return name
    return next((key for key in place if key.lower() == name.lower()), None)


# Secrets that Azure takes and never gives back: a comparison must not miss them.
_WRITE_ONLY = frozenset({"adminpassword", "customdata", "protectedsettings", "secrets", "userdata"})


def satisfies(found: Document, wanted: Document) -> bool:
    """Whether `found` is what `wanted` asks for: everything said in `wanted` stands in `found`, which may say more.

    Text compares case-blind: ids, locations and enumerations come back in another case.
    """
    return _covers(found.body, as_request(wanted).body)


def _covers(found: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        if not isinstance(found, Mapping):
            return not wanted
        return all(
            key.lower() in _WRITE_ONLY or value is None or _covers(found.get(_key(found, key) or key), value)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        if not isinstance(found, list):
            return not wanted
        return len(found) == len(wanted) and all(_covers(f, w) for f, w in zip(found, wanted, strict=True))
    if isinstance(wanted, str) and isinstance(found, str):
        return found.lower() == wanted.lower()
    return bool(found == wanted)


def tag(document: Document, name: str) -> str | None:
    """The value of a tag; names compare case-blind, as Azure's do."""
    return next((value for key, value in document.tags.items() if key.lower() == name.lower()), None)

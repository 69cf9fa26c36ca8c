"""Azure's error codes in our words: one table. Each row stands beside what Azure says, as recorded or documented.

A refused request and a failed long-running operation carry the same codes, so both are translated here. What the table
does not know falls back on the HTTP status; an unknown code of a failed operation is a refusal, with Azure's words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from holdfast.clouds.errors import (
    ChangedMeanwhile,
    CloudBusy,
    CloudError,
    CloudRefused,
    CloudUnavailable,
    CredentialRejected,
    NoCapacity,
    PermissionMissing,
    QuotaExceeded,
    ResourceMissing,
    SubscriptionMissing,
    Throttled,
)
from holdfast.core.errors import Retry

__all__ = ["AzureError", "LostAnswer", "NotFinished", "azure_error", "translated"]


class LostAnswer(CloudUnavailable):
    """A change was sent and nobody knows whether it took effect. The sender reads the resource to find out."""

    code, retry = "cloud.answer_lost", Retry.NOW
    text = "The answer to {method} {ref} was lost: {message}"
    remedy = "Nothing to do: the operation reads what happened and goes on by itself."


class NotFinished(CloudUnavailable):
    """A long-running operation was still going on at its deadline."""

    code = "cloud.not_finished"
    text = "{ref} was still being changed after {waited_s} s."
    remedy = "Look at the resource in Azure; the operation goes on from its state when it is retried."


@dataclass(frozen=True)
class AzureError:
    """What Azure said. details: the codes and messages inside, outermost first."""

    code: str
    message: str
    details: tuple[tuple[str, str], ...] = ()


# (code, our class), each with Azure's words. Codes compare case-blind; the first row whose words occur in the message
# wins, "" matches any message.
_TABLE: tuple[tuple[str, str, type[CloudError]], ...] = (
    # "Allocation failed. We do not have sufficient capacity for the requested VM size in this region."
    ("AllocationFailed", "", NoCapacity),
    # "Allocation failed. We do not have sufficient capacity for the requested VM size in this zone."
    ("ZonalAllocationFailed", "", NoCapacity),
    # "Create or update VM failed due to the constraints … "
    ("OverconstrainedAllocationRequest", "", NoCapacity),
    ("OverconstrainedZonalAllocationRequest", "", NoCapacity),
    # "The requested size for resource '…' is currently not available in location 'westeurope' zones '1' …"
    ("SkuNotAvailable", "", NoCapacity),
    # "Unable to perform operation … since the provided max price … is lower than the current spot price …"
    ("SpotPriceGreaterThanProvidedMaxPrice", "", NoCapacity),
    # "Operation results in exceeding quota limits of Core. Maximum allowed: 4, Current in use: 4, …"
    ("QuotaExceeded", "", QuotaExceeded),
    # "Operation could not be completed as it results in exceeding approved … Cores quota. …"
    ("OperationNotAllowed", "quota", QuotaExceeded),
    ("ResourceQuotaExceeded", "", QuotaExceeded),
    # "Cannot create more than 100 public IP addresses for this subscription in this region."
    ("PublicIPCountLimitReached", "", QuotaExceeded),
    ("SubscriptionNotRegisteredForFeature", "", CloudRefused),
    # "The client '…' with object id '…' does not have authorization to perform action '…' over scope '…' …"
    ("AuthorizationFailed", "", PermissionMissing),
    # "The client '…' has permission to perform action '…' on scope '…'; however, it does not have permission …"
    ("LinkedAuthorizationFailed", "", PermissionMissing),
    # "The scope '…' cannot perform delete operation because following scope(s) are locked: '…'."
    ("ScopeLocked", "", CloudRefused),
    # "The condition specified using HTTP conditional header(s) is not met."
    ("PreconditionFailed", "", ChangedMeanwhile),
    ("ConditionNotMet", "", ChangedMeanwhile),
    # "Another operation on this or dependent resource is in progress. …"
    ("AnotherOperationInProgress", "", CloudBusy),
    ("RetryableError", "", CloudBusy),
    # "Operation … is canceled and superseded by operation …", 429 in Network: busy, not quota
    ("RetryableErrorDueToAnotherOperation", "", CloudBusy),
    ("CanceledAndSupersededDueToAnotherOperation", "", CloudBusy),
    ("OperationPreempted", "", CloudBusy),
    # "The request failed due to conflict with a concurrent request. …"
    ("Conflict", "", CloudBusy),
    ("ConflictingConcurrentWriteNotAllowed", "", CloudBusy),
    ("ResourceGroupBeingDeleted", "", CloudRefused),
    # "Nic(s) in request is reserved for another Virtual Machine for 180 seconds. …": it frees itself
    ("NicReservedForAnotherVm", "", CloudBusy),
    # "Network Interface … is used by existing resource …. In order to delete it, it must be dissociated …"
    ("NicInUse", "", CloudRefused),
    ("NetworkInterfaceInUse", "", CloudRefused),
    ("PublicIPAddressInUse", "", CloudRefused),
    ("PublicIPAddressCannotBeDeleted", "", CloudRefused),
    ("InUseSubnetCannotBeDeleted", "", CloudRefused),
    # "Disk … is attached to VM …": OperationNotAllowed or one of these
    ("DiskInUse", "", CloudRefused),
    ("AttachDiskWhileBeingDetached", "", CloudBusy),
    # "The subscription '…' could not be found."
    ("SubscriptionNotFound", "", SubscriptionMissing),
    # "The provided subscription identifier '…' is malformed or invalid."
    ("InvalidSubscriptionId", "", SubscriptionMissing),
    ("ResourceNotFound", "", ResourceMissing),
    ("NotFound", "", ResourceMissing),
    ("ResourceGroupNotFound", "", ResourceMissing),
    ("ParentResourceNotFound", "", ResourceMissing),
    # "Resource … referenced by resource … was not found. …"
    ("InvalidResourceReference", "", CloudRefused),
    ("ExpiredAuthenticationToken", "", CredentialRejected),
    ("InvalidAuthenticationToken", "", CredentialRejected),
    ("InvalidAuthenticationTokenTenant", "", CredentialRejected),
    ("AuthenticationFailed", "", CredentialRejected),
    # "The subscription is not registered to use namespace 'Microsoft.Compute'. …"
    ("MissingSubscriptionRegistration", "", CloudRefused),
    ("TooManyRequests", "", Throttled),
    ("SubscriptionRequestsThrottled", "", Throttled),
    ("OperationNotAllowed", "", CloudRefused),
    ("InternalExecutionError", "", CloudUnavailable),
    ("InternalOperationError", "", CloudUnavailable),
    ("InternalServerError", "", CloudUnavailable),
    ("ServerTimeout", "", CloudUnavailable),
    ("ServiceUnavailable", "", CloudUnavailable),
    ("NetworkingInternalOperationError", "", CloudUnavailable),
)

# Codes that only wrap what really went wrong, which stands in their details.
_WRAPPERS = {"deploymentfailed", "resourcedeploymentfailure", "resourceoperationfailure", "badrequest", "conflict"}

_BY_STATUS: dict[int, type[CloudError]] = {
    401: CredentialRejected,
    403: PermissionMissing,
    404: ResourceMissing,
    408: CloudUnavailable,
    409: CloudRefused,
    410: ResourceMissing,
    412: ChangedMeanwhile,
    429: Throttled,
}


def azure_error(body: object, status: int = 0) -> AzureError:
    """The error in an answer's body, in each shape that Azure uses: `{"error": {…}}`, `{"code": …}`, no JSON at all."""
    found: object = body
    if isinstance(body, (bytes, str)):
        text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
        try:
            found = json.loads(text)
        except ValueError:
            return AzureError(f"HTTP{status}", text.strip()[:500] or f"HTTP status {status} without a body")
    if isinstance(found, Mapping) and isinstance(found.get("error"), Mapping):
        found = found["error"]
    if not isinstance(found, Mapping) or not found.get("code"):
        return AzureError(f"HTTP{status}", f"HTTP status {status}")
    return AzureError(str(found["code"]), str(found.get("message") or ""), tuple(_inner(found)))


def _inner(error: Mapping[str, Any]) -> list[tuple[str, str]]:
    inside: list[tuple[str, str]] = []
    below = [*(error.get("details") or ()), *([error["innererror"]] if error.get("innererror") else ())]
    for one in below:
        if isinstance(one, Mapping) and one.get("code"):
            inside.append((str(one["code"]), str(one.get("message") or "")))
            inside.extend(_inner(one))
    return inside


def translated(error: AzureError, status: int, ref: str | None) -> CloudError:
    """Our error for Azure's. status: of the answer, 0 for a failed long-running operation."""
    said = [(error.code, error.message), *error.details]
    if error.code.lower() in _WRAPPERS and error.details:
        said = [*error.details, said[0]]
    for code, message in said:
        cls = _row(code, message)
        if cls is not None:
            return cls(cloud_code=code, message=message or error.message, ref=ref)
    return _fallback(status)(cloud_code=error.code, message=error.message, ref=ref)


def _row(code: str, message: str) -> type[CloudError] | None:
    for known, words, cls in _TABLE:
        if known.lower() == code.lower() and words in message.lower():
            return cls
    return None


def _fallback(status: int) -> type[CloudError]:
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return CloudUnavailable if status >= 500 else CloudRefused

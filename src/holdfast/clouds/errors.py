"""What can go wrong at a cloud, in words of ours. Each cloud has one table that translates its own codes into these."""

from __future__ import annotations

from holdfast.core.errors import HoldfastError, NotFound, Retry

__all__ = [
    "ChangedMeanwhile",
    "CloudBusy",
    "CloudError",
    "CloudRefused",
    "CloudUnavailable",
    "CloudUnreachable",
    "CredentialRejected",
    "EndpointUntrusted",
    "NameTaken",
    "NoCapacity",
    "NoCloud",
    "PermissionMissing",
    "QuotaExceeded",
    "ResourceMissing",
    "SubscriptionMissing",
    "Throttled",
]


class NoCloud(NotFound):
    """A call that needs a cloud, on an installation (or with a token) that has none."""

    code = "cloud.none"
    text = "No cloud is connected."
    remedy = "Connect one: holdfast cloud add azure NAME --subscription ID"


class CloudError(HoldfastError):
    """Base. Details always carry `cloud_code` and `message` (the cloud's own words) and `ref` where there is one."""

    code, http_status = "cloud.error", 502
    text = "The cloud answered {cloud_code}: {message}"
    remedy = "See the cloud's message; retry the operation when its cause is gone."


class CloudUnavailable(CloudError):
    """No answer, a lost answer, or a server error after all retries."""

    code, retry = "cloud.unavailable", Retry.LATER
    remedy = "Check the network and the cloud's status; the operation goes on by itself when it answers again."


class CloudUnreachable(CloudUnavailable):
    """Nothing of ours arrived there: no connection, to the cloud or to its identity provider."""

    code = "cloud.unreachable"
    text = "The cloud cannot be reached: {message}"


class EndpointUntrusted(CloudUnavailable):
    """What answers at the endpoint has a certificate that nobody told us to trust. Nothing was sent to it."""

    code = "cloud.untrusted"
    text = "The certificate of the endpoint is not trusted: {message}"
    remedy = "Connect the cloud again ('holdfast cloud add') with --ca FILE, a PEM file that verifies the endpoint."


class Throttled(CloudError):
    """Still 429 after the budget and all retries."""

    code, retry = "cloud.throttled", Retry.LATER
    remedy = "Nothing to do: the operation waits and goes on by itself."


class CloudBusy(CloudError):
    """Another change of the same resource is under way."""

    code, retry, http_status = "cloud.busy", Retry.LATER, 409
    remedy = "Nothing to do: the operation tries again when the other change is finished."


class CloudRefused(CloudError):
    """The cloud will not do this, and will not the next time either (policy, invalid combination, lock …)."""

    code, retry, http_status = "cloud.refused", Retry.AFTER_CHANGE, 409
    remedy = "Remove the cause that the cloud names, then retry the operation."


class SubscriptionMissing(CloudRefused):
    """The cloud knows no such subscription, or hides it from this credential."""

    code, http_status = "cloud.subscription_missing", 502
    remedy = "Check the subscription's id, and that the credential has a role there; then add the cloud again."


class PermissionMissing(CloudError):
    """The credential may not do this."""

    code, retry, http_status = "cloud.permission_missing", Retry.AFTER_CHANGE, 403
    remedy = "Grant the missing action to the credential ('holdfast cloud check' lists them), then retry."


class CredentialRejected(CloudError):
    """The identity provider did not accept the credential."""

    code, retry, http_status = "cloud.credential_rejected", Retry.AFTER_CHANGE, 401
    remedy = "Give a valid credential with 'holdfast cloud add' again."


class ResourceMissing(CloudError):
    """Something that was there, or must be there, is gone."""

    code, retry, http_status, exit_code = "cloud.resource_missing", Retry.AFTER_CHANGE, 404, 3
    remedy = "Somebody deleted it outside Holdfast. Describe the machine again."


class NameTaken(CloudError):
    """A resource of that name exists and is not ours."""

    code, retry, http_status = "cloud.name_taken", Retry.AFTER_CHANGE, 409
    text = "{ref} exists already and was not made by this operation."
    remedy = "Choose another name in the spec, or remove that resource."


class ChangedMeanwhile(CloudError):
    """Somebody changed the resource between our reading and our writing."""

    code, retry, http_status = "cloud.changed_meanwhile", Retry.AFTER_CHANGE, 409
    text = "{ref} was changed by somebody else meanwhile."
    remedy = "Plan again from the present state."


class NoCapacity(CloudError):
    """The cloud has no hardware for this size, zone and priority now."""

    code, retry = "cloud.no_capacity", Retry.LATER
    next_choice = True  # the engine's first_of goes on to the next market
    remedy = "Allow more sizes or zones, or on-demand fallback; otherwise retry later."


class QuotaExceeded(CloudError):
    """The subscription's quota does not allow it."""

    code, retry = "cloud.quota_exceeded", Retry.AFTER_CHANGE
    next_choice = True
    remedy = "Raise the quota that the cloud names, or allow sizes of another family."

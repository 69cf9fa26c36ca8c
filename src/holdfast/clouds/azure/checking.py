"""`cloud check`: credential, subscription, permissions, providers, quotas and clock, as findings with codes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from holdfast.clouds.azure import versions
from holdfast.clouds.azure.arm import Arm
from holdfast.clouds.azure.market import Market
from holdfast.clouds.azure.permissions import NEEDED, missing
from holdfast.clouds.azure.reading import Reader
from holdfast.clouds.errors import (
    CloudError,
    CloudUnreachable,
    CredentialRejected,
    EndpointUntrusted,
    PermissionMissing,
)
from holdfast.clouds.protocols import Finding, Headroom, Severity

__all__ = ["MOST_CLOCK_OFFSET", "Checker", "quota_findings"]

MOST_CLOCK_OFFSET = timedelta(minutes=5)  # further apart, "kept until" would mean another time than people think
_PROVIDERS = ("Microsoft.Compute", "Microsoft.Network")
_POOLS = ("cores", "lowPriorityCores")  # all regular vCPUs of a region, all Spot vCPUs of a region
_FEW_VCPUS = 4  # less cannot take over even a small machine beside its original


class Checker:
    def __init__(self, arm: Arm, reader: Reader, market: Market) -> None:
        self._arm = arm
        self._reader = reader
        self._market = market

    def check(self) -> Iterator[Finding]:
        """Everything that can be looked at; what fails as a whole (no credential, no answer) ends the look."""
        try:
            subscription = self._arm.get(f"{self._arm.subscription_path}?api-version={versions.SUBSCRIPTIONS}").body
        except CredentialRejected as exc:
            yield _refusal("CREDENTIAL", exc.message, exc.advice, "client_secret")
            return
        except EndpointUntrusted as exc:
            yield _refusal("ENDPOINT_UNTRUSTED", exc.message, exc.advice, "ca")
            return
        except CloudUnreachable as exc:
            yield _refusal("ENDPOINT_UNREACHABLE", exc.message, exc.advice, "endpoint")
            return
        except CloudError as exc:
            yield _refusal("SUBSCRIPTION_UNREADABLE", exc.message, exc.advice, self._arm.subscription_path)
            return
        state = str(subscription.get("state", "Enabled"))
        if state.lower() not in ("enabled", "warned", "pastdue"):
            text = f"The subscription is {state}: Azure takes no changes."
            yield _refusal("SUBSCRIPTION_DISABLED", text, "Enable the subscription in Azure.", subscription.get("id"))
        yield from self._clock()
        yield from self._permissions()
        yield from self._providers()
        yield from self._quotas()

    def _clock(self) -> Iterator[Finding]:
        offset = self._arm.clock_offset
        if offset is None or abs(offset) <= MOST_CLOCK_OFFSET:
            return
        seconds = round(abs(offset).total_seconds())
        text = f"This machine's clock is {seconds} s {'behind' if offset > timedelta(0) else 'ahead of'} Azure's."
        yield _refusal("CLOCK_OFFSET", text, "Set the clock (NTP); nothing is deleted while it is wrong.", None)

    def missing_permissions(self, scope: str, actions: Sequence[str]) -> tuple[str, ...]:
        path = f"{scope}/providers/Microsoft.Authorization/permissions?api-version={versions.PERMISSIONS}"
        return missing(list(self._arm.pages(path)), actions)

    def _permissions(self) -> Iterator[Finding]:
        scope = self._arm.subscription_path
        remedy = (
            "Grant the action to the credential at the subscription or at the resource groups that Holdfast shall "
            "manage; 'import plan' checks the machine's own group."
        )
        try:
            actions = self.missing_permissions(scope, NEEDED)
        except PermissionMissing as exc:
            yield _warning("PERMISSIONS_UNREADABLE", exc.message, remedy, scope)
            return
        for action in actions:
            text = f"The credential may not do {action} at the subscription."
            yield _warning("PERMISSION_MISSING", text, remedy, action)

    def _providers(self) -> Iterator[Finding]:
        for name in _PROVIDERS:
            path = f"{self._arm.subscription_path}/providers/{name}?api-version={versions.PROVIDERS}"
            answer = self._arm.find(path)
            state = str((answer.body or {}).get("registrationState", "")) if answer is not None else "unknown"
            if state.lower() != "registered":
                text = f"Resource provider {name} is {state or 'not registered'}."
                yield _refusal("PROVIDER_NOT_REGISTERED", text, f"Run: az provider register -n {name}", name)

    def _quotas(self) -> Iterator[Finding]:
        """For the regions that have machines: elsewhere nobody asks for a quota yet."""
        locations = sorted({one.location.lower().replace(" ", "") for one in self._reader.observe() if one.location})
        for location in locations:
            try:
                headroom = self._market.headroom(location)
            except PermissionMissing as exc:
                yield _warning("QUOTA_UNREADABLE", exc.message, exc.advice, location)
                continue
            yield from quota_findings(location, headroom)


def quota_findings(location: str, headroom: tuple[Headroom, ...]) -> Iterator[Finding]:
    """Pools of a region with too few vCPUs left to launch a successor. Pure."""
    for pool in headroom:
        left = pool.limit - pool.used
        if pool.name in _POOLS and left < _FEW_VCPUS:
            text = f"{location}: {left} of {pool.limit} vCPUs are left in quota {pool.name}."
            yield _warning("QUOTA_LOW", text, "Ask Azure for more quota of this name.", f"{location}/{pool.name}")


def _refusal(code: str, text: str, remedy: str, about: str | None) -> Finding:
    return Finding(code, Severity.REFUSAL, text, remedy, about)


def _warning(code: str, text: str, remedy: str, about: str | None) -> Finding:
    return Finding(code, Severity.WARNING, text, remedy, about)

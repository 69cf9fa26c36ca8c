"""The request budget, and tokens that cannot be had."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from azure.core.exceptions import ClientAuthenticationError, ServiceRequestError
from hypothesis import given, settings
from hypothesis import strategies as st

from fakes.arm import WireFault
from holdfast.clouds.azure.arm import client_request_id
from holdfast.clouds.azure.budget import Budget, buckets_of
from holdfast.clouds.errors import CloudUnavailable, CredentialRejected
from holdfast.clouds.protocols import Priority
from holdfast.core.clock import ManualClock

GROUP = "/subscriptions/s/resourceGroups/rg"
VM = f"{GROUP}/providers/Microsoft.Compute/virtualMachines/v"
DISK = f"{GROUP}/providers/Microsoft.Compute/disks/d"
SNAPSHOT = f"{GROUP}/providers/Microsoft.Compute/snapshots/s"
NIC = f"{GROUP}/providers/Microsoft.Network/networkInterfaces/n"


def never_paused() -> None:
    raise AssertionError("there was a token: nobody had to wait")


@pytest.mark.parametrize(
    ("method", "path", "buckets"),
    [
        ("PUT", VM, ("writes", "PutVM")),
        ("GET", VM, ("reads", "LowCostGet")),
        ("DELETE", VM, ("deletes", "DeleteVM")),
        ("POST", VM + "/deallocate", ("writes", "DeleteVM")),
        ("POST", VM + "/start", ("writes", "UpdateVM")),
        ("PUT", VM + "/extensions/e", ("writes", "UpdateVM")),
        ("PUT", DISK, ("writes", "CreateUpdateDisks")),
        ("DELETE", SNAPSHOT, ("deletes", "DeleteDisks")),
        ("PUT", SNAPSHOT, ("writes", "HighCostSnapshotCreateHydrate")),
        ("POST", DISK + "/beginGetAccess", ("writes", "HighCostDiskHydrate")),
        ("PUT", NIC, ("writes", "NetworkWrites")),
        ("GET", NIC, ("reads",)),
        ("GET", "/subscriptions/s/providers/Microsoft.Compute/virtualMachines", ("reads", "HighCostGet")),
        ("GET", "/subscriptions/s/providers/Microsoft.Compute/locations/w/operations/1", ("reads", "GetOperation")),
        ("GET", "/subscriptions/s/providers/Microsoft.Compute/locations/w/DiskOperations/1", ("reads", "GetOperation")),
        ("PATCH", VM + "/providers/Microsoft.Resources/tags/default", ("writes",)),
    ],
)
def test_each_request_is_charged_to_azures_buckets(method: str, path: str, buckets: tuple[str, ...]) -> None:
    assert buckets_of(method, path + "?api-version=1")[: len(buckets)] == buckets


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.0, 30.0), min_size=1, max_size=60))
def test_no_more_is_spent_than_the_bucket_holds_and_refills(pauses_s: list[float]) -> None:
    clock = ManualClock()
    budget = Budget(clock, known_limits=True)
    began = clock.now()

    spent = 0
    for pause_s in pauses_s:
        clock.advance(pause_s)
        for _ in range(30):
            budget.spend(("writes",), Priority.USER, lambda: None)
            spent += 1
        assert spent <= 200 + 10 * (clock.now() - began).total_seconds() + 1e-6


def test_an_empty_bucket_makes_the_sender_wait_for_its_refill() -> None:
    clock = ManualClock()
    budget = Budget(clock, known_limits=True)
    for _ in range(200):
        budget.spend(("writes",), Priority.USER, never_paused)

    assert 0.05 <= budget.spend(("writes",), Priority.USER, lambda: None) <= 0.5


def test_a_custom_endpoint_has_no_limit_until_it_says_429() -> None:
    clock = ManualClock()
    budget = Budget(clock, known_limits=False)
    budget.learn({"x-ms-ratelimit-remaining-subscription-writes": "0"})
    for _ in range(1000):
        budget.spend(("writes",), Priority.USER, never_paused)

    budget.close(("writes",), 7.0)

    assert budget.spend(("writes",), Priority.USER, lambda: None) >= 6.9


def test_headers_correct_a_bucket_both_ways() -> None:
    budget = Budget(ManualClock(), known_limits=True)
    told = "Microsoft.Compute/PutVM3Min;3,Microsoft.Compute/PutVM30Min;9"

    budget.learn({"x-ms-ratelimit-remaining-resource": told, "x-ms-ratelimit-remaining-subscription-writes": "900"})

    assert budget.left() == {"PutVM": 3.0, "writes": 900.0}


def test_when_tokens_are_scarce_the_more_urgent_goes_first() -> None:
    clock = ManualClock()
    budget = Budget(clock, known_limits=False)
    budget.close(("writes",), 0.0)
    budget.learn({"x-ms-ratelimit-remaining-subscription-writes": "0"})
    order: list[Priority] = []
    waiting = threading.Barrier(3)

    class Blocking(ManualClock):
        def sleep(self, seconds: float) -> None:
            time.sleep(0.002)

    budget._clock = slow = Blocking()

    def spend(priority: Priority) -> None:
        first = [True]

        def paused() -> None:
            if first.pop() if first else False:
                waiting.wait(5)

        budget.spend(("writes",), priority, paused)
        order.append(priority)

    threads = [threading.Thread(target=spend, args=(p,)) for p in (Priority.HOUSEKEEPING, Priority.EVICTION)]
    for thread in threads:
        thread.start()
    waiting.wait(5)
    deadline = time.monotonic() + 10
    while len(order) < 2 and time.monotonic() < deadline:
        slow.advance(0.05)
        budget.learn({"x-ms-ratelimit-remaining-subscription-writes": str(1 if not order else 50)})
        time.sleep(0.005)
    for thread in threads:
        thread.join(5)

    assert order == [Priority.EVICTION, Priority.HOUSEKEEPING]


def test_the_client_request_id_is_a_uuid_that_shows_the_operation(stage: Any) -> None:
    first = client_request_id(stage.call)
    stage.call.key = "another step"

    assert first.replace("-", "").startswith("00112233445566aa")
    assert client_request_id(stage.call) != first
    stage.call.operation = "something else"
    assert len(client_request_id(stage.call)) == 36


class Failing:
    """A credential whose identity provider says no, or does not answer, for a while."""

    def __init__(self, times: int, cause: Exception | None) -> None:
        self.times, self.cause, self.asked = times, cause, 0

    def get_token(self, *scopes: str, **_: Any) -> Any:
        from azure.core.credentials import AccessToken

        self.asked += 1
        if self.asked > self.times:
            return AccessToken("t", 4102444800)
        raise ClientAuthenticationError(message="Authentication failed") from self.cause


@pytest.fixture
def cloud_with(stage: Any) -> Callable[[Failing], Any]:
    from holdfast.clouds.azure.cloud import AzureCloud

    return lambda credential: AzureCloud("lab", stage.connection, stage.clock, stage.writes.append, credential)


def test_an_identity_provider_that_does_not_answer_is_asked_again(
    stage: Any, cloud_with: Callable[[Failing], Any]
) -> None:
    ref = stage.world.add_machine()
    credential = Failing(3, ServiceRequestError("no route"))

    assert cloud_with(credential).read(ref) is not None
    with pytest.raises(CloudUnavailable):
        cloud_with(Failing(99, ServiceRequestError("no route"))).read(ref)


def test_a_credential_that_is_refused_is_not_tried_again(stage: Any, cloud_with: Callable[[Failing], Any]) -> None:
    credential = Failing(99, None)

    with pytest.raises(CredentialRejected):
        cloud_with(credential).read(stage.cloud.ref_of("rg-1", "db-1"))

    assert credential.asked == 1


def test_requests_stop_for_as_long_as_azure_asked(stage: Any) -> None:
    ref = stage.world.add_machine()
    stage.arm.faults.append(WireFault("GET", "db-1", "refuse", 429, "TooManyRequests", headers={"Retry-After": "30"}))
    stage.cloud.read(ref)
    began = stage.clock.now()

    stage.cloud.read(ref)

    assert (stage.clock.now() - began).total_seconds() < 1

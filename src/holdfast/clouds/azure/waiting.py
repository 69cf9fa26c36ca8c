"""The only place that waits for Azure's long-running operations.

Azure says where to ask: `Azure-AsyncOperation`, else `Location` of a 202, else the resource's own `provisioningState`.
The first question is asked at once, then as often as Retry-After wants. Each waiting step asks for itself, in its own
thread, so that one hanging answer holds nobody else up. When many wait for resources of one kind, they share a list:
one call tells all of them which resources are still being changed, and only those that are not ask for their result.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from holdfast.clouds.azure.arm import Answer, Arm
from holdfast.clouds.azure.errors import LostAnswer, NotFinished, azure_error, translated
from holdfast.clouds.azure.ids import parse_id_or_none
from holdfast.clouds.azure.versions import version_for, version_of_type
from holdfast.clouds.errors import CloudBusy, CloudError, CloudUnavailable, ResourceMissing
from holdfast.clouds.protocols import Call
from holdfast.core.clock import Clock

__all__ = ["DONE", "FAILED", "Waiter", "provisioning_state"]

DONE = ("succeeded", "ready")
FAILED = ("failed", "canceled", "cancelled")

# The longest that Azure was seen to take, and half as much again (azure.md section 4). Whoever gives up earlier leaves
# work behind that Azure still finishes; later, and a lost operation is noticed late.
_DEADLINE_S = {
    "microsoft.compute/virtualmachines": 45 * 60.0,
    "microsoft.compute/virtualmachines/extensions": 45 * 60.0,
    "microsoft.compute/galleries/images/versions": 3 * 3600.0,
}
_OTHER_DEADLINE_S = 30 * 60.0

_MANY = 40  # waiting for one kind: from here on a list call is cheaper than single questions
_LISTED = ("virtualmachines", "disks", "snapshots", "networkinterfaces", "publicipaddresses")
_TELL_EVERY_S = 5.0  # a line of progress is a row in the record: more often would tell nobody more
_SLICE_S = 1.0  # how late a cancel or a lost lease is noticed while waiting


def provisioning_state(body: object) -> str:
    """In lower case; `succeeded` where the resource has none."""
    if not isinstance(body, Mapping):
        return "succeeded"
    properties = body.get("properties")
    state = properties.get("provisioningState") if isinstance(properties, Mapping) else None
    return str(state or body.get("provisioningState") or "succeeded").lower()


@dataclass
class _Crowd:
    """Those that wait for resources of one type, and the list that they share."""

    waiting: int = 0
    listed_at_s: float = -1e18
    unfinished: frozenset[str] = frozenset()
    lock: threading.Lock = field(default_factory=threading.Lock)


class Waiter:
    """Waits on behalf of all threads of one connection."""

    def __init__(self, arm: Arm, clock: Clock, loopback: bool) -> None:
        self._arm = arm
        self._clock = clock
        # Between two questions without Retry-After: a loopback answers at once, Azure takes seconds for anything.
        self._loopback = loopback
        self._first_s, self._most_s = (0.05, 1.0) if loopback else (1.0, 15.0)
        self._list_every_s = 1.0 if loopback else 5.0
        self._crowds: dict[str, _Crowd] = {}
        self._lock = threading.Lock()

    def finish(self, call: Call, answer: Answer, ref: str, doing: str) -> Any:
        """Return when the operation that `answer` began is done: its result, or None where it has none.

        ref: the resource that is changed. doing: for people, e.g. `creating disk data-0`. Raises the translated error
        of a failed operation, LostAnswer where it failed for a passing reason of Azure's own (it may have taken effect
        nevertheless), and NotFinished past the deadline.
        """
        operation = answer.headers.get("azure-asyncoperation")
        location = answer.headers.get("location") if answer.status == 202 else None
        pause_s = answer.retry_after_s
        if operation:
            return self._until(call, ref, doing, pause_s, lambda: self._asked_operation(operation, ref))
        if location:
            return self._until(call, ref, doing, pause_s, lambda: self._asked_location(location, ref))
        if provisioning_state(answer.body) in DONE:
            return answer.body
        return self.settle(call, ref, doing)

    def settle(self, call: Call, ref: str, doing: str) -> dict[str, Any] | None:
        """Return the resource when nothing changes it any more (it may have failed), or None when it is gone."""
        found = self._until(call, ref, doing, None, lambda: self._asked_resource(ref))
        return found if found else None

    def until(self, call: Call, ref: str, doing: str, look: Callable[[], bool]) -> None:
        """Return when `look()` says so. Raises NotFinished past the deadline of the resource's type."""
        self._until(call, ref, doing, None, lambda: (look(), None, None))

    def _until(
        self, call: Call, ref: str, doing: str, pause_s: float | None, ask: Callable[[], tuple[bool, Any, float | None]]
    ) -> Any:
        """`ask` returns (done, result, Retry-After)."""
        began_s = self._now_s()
        deadline_s = began_s + _deadline_s(ref)
        step_s, tell_at_s = self._first_s, _TELL_EVERY_S / 2
        with self._among_others(ref) as crowd:
            while True:
                call.check()
                if not self._surely_unfinished(crowd, ref):
                    done, result, pause_s = ask()
                    if done:
                        return result
                if self._now_s() >= deadline_s:
                    raise NotFinished(
                        cloud_code="NotFinished",
                        message=f"{doing} did not end",
                        ref=ref,
                        waited_s=round(self._now_s() - began_s),
                    )
                waited_s = self._now_s() - began_s
                if waited_s >= tell_at_s:
                    call.progress(None, f"{doing}: Azure is at it for {round(waited_s)} s")
                    tell_at_s = waited_s + _TELL_EVERY_S
                self._sleep(call, self._pause_s(pause_s, step_s))
                step_s = min(self._most_s, step_s * 1.6)

    def _pause_s(self, wished_s: float | None, step_s: float) -> float:
        """How long until the next question. Retry-After: 0 counts as absent, as in Azure's own clients.

        Its whole seconds spare Azure's budget of status requests. A loopback has none to spare, and there a second is
        longer than most operations: our own, growing step is enough.
        """
        if not wished_s:
            return step_s
        return min(wished_s, step_s) if self._loopback else wished_s

    def _asked_operation(self, url: str, ref: str) -> tuple[bool, Any, float | None]:
        try:
            answer = self._arm.get(url)
        except ResourceMissing:
            return self._asked_resource(ref)  # Azure forgets operations; the resource knows how it ended
        body = answer.body or {}
        status = str(body.get("status") or "succeeded").lower()
        if status in FAILED:
            raise _failure(translated(azure_error(body), 0, ref))
        if status not in DONE:
            return False, None, answer.retry_after_s
        properties = body.get("properties")
        return True, properties.get("output") if isinstance(properties, Mapping) else None, None

    def _asked_location(self, url: str, ref: str) -> tuple[bool, Any, float | None]:
        try:
            answer = self._arm.get(url)
        except ResourceMissing:
            return self._asked_resource(ref)
        except CloudError as exc:
            raise _failure(exc) from exc
        if answer.status == 202:
            return False, None, answer.retry_after_s
        return True, answer.body, None

    def _asked_resource(self, ref: str) -> tuple[bool, Any, float | None]:
        answer = self._arm.find(f"{ref}?api-version={version_for(ref)}")
        if answer is None:
            return True, None, None
        state = provisioning_state(answer.body)
        return state in DONE or state in FAILED, answer.body, answer.retry_after_s

    @contextmanager
    def _among_others(self, ref: str) -> Iterator[_Crowd | None]:
        found = parse_id_or_none(ref)
        if found is None or len(found.names) > 1 or found.type.split("/")[1].lower() not in _LISTED:
            yield None
            return
        with self._lock:
            crowd = self._crowds.setdefault(found.type.lower(), _Crowd())
            crowd.waiting += 1
        try:
            yield crowd
        finally:
            with self._lock:
                crowd.waiting -= 1

    def _surely_unfinished(self, crowd: _Crowd | None, ref: str) -> bool:
        """Whether the shared list says that the resource is still being changed. A doubt is a no: one asks itself."""
        if crowd is None or crowd.waiting < _MANY:
            return False
        # One asks for all; the others go on with what was known, and do not queue behind a list call that hangs.
        if self._now_s() - crowd.listed_at_s >= self._list_every_s and crowd.lock.acquire(blocking=False):
            try:
                crowd.unfinished, crowd.listed_at_s = self._unfinished(ref), self._now_s()
            finally:
                crowd.lock.release()
        is_fresh = self._now_s() - crowd.listed_at_s < 3 * self._list_every_s
        return is_fresh and ref.lower() in crowd.unfinished

    def _unfinished(self, ref: str) -> frozenset[str]:
        kind = parse_id_or_none(ref)
        if kind is None:
            return frozenset()
        path = f"{self._arm.subscription_path}/providers/{kind.type}?api-version={version_of_type(kind.type)}"
        try:
            return frozenset(
                str(item["id"]).lower()
                for item in self._arm.pages(path)
                if provisioning_state(item) not in (*DONE, *FAILED)
            )
        except CloudError:
            return frozenset()  # the list only saves requests: without it each asks for itself and sees the error

    def _sleep(self, call: Call, seconds: float) -> None:
        while seconds > 0:
            self._clock.sleep(min(seconds, _SLICE_S))
            seconds -= _SLICE_S
            if seconds > 0:
                call.check()

    def _now_s(self) -> float:
        return self._clock.now().timestamp()


def _failure(error: CloudError) -> CloudError:
    """An operation that Azure gave up for an inner or passing reason says as little as no answer at all."""
    if isinstance(error, (CloudUnavailable, CloudBusy)):
        return LostAnswer(method="the operation on", **error.details)
    return error


def _deadline_s(ref: str) -> float:
    found = parse_id_or_none(ref)
    return _DEADLINE_S.get(found.type.lower(), _OTHER_DEADLINE_S) if found else _OTHER_DEADLINE_S

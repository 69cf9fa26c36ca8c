"""The in-memory cloud with one more thing: the n-th change of a run fails, before its effect or after it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fakes.cloud import FakeCloud
from holdfast.clouds.documents import Document
from holdfast.clouds.errors import CloudRefused, CloudUnavailable
from holdfast.clouds.protocols import Call, Claim, PowerLevel

REFUSED = CloudRefused(cloud_code="RequestDisallowedByPolicy", message="a policy forbids it")
UNAVAILABLE = CloudUnavailable(cloud_code="none", message="no answer")


@dataclass
class CountingCloud(FakeCloud):
    """fail_at: number of the change that fails (0 = the first); fails_for: so many tries of it; after: its effect
    happens first. `changes` lists what was asked for, in order."""

    fail_at: int | None = None
    fails_for: int = 1
    after: bool = False
    error: Exception = field(default_factory=lambda: UNAVAILABLE)
    changes: list[str] = field(default_factory=list)

    def _counted(self, verb: str, ref: str, act: Callable[[], Any]) -> Any:
        number = len(self.changes)
        self.changes.append(f"{verb} {ref.rsplit('/', 1)[-1]}")
        failing = self.fail_at is not None and self.fail_at <= number < self.fail_at + self.fails_for
        if failing and not self.after:
            raise self.error
        done = act()
        if failing:
            raise self.error
        return done

    def ensure(self, call: Call, document: Document) -> Document:
        made: Document = self._counted("ensure", document.ref, lambda: FakeCloud.ensure(self, call, document))
        return made

    def write(self, call: Call, document: Document) -> Document:
        made: Document = self._counted("write", document.ref, lambda: FakeCloud.write(self, call, document))
        return made

    def patch(self, call: Call, ref: str, body: Mapping[str, Any]) -> Document:
        made: Document = self._counted("patch", ref, lambda: FakeCloud.patch(self, call, ref, body))
        return made

    def mark(self, call: Call, ref: str, tags: Mapping[str, str]) -> None:
        self._counted("mark", ref, lambda: FakeCloud.mark(self, call, ref, tags))

    def unmark(self, call: Call, ref: str, names: Sequence[str]) -> None:
        self._counted("unmark", ref, lambda: FakeCloud.unmark(self, call, ref, names))

    def power(self, call: Call, machine: str, level: PowerLevel) -> None:
        self._counted("power", machine, lambda: FakeCloud.power(self, call, machine, level))

    def delete(self, call: Call, claim: Claim) -> None:
        self._counted("delete", claim.ref, lambda: FakeCloud.delete(self, call, claim))

    def convert_disks(self, call: Call, machine: str) -> None:
        self._counted("convert_disks", machine, lambda: FakeCloud.convert_disks(self, call, machine))

"""Kinds of operations, reconcilers and watches, and the registry that a process is wired with.

Declaring is free of side effects: `@operation` makes a value, and wiring lists the values in one `Registry`.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from holdfast.core.errors import InvalidInput, NotFound
from holdfast.core.ids import OperationId
from holdfast.engine import codec
from holdfast.engine.errors import NotRecordable
from holdfast.engine.roles import Role
from holdfast.engine.states import State

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from holdfast.engine.call import Call
    from holdfast.engine.operation import Operation
    from holdfast.engine.views import OperationView

__all__ = ["OnState", "OperationKind", "Reconciler", "Registry", "Watch", "operation", "reconciler"]

S = TypeVar("S")
R = TypeVar("R")

OnState = Callable[["Session", OperationId, State | None, State, dict[str, Any] | None], None]
"""(session, operation, old state or None when submitted, new state, error record): runs in the same transaction."""


class OperationKind(Generic[S, R]):
    """One kind in one version. Calling it calls the story, so that a test may run it directly."""

    def __init__(
        self,
        story: Callable[[Operation, S], R],
        *,
        name: str,
        version: int,
        spec: type[S],
        role: Role,
        mutates: bool,
        urgent: bool,
        subject: Callable[[S], str] | None,
        on_state: OnState | None,
    ) -> None:
        self.story = story
        self.name = name
        self.version = version
        self.spec = spec
        self.role = role
        self.mutates = mutates
        self.urgent = urgent
        self.subject = subject
        self.on_state = on_state
        functools.update_wrapper(self, story)

    def __call__(self, op: Operation, spec: S) -> R:
        return self.story(op, spec)

    def __repr__(self) -> str:
        return f"OperationKind({self.name!r}, version={self.version})"

    @property
    def title(self) -> str:
        return codec.title_of(self.story)

    def encode_spec(self, spec: S) -> dict[str, Any]:
        return codec.encode(self.spec, spec, f"the spec of {self.name}")

    def decode_spec(self, record: dict[str, Any]) -> S:
        decoded: S = codec.decode(self.spec, record, f"the spec of {self.name}")
        return decoded

    def encode_result(self, value: R) -> dict[str, Any]:
        return codec.encode_result(self.story, value)

    def decode_result(self, record: dict[str, Any]) -> R:
        decoded: R = codec.decode_result(self.story, record)
        return decoded


def operation(
    name: str,
    *,
    version: int = 1,
    spec: type[S],
    role: Role = Role.OPERATOR,
    mutates: bool = True,
    urgent: bool = False,
    subject: Callable[[S], str] | None = None,
    on_state: OnState | None = None,
) -> Callable[[Callable[[Operation, S], R]], OperationKind[S, R]]:
    """Declare the decorated story as an operation.

    version: raise it when recorded operations of the old story could not be replayed by the new one, and register both
    until none is open. mutates: at most one open mutating operation per subject. urgent: a queue of its own. subject:
    what it is about, from its spec, where the submitter does not say. on_state: see `OnState`.
    """

    def declare(story: Callable[[Operation, S], R]) -> OperationKind[S, R]:
        return OperationKind(
            story,
            name=name,
            version=version,
            spec=spec,
            role=role,
            mutates=mutates,
            urgent=urgent,
            subject=subject,
            on_state=on_state,
        )

    return declare


@dataclass(frozen=True)
class Reconciler:
    """A standing wish: `act` compares and mends, level-triggered, about every `every_s`, in one worker at a time."""

    name: str
    every_s: float
    act: Callable[[Call[Any]], None]

    def __call__(self, call: Call[Any]) -> None:
        self.act(call)


def reconciler(name: str, every_s: float) -> Callable[[Callable[[Call[Any]], None]], Reconciler]:
    """Declare the decorated function as a reconciler. It must be right to run it at any moment, twice, or late."""

    def declare(act: Callable[[Call[Any]], None]) -> Reconciler:
        return Reconciler(name, every_s, act)

    return declare


@dataclass(frozen=True)
class Watch:
    """Looks again at what closed operations of `kind` left behind, until `for_s` after they closed."""

    kind: str
    check: Callable[[Call[Any], OperationView], None]
    for_s: float = 3600.0
    every_s: float = 60.0


class Registry:
    """Everything that this process can run. An explicit list, given to the engine by wiring.

    renamed maps recorded compensation names (`module:function`) of older releases to today's functions.
    """

    def __init__(
        self,
        kinds: Iterable[OperationKind[Any, Any]] = (),
        reconcilers: Iterable[Reconciler] = (),
        watches: Iterable[Watch] = (),
        renamed: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._kinds: dict[tuple[str, int], OperationKind[Any, Any]] = {}
        self.reconcilers: list[Reconciler] = []
        self.watches: list[Watch] = []
        self._renamed = dict(renamed or {})
        for kind in kinds:
            self.add(kind)
        for one in reconcilers:
            self.add_reconciler(one)
        self.watches.extend(watches)

    def add(self, kind: OperationKind[Any, Any]) -> None:
        if self._kinds.setdefault((kind.name, kind.version), kind) is not kind:
            raise ValueError(f"two operations are named {kind.name} version {kind.version}")

    def add_reconciler(self, one: Reconciler) -> None:
        if any(other.name == one.name for other in self.reconcilers):
            raise ValueError(f"two reconcilers are named {one.name}")
        self.reconcilers.append(one)

    def after_close(
        self, kind: str, check: Callable[[Call[Any], OperationView], None], for_s: float = 3600.0, every_s: float = 60.0
    ) -> None:
        """Have closed operations of `kind` looked at again: a request abandoned by a dead worker may land late."""
        self.watches.append(Watch(kind, check, for_s, every_s))

    def kind(self, name: str, version: int | None = None) -> OperationKind[Any, Any]:
        """That version, or the newest. Raises NotFound."""
        versions = [known for known, _ in ((v, k) for (n, v), k in self._kinds.items() if n == name)]
        wanted = max(versions, default=None) if version is None else version
        if wanted is None or (name, wanted) not in self._kinds:
            raise NotFound(kind="operation kind", name=name if version is None else f"{name} version {version}")
        return self._kinds[name, wanted]

    def kinds(self) -> tuple[OperationKind[Any, Any], ...]:
        return tuple(self._kinds.values())

    def can_run(self, name: str, version: int) -> bool:
        return (name, version) in self._kinds

    def name_of(self, function: Callable[..., Any]) -> str:
        """`module:function`, under which `resolve` finds it after a restart. Raises NotRecordable if it would not."""
        name = f"{getattr(function, '__module__', '?')}:{getattr(function, '__qualname__', '?')}"
        if not inspect.isfunction(function) or "<" in name or self.resolve(name) is not function:
            raise NotRecordable(name=name, problem="a compensation must be a function of a module, found by its name")
        return name

    def resolve(self, name: str) -> Callable[..., Any]:
        """The function of that recorded name. Raises NotRecordable."""
        if name in self._renamed:
            return self._renamed[name]
        module, _, attribute = name.partition(":")
        if not module or not attribute.isidentifier():
            raise NotRecordable(name=name, problem="it is not the name of a compensation")
        try:
            found = getattr(importlib.import_module(module), attribute)
        except (ImportError, AttributeError) as exc:
            raise NotRecordable(name=name, problem=f"this release has no such compensation ({exc})") from exc
        if not inspect.isfunction(found) or found.__module__ != module:
            # A name in the database must not be a way to call whatever a module happens to import.
            raise NotRecordable(name=name, problem="it is not a function of that module")
        return found

    def subject_of(self, kind: OperationKind[Any, Any], spec: Any, subject: str | None) -> str | None:
        """What the operation is about. Raises InvalidInput when a mutating one does not say."""
        found = subject if subject is not None or kind.subject is None else kind.subject(spec)
        if found is None and kind.mutates:
            raise InvalidInput(field="subject", problem=f"an operation {kind.name} must say what it changes")
        return found

"""Faults that a test arranges for coming calls."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Fault", "Faults"]


@dataclass
class Fault:
    """Raised by the next `times` calls of `verb` whose ref contains `about`. after: the effect happens first."""

    verb: str
    error: Exception
    about: str = ""
    times: int = 1
    after: bool = False


class Faults:
    """Raises the matching fault on entry, or on a successful exit for one that comes after the effect."""

    def __init__(self, faults: list[Fault], verb: str, ref: str) -> None:
        self._faults, self._verb, self._ref = faults, verb, ref

    def __enter__(self) -> None:
        self._raise(after=False)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._raise(after=True)

    def _raise(self, after: bool) -> None:
        for fault in self._faults:
            matches = fault.verb == self._verb and fault.about.lower() in self._ref.lower()
            if matches and fault.after is after and fault.times > 0:
                fault.times -= 1
                raise fault.error

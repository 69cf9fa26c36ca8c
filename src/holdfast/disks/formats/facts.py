"""What an image says of itself, told without opening anything that it points to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["ImageFacts", "Source", "Suspicion"]


class Source(Protocol):
    """Bytes of an image, for parsers; a short answer at the end of the file is right."""

    size_bytes: int

    def at(self, offset: int, size: int) -> bytes: ...


@dataclass(frozen=True)
class Suspicion:
    """Why an image must not be opened: the rule that it breaks, and how."""

    rule: str
    problem: str


@dataclass
class ImageFacts:
    """`format`: what the bytes say. `size_bytes`: of the virtual disk. `suspicions`: empty if it may be opened.

    `unchecked`: what was not looked at because it would have cost too much, in sentences.
    """

    format: str
    size_bytes: int = 0
    variant: str | None = None
    suspicions: list[Suspicion] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def suspect(self, rule: str, problem: str) -> None:
        self.suspicions.append(Suspicion(rule, problem))

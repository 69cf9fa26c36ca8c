"""What a rule is: it looks at one size and one question and says what speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum

from holdfast.market.deciding.sizes.size import Size
from holdfast.market.deciding.sizes.traits import MachineTraits
from holdfast.market.deciding.sizes.wish import SizeWish

__all__ = ["Kind", "LosesZones", "No", "Note", "Priority", "Question", "Quota", "Rule", "Verdict", "needs_true", "rule"]


class Priority(StrEnum):
    SPOT = "spot"
    ON_DEMAND = "on-demand"


class Kind(StrEnum):
    """HARD: the machine would not start or lose data. USER: what the user asked. SOFT: a default, or a warning."""

    HARD = "hard"
    USER = "user"
    SOFT = "soft"


@dataclass(frozen=True)
class Quota:
    """Free vCPUs; None = not known. Spot has its own regional total over all families."""

    spot_free: int | None = None
    regional_free: int | None = None
    family_free: Mapping[str, int] = field(default_factory=dict)  # by family, lower case


@dataclass(frozen=True)
class Question:
    """Everything that a rule may look at besides the size."""

    traits: MachineTraits
    wish: SizeWish
    priority: Priority
    today: date
    quota: Quota = Quota()
    spot_priced: frozenset[str] | None = None  # lower-case sizes with a spot meter; None = price list not known


@dataclass(frozen=True)
class No:
    """The size is refused: why, and what the user could change."""

    reason: str
    remedy: str


@dataclass(frozen=True)
class LosesZones:
    """The size stays, but not in these zones. When none remains, `reason` refuses the size."""

    zones: frozenset[str]
    reason: str
    remedy: str


@dataclass(frozen=True)
class Note:
    """Worth knowing; refuses nothing."""

    text: str


Verdict = No | LosesZones | Note


@dataclass(frozen=True)
class Rule:
    code: str
    title: str  # reads on after "remain: "
    kind: Kind
    check: Callable[[Size, Question], Iterable[Verdict]]


def rule(code: str, title: str, kind: Kind) -> Callable[[Callable[[Size, Question], Iterable[Verdict]]], Rule]:
    """Make a rule of a generator function."""
    return lambda check: Rule(code, title, kind, check)


def needs_true(size: Size, capability: str, what: str, remedy: str) -> Iterable[Verdict]:
    """The size must say True. Silence of the cloud is not a yes, and is told apart from a no."""
    answer = size.flag(capability)
    if answer is False:
        yield No(f"{what}, and {size.name} does not offer it ({capability} is False)", remedy)
    elif answer is None:
        yield No(f"{what}, and the cloud does not say whether {size.name} offers it (no {capability})", remedy)

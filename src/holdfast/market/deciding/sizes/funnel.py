"""Run all rules over all sizes: how many remain after each rule, which qualify, and why every other does not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date

from holdfast.core import errors
from holdfast.market.deciding.sizes.judging import (
    Kind,
    LosesZones,
    No,
    Note,
    Priority,
    Question,
    Quota,
    Rule,
)
from holdfast.market.deciding.sizes.rules import RULES, reachable_zones
from holdfast.market.deciding.sizes.size import Size
from holdfast.market.deciding.sizes.traits import MachineTraits
from holdfast.market.deciding.sizes.wish import SizeWish

__all__ = ["Funnel", "NoSizeMatches", "Qualified", "Reason", "Refused", "Stage", "qualify", "require_some"]


@dataclass(frozen=True)
class Reason:
    """One rule's no to one size."""

    code: str
    kind: Kind
    reason: str
    remedy: str


@dataclass(frozen=True)
class Qualified:
    """A size that the machine can run on. `zones` are those that remain; `regional` = without a zone."""

    size: Size
    zones: tuple[str, ...]
    regional: bool
    preferred: bool
    notes: tuple[str, ...] = ()

    @property
    def markets(self) -> int:
        return len(self.zones) + self.regional


@dataclass(frozen=True)
class Refused:
    """A size that it cannot run on, with every rule's reason; the first is the one that the funnel counts."""

    name: str
    reasons: tuple[Reason, ...]
    size: Size | None = None  # None: named by the user and not known here


@dataclass(frozen=True)
class Stage:
    """One line of the funnel."""

    code: str
    title: str
    remain: int


@dataclass(frozen=True)
class Funnel:
    """The whole answer. `stages[0]` counts what went in. Qualified: preferred first, then by name."""

    priority: Priority
    stages: tuple[Stage, ...]
    qualified: tuple[Qualified, ...]
    refused: tuple[Refused, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(q.size.name for q in self.qualified)

    @property
    def markets(self) -> int:
        """Size × zone pairs, the unit in which spot is bought."""
        return sum(q.markets for q in self.qualified)

    def remaining(self, code: str) -> int:
        """How many sizes remained after the rule of this code. Raises KeyError for a rule that was not run."""
        return {stage.code: stage.remain for stage in self.stages}[code]

    def nearest_misses(self, most: int = 5) -> tuple[Refused, ...]:
        """The refused sizes that most nearly fit: fewest hard reasons, then fewest reasons, then by name."""
        known = [r for r in self.refused if r.size is not None]
        return tuple(
            sorted(
                known,
                key=lambda r: (sum(x.kind is Kind.HARD for x in r.reasons), len(r.reasons), r.name),
            )[:most]
        )


class NoSizeMatches(errors.Refused):
    """No size passes every rule."""

    code = "market.no_size_matches"
    field = "compute.vmSizes"
    text = "None of {considered} sizes in {location} can be used. Nearest: {nearest}"
    remedy = (
        "Change what the nearest sizes lack, widen the attributes, or name sizes; `market sizes` shows every reason."
    )


def qualify(
    traits: MachineTraits,
    sizes: Sequence[Size],
    wish: SizeWish,
    *,
    today: date,
    priority: Priority = Priority.SPOT,
    quota: Quota | None = None,
    spot_priced: Iterable[str] | None = None,
    rules: Sequence[Rule] = RULES,
) -> Funnel:
    """Judge every size. Sizes that the user names are the whole field; names that are not offered here are refused.

    With spot priority the field is `wish.spot_sizes`, else all sizes; with on-demand priority it is `wish.od_sizes`,
    else all. vCPU, memory and storage ranges describe spot sizes and are not asked of named ones. `spot_priced`:
    names of the sizes that have a spot price; None = no price list was read.
    """
    named = wish.spot_sizes if priority is Priority.SPOT else wish.od_sizes
    field, strangers = _field(sizes, named)
    if named:
        rules = [r for r in rules if r.code not in _RANGE_RULES]
    asked = Question(
        traits,
        wish,
        priority,
        today,
        quota or Quota(),
        None if spot_priced is None else frozenset(n.lower() for n in spot_priced),
    )
    judged = [_judge(size, asked, rules) for size in field]
    qualified = sorted((j for j in judged if isinstance(j, Qualified)), key=lambda q: (not q.preferred, q.size.name))
    refused = [j for j in judged if isinstance(j, Refused)]
    return Funnel(
        priority=priority,
        stages=_stages(len(field) + len(strangers), len(field), refused, rules, bool(strangers)),
        qualified=tuple(qualified),
        refused=tuple(sorted([*strangers, *refused], key=lambda r: r.name)),
    )


def require_some(funnel: Funnel, location: str = "this region") -> Funnel:
    """The funnel itself, or NoSizeMatches with the nearest misses."""
    if funnel.qualified:
        return funnel
    misses = funnel.nearest_misses() or funnel.refused[:5]
    nearest = "; ".join(f"{r.name} ({r.reasons[0].reason})" for r in misses) or "there is none to choose from"
    raise NoSizeMatches(
        considered=funnel.stages[0].remain,
        location=location,
        nearest=nearest,
        misses=[{"size": r.name, "reasons": [x.reason for x in r.reasons]} for r in misses],
    )


_RANGE_RULES = {"size.vcpus", "size.memory", "size.storage", "size.excluded"}


def _field(sizes: Sequence[Size], named: Sequence[str]) -> tuple[list[Size], list[Refused]]:
    if not named:
        return list(sizes), []
    by_name = {s.name.lower(): s for s in sizes}
    wanted = list(dict.fromkeys(n.lower() for n in named))
    spelt = {n.lower(): n for n in named}
    strangers = [
        Refused(
            spelt[n],
            (
                Reason(
                    "size.unknown", Kind.HARD, f"no size {spelt[n]} is offered here", "check the name and the region"
                ),
            ),
        )
        for n in wanted
        if n not in by_name
    ]
    return [by_name[n] for n in wanted if n in by_name], strangers


def _judge(size: Size, asked: Question, rules: Sequence[Rule]) -> Qualified | Refused:
    zones, regional = reachable_zones(size, asked)
    had = zones
    reasons: list[Reason] = []
    notes: list[str] = []
    for rule in rules:
        for verdict in rule.check(size, asked):
            match verdict:
                case No(reason, remedy):
                    reasons.append(Reason(rule.code, rule.kind, reason, remedy))
                case LosesZones(lost, reason, remedy):
                    before, zones = zones, zones - lost
                    if before and not zones and not regional:
                        reasons.append(Reason(rule.code, rule.kind, reason, remedy))
                    elif before != zones:
                        notes.append(reason)
                case Note(text):
                    notes.append(text)
    if reasons:
        return Refused(size.name, tuple(reasons), size)
    assert zones or regional or not had  # a size without a place was refused by the rule that took the last one
    preferred = size.name.lower() in asked.wish.preferred_names
    return Qualified(size, tuple(sorted(zones)), regional, preferred, tuple(notes))


def _stages(
    total: int, known: int, refused: Sequence[Refused], rules: Sequence[Rule], named: bool
) -> tuple[Stage, ...]:
    stages = [Stage("size.all", "considered", total)]
    if named:
        stages.append(Stage("size.unknown", "offered here", known))
    remain = known
    first = Counter(r.reasons[0].code for r in refused)
    for rule in rules:
        remain -= first[rule.code]
        stages.append(Stage(rule.code, rule.title, remain))
    return tuple(stages)

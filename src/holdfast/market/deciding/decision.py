"""One decision for one node, explained: where to order, in which order, why, and what forbids each alternative.

`decide` is pure. A decision to stay carries the same explanation as a decision to move.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

import numpy as np

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.ages import Floats
from holdfast.market.deciding.candidates import Candidate, Place, Reserved, knowledge_of
from holdfast.market.deciding.forecast import Forecast
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.policies import OFFERED, Choice, Policy, policy
from holdfast.market.deciding.policies.gate import Gate
from holdfast.market.deciding.state import MarketStates
from holdfast.market.deciding.terms import Terms
from holdfast.market.deciding.weighing import Verdict, Weighed, weigh

__all__ = ["SHARE_BAND", "Action", "Decision", "Moment", "NodeWishes", "decide"]

# Long-run shares that differ by less are the same for us: half of it is a week's noise, double would buy bad markets.
SHARE_BAND = 0.02


class Moment(StrEnum):
    """Why a decision is asked for."""

    LAUNCH = "launch"  # the node has no machine yet
    ON_DEMAND = "on-demand"  # it runs on on-demand and the markets were just probed
    EVICTED = "evicted"  # its market was lost, or its notice has come
    ON_SPOT = "on-spot"


class Action(StrEnum):
    ORDER = "order"  # try `order` in turn
    MOVE = "move"  # a planned move to order[0]
    STAY = "stay"


@dataclass(frozen=True)
class NodeWishes:
    """What the owner set. `on_demand` is the place of last resort; `fallback` False = wait instead of using it.

    `moves_allowed` False: a window masks planned moves; `window` says which, for the explanation.
    """

    on_demand: Place
    on_demand_per_hour: float
    policy: str = "p5"
    terms: Terms = field(default_factory=Terms)
    fallback: bool = True
    preferred_zone: str | None = None
    preferred_sizes: tuple[str, ...] = ()
    moves_allowed: bool = True
    window: str = ""


@dataclass(frozen=True)
class Decision:
    """`order`: places to try in turn. `weighed`: every market with the number that speaks for or against it."""

    moment: Moment
    action: Action
    order: tuple[Place, ...]
    policy: str
    why: str
    weighed: tuple[Weighed, ...]
    terms: Terms

    @property
    def chosen(self) -> Place | None:
        return self.order[0] if self.order else None

    def to_json(self) -> dict[str, Any]:
        return {
            "moment": self.moment.value,
            "action": self.action.value,
            "policy": self.policy,
            "lambda": self.terms.lam,
            "order": [p.to_json() for p in self.order],
            "why": self.why,
            "alternatives": [w.to_json() for w in self.weighed],
        }

    def text(self, most: int | None = None) -> str:
        """The decision in words; `most` limits the alternatives that are listed."""
        lines = [self.why]
        shown = self.weighed if most is None else self.weighed[:most]
        lines += [f"  {w.place}: {w.text}" for w in shown]
        if len(shown) < len(self.weighed):
            lines.append(f"  … and {len(self.weighed) - len(shown)} more")
        return "\n".join(lines)


def decide(
    moment: Moment,
    candidates: Sequence[Candidate],
    states: MarketStates,
    wishes: NodeWishes,
    lost: Place | None = None,
    context_per_hour: Floats | None = None,
    forecast: Forecast | None = None,
) -> Decision:
    """Decide. `states[i]` is the history of `candidates[i]`; `lost` is the market just evicted, or served in.

    Raises InvalidInput for a policy that is not offered, a size of states that differs, or an on-demand price of 0.
    """
    chosen = _offered(wishes.policy)
    if len(states) != len(candidates):
        raise InvalidInput(field="states", problem=f"{len(states)} states for {len(candidates)} markets")
    if not wishes.on_demand_per_hour > 0:
        raise InvalidInput(field="on-demand price", problem="must be known and greater than 0 to compare with spot")
    terms = wishes.terms.with_notice() if chosen.uses_notice else wishes.terms
    known = knowledge_of(candidates, states, wishes.on_demand_per_hour, context_per_hour, forecast)
    choice = _narrowed(_choice(moment, chosen, known, terms, candidates), moment, candidates, lost)
    ranked = [int(i) for i in _preferring(choice, wishes, candidates).best_first() if choice.admissible[i]]
    verdicts = weigh(moment == Moment.EVICTED, chosen, known, terms, candidates, choice.admissible, lost)
    return _decision(moment, chosen, wishes, candidates, ranked, verdicts, terms)


def _offered(name: str) -> Policy:
    if name not in OFFERED:
        raise InvalidInput(field="policy", problem=f"'{name}' is not offered for nodes; choose {' or '.join(OFFERED)}")
    made = policy(name)
    return replace(made, share_band=SHARE_BAND) if isinstance(made, Gate) else made


def _choice(moment: Moment, chosen: Policy, known: Knowledge, terms: Terms, candidates: Sequence[Candidate]) -> Choice:
    if moment is Moment.LAUNCH:
        # The first launch takes spot whenever it can, the cheapest first; whom nobody has asked may be tried, and a
        # price that nobody knows comes last.
        open_ = np.array([c.answers is not False for c in candidates], dtype=np.bool_)
        unknown = np.array([c.price_per_hour is None and c.reserved is None for c in candidates], dtype=np.bool_)
        return Choice(open_ & ((known.price < 1.0) | unknown), (-unknown.astype(np.float64), -known.price))
    if moment is Moment.EVICTED:
        return chosen.replacing(known, terms)
    return chosen.returning(known, terms)


def _narrowed(choice: Choice, moment: Moment, candidates: Sequence[Candidate], lost: Place | None) -> Choice:
    """Without what must not be ordered whatever the policy says."""
    free = np.array(
        [
            c.blocked is None
            and c.no_headroom is None
            and c.place != lost
            and c.reserved is not Reserved.OVER_ON_DEMAND
            for c in candidates
        ],
        dtype=np.bool_,
    )
    ahead = np.array([c.reserved is Reserved.OVER_SPOT for c in candidates], dtype=np.float64)
    admissible = np.zeros_like(choice.admissible) if moment is Moment.ON_SPOT else choice.admissible & free
    return Choice(admissible, choice.keys).preferring(ahead)


def _preferring(choice: Choice, wishes: NodeWishes, candidates: Sequence[Candidate]) -> Choice:
    """Reserved slots, the preferred zone, then preferred sizes come before the policy's rank."""
    sizes = {s.lower() for s in wishes.preferred_sizes}
    zone = np.array([c.place.zone == wishes.preferred_zone for c in candidates], dtype=np.float64)
    size = np.array([c.place.size.lower() in sizes for c in candidates], dtype=np.float64)
    zone = zone if wishes.preferred_zone is not None else np.zeros(len(candidates))
    ahead, *keys = choice.keys
    return Choice(choice.admissible, (ahead, zone, size, *keys))


def _decision(
    moment: Moment,
    chosen: Policy,
    wishes: NodeWishes,
    candidates: Sequence[Candidate],
    ranked: Sequence[int],
    verdicts: Sequence[Weighed],
    terms: Terms,
) -> Decision:
    def made(action: Action, order: Sequence[Place], why: str, taken: Sequence[int]) -> Decision:
        weighed = _in_order(verdicts, ranked, taken, masked=moment is Moment.ON_DEMAND and not wishes.moves_allowed)
        return Decision(moment, action, tuple(order), chosen.name, why, weighed, terms)

    if moment is Moment.ON_SPOT:
        why = "Stay: between spot markets no voluntary move pays; a move would cost its own downtime for the same risk."
        return made(Action.STAY, (), why, ())
    if moment is Moment.ON_DEMAND:
        if not wishes.moves_allowed:
            why = f"Stay on {wishes.on_demand}: planned moves are not allowed now{_window(wishes)}."
            return made(Action.STAY, (), why, ())
        if not ranked:
            return made(Action.STAY, (), f"Stay on {wishes.on_demand}: {_why_none(verdicts)}.", ())
        best = candidates[ranked[0]].place
        return made(Action.MOVE, (best,), f"Move to {best}: {verdicts[ranked[0]].text}.", ranked[:1])

    taken = list(ranked) if moment is Moment.LAUNCH else list(ranked[: chosen.attempts])
    order = [candidates[i].place for i in taken]
    order += [c.place for c in candidates if c.reserved is Reserved.OVER_ON_DEMAND and _orderable(c)]
    order += [wishes.on_demand] if wishes.fallback else []
    if not order:
        why = f"Wait: {_why_none(verdicts)}, and on-demand is not allowed as a fallback."
        return made(Action.STAY, (), why, ())
    if taken:
        head = f"Order {order[0]}"
        why = f"{head}: {verdicts[taken[0]].text}."
    else:
        why = f"Order {order[0]}: {_why_none(verdicts)}."
    return made(Action.ORDER, order, why, taken)


def _orderable(candidate: Candidate) -> bool:
    return candidate.blocked is None and candidate.no_headroom is None and candidate.answers is not False


def _window(wishes: NodeWishes) -> str:
    return f" (window {wishes.window})" if wishes.window else ""


def _why_none(verdicts: Sequence[Weighed]) -> str:
    """One sentence for all markets: how many, and what most of them lack."""
    if not verdicts:
        return "there is no spot market to choose from"
    counts: dict[Verdict, int] = {}
    for v in verdicts:
        counts[v.verdict] = counts.get(v.verdict, 0) + 1
    most = max(counts, key=lambda k: counts[k])
    rest = f" ({counts[most]} of {len(verdicts)})" if counts[most] < len(verdicts) else ""
    return f"no spot market is taken, {most.words}{rest}"


def _in_order(
    verdicts: Sequence[Weighed], ranked: Sequence[int], taken: Sequence[int], masked: bool
) -> tuple[Weighed, ...]:
    """Chosen ones first, then the admissible by rank, then the others as they were given."""
    told: list[Weighed] = []
    for position, i in enumerate(ranked):
        if i in taken:
            told.append(replace(verdicts[i], verdict=Verdict.CHOSEN, rank=position + 1))
        elif masked:
            told.append(replace(verdicts[i], verdict=Verdict.WINDOW, rank=position + 1))
        else:
            told.append(replace(verdicts[i], verdict=Verdict.BEHIND, rank=position + 1))
    placed = set(ranked)
    return (*told, *(v for i, v in enumerate(verdicts) if i not in placed))

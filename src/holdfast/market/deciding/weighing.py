"""Why each market was or was not taken: a verdict, the number that decides it, and a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from holdfast.market.deciding.ages import Floats, bin_of
from holdfast.market.deciding.candidates import Candidate, Place
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.policies import Policy
from holdfast.market.deciding.policies.gate import Gate
from holdfast.market.deciding.state import Bools
from holdfast.market.deciding.terms import Terms

__all__ = ["Verdict", "Weighed", "weigh"]


class Verdict(StrEnum):
    CHOSEN = "chosen"
    BEHIND = "behind"  # admissible, ranked behind the chosen one
    WINDOW = "window"
    SERVED = "served-or-lost"
    BLOCKED = "blocked"
    NO_HEADROOM = "no-headroom"
    SILENT = "does-not-answer"
    NO_PRICE = "price-unknown"
    NOT_CHEAPER = "not-cheaper"
    NOT_WORTH = "not-worth-the-move"
    TOO_YOUNG = "worth-waiting"
    RESERVE = "only-before-on-demand"
    STAYING = "not-asked"

    @property
    def words(self) -> str:
        return _WORDS[self]


_WORDS = {
    Verdict.CHOSEN: "it is chosen",
    Verdict.BEHIND: "another one is better",
    Verdict.WINDOW: "planned moves are not allowed now",
    Verdict.SERVED: "it is the market that was lost or is served in",
    Verdict.BLOCKED: "it refused an order a short while ago",
    Verdict.NO_HEADROOM: "no quota is left",
    Verdict.SILENT: "it does not answer",
    Verdict.NO_PRICE: "its price is not known",
    Verdict.NOT_CHEAPER: "it is not cheaper than on-demand",
    Verdict.NOT_WORTH: "it would be lost again before it has paid for the move",
    Verdict.TOO_YOUNG: "it has not answered for long enough",
    Verdict.RESERVE: "the reservation is kept for the moment before on-demand",
    Verdict.STAYING: "the machine stays",
}


@dataclass(frozen=True)
class Weighed:
    """`numbers`: what was compared, in on-demand hours where it is a value; only what the policy looks at."""

    place: Place
    verdict: Verdict
    text: str
    numbers: dict[str, float | None]
    rank: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            **self.place.to_json(),
            "verdict": self.verdict.value,
            "rank": self.rank,
            "text": self.text,
            "numbers": self.numbers,
        }


@dataclass(frozen=True)
class _Numbers:
    """Columns over the markets; the last four only for the gate."""

    price: Floats
    share: Floats
    age_min: Floats
    hazard: Floats
    life_h: Floats | None = None
    now: Floats | None = None
    later: Floats | None = None
    after_eviction: Floats | None = None


def weigh(
    evicted: bool,
    chosen: Policy,
    known: Knowledge,
    terms: Terms,
    candidates: Sequence[Candidate],
    admissible: Bools,
    lost: Place | None,
) -> list[Weighed]:
    """One for each candidate, in their order; admissible ones say what speaks for them."""
    table = _table(evicted, chosen, known, terms)
    cost = terms.unplanned_h if evicted else terms.gate_h
    return [
        _weighed(i, candidate, table, bool(admissible[i]), evicted, cost, lost)
        for i, candidate in enumerate(candidates)
    ]


def _table(evicted: bool, chosen: Policy, known: Knowledge, terms: Terms) -> _Numbers:
    by_age = known.hazard_in_context if chosen.uses_context else known.hazard
    hazard = np.take_along_axis(by_age, bin_of(known.age_min)[..., None], -1)[..., 0]
    if not isinstance(chosen, Gate):
        return _Numbers(known.price, known.share, known.age_min, hazard)
    values = chosen.values(known, terms)
    after = chosen.replacement_values(known, terms) if evicted else None
    return _Numbers(known.price, known.share, known.age_min, hazard, values.life_h, values.now, values.later, after)


def _weighed(
    i: int, candidate: Candidate, table: _Numbers, admissible: bool, evicted: bool, cost_h: float, lost: Place | None
) -> Weighed:
    verdict = Verdict.BEHIND if admissible else _verdict(i, candidate, table, evicted, lost)
    numbers: dict[str, float | None] = {
        "price": None if candidate.price_per_hour is None and candidate.reserved is None else _round(table.price[i]),
        "share": _round(table.share[i]),
        "ageMinutes": _round(table.age_min[i]),
        "evictionsPerHour": _round(table.hazard[i]),
    }
    if table.life_h is not None and table.now is not None and table.later is not None:
        numbers |= {"lifeHours": _round(table.life_h[i]), "cost": _round(cost_h)}
        if table.after_eviction is not None:
            numbers["valueNow"] = _round(table.after_eviction[i])
        else:
            numbers |= {"valueNow": _round(table.now[i]), "valueLater": _round(table.later[i])}
    return Weighed(candidate.place, verdict, _sentence(verdict, candidate, numbers), numbers)


def _verdict(i: int, candidate: Candidate, table: _Numbers, evicted: bool, lost: Place | None) -> Verdict:
    if candidate.place == lost:
        return Verdict.SERVED
    if candidate.blocked is not None:
        return Verdict.BLOCKED
    if candidate.no_headroom is not None:
        return Verdict.NO_HEADROOM
    if candidate.answers is not True:
        return Verdict.SILENT
    if candidate.reserved is not None:
        return Verdict.RESERVE
    if candidate.price_per_hour is None:
        return Verdict.NO_PRICE
    if table.price[i] >= 1.0:
        return Verdict.NOT_CHEAPER
    if table.now is None or table.later is None:
        return Verdict.STAYING
    worth = table.after_eviction if evicted and table.after_eviction is not None else table.now
    if worth[i] <= 0:
        return Verdict.NOT_WORTH
    return Verdict.TOO_YOUNG if not evicted and table.later[i] > table.now[i] else Verdict.STAYING


def _sentence(verdict: Verdict, candidate: Candidate, numbers: dict[str, float | None]) -> str:
    if verdict is Verdict.BLOCKED:
        return f"left alone, {candidate.blocked}"
    if verdict is Verdict.NO_HEADROOM:
        return f"not ordered, {candidate.no_headroom}"
    if verdict in (Verdict.SILENT, Verdict.NO_PRICE, Verdict.SERVED, Verdict.STAYING, Verdict.RESERVE):
        return verdict.words
    price = numbers["price"]
    if price is None:
        return "its price is not known, so it comes last"
    if verdict is Verdict.NOT_CHEAPER:
        return f"costs {price:.0%} of on-demand"
    if candidate.reserved is not None:
        return "a paid reservation has a free slot; it costs nothing more and is not evicted"
    if candidate.answers is None:
        return f"{price:.0%} of on-demand; nobody has asked it yet"
    seen = f"{price:.0%} of on-demand, has answered for {_span(numbers['ageMinutes'])}"
    if numbers.get("lifeHours") is None or numbers.get("cost") is None:
        return f"{seen}, and {numbers['share'] or 0:.0%} of all times"
    seen += f", expected to last {_span(60 * (numbers['lifeHours'] or 0))}"
    now, cost = numbers["valueNow"] or 0.0, numbers["cost"] or 0.0
    if verdict is Verdict.NOT_WORTH:
        return f"{seen}: saves {now + cost:.1f} on-demand hours and the move costs {cost:.1f}"
    if verdict is Verdict.TOO_YOUNG:
        return (
            f"{seen}: worth {now:.1f} on-demand hours now and {numbers.get('valueLater') or 0:.1f} if it lasts, so wait"
        )
    return f"{seen}: worth {now:.1f} on-demand hours after {cost:.1f} for the move"


def _span(minutes: float | None) -> str:
    if minutes is None:
        return "ever"
    if minutes < 90:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.1f} h" if minutes < 48 * 60 else f"{minutes / 1440:.1f} days"


def _round(value: float) -> float | None:
    """JSON has no infinity: what is endless (a reservation) is None."""
    return round(float(value), 4) if np.isfinite(value) else None

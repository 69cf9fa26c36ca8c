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
    """`numbers`: what was compared, in on-demand hours where it is a value; only what the policy looks at.

    The sentence is made when somebody reads it: most decisions are made and not read.
    """

    candidate: Candidate
    verdict: Verdict
    numbers: dict[str, float | None]
    rank: int | None = None

    @property
    def place(self) -> Place:
        return self.candidate.place

    @property
    def text(self) -> str:
        return _sentence(self.verdict, self.candidate, self.numbers)

    def to_json(self) -> dict[str, Any]:
        return {
            **self.place.to_json(),
            "verdict": self.verdict.value,
            "rank": self.rank,
            "text": self.text,
            "numbers": self.numbers,
        }


Column = list[float | None]


@dataclass(frozen=True)
class _Numbers:
    """Columns over the markets, as people read them: four decimals, None for what is endless. The last for gates."""

    price: Column
    share: Column
    age_min: Column
    hazard: Column
    life_h: Column | None = None
    now: Column | None = None
    later: Column | None = None


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
    allowed = admissible.tolist()
    return [
        Weighed(
            candidate,
            Verdict.BEHIND if allowed[i] else _verdict(i, candidate, table, evicted, lost),
            _numbers(i, candidate, table, cost),
        )
        for i, candidate in enumerate(candidates)
    ]


def _table(evicted: bool, chosen: Policy, known: Knowledge, terms: Terms) -> _Numbers:
    by_age = known.hazard_in_context if chosen.uses_context else known.hazard
    hazard = np.take_along_axis(by_age, bin_of(known.age_min)[..., None], -1)[..., 0]
    plain = (_column(known.price), _column(known.share), _column(known.age_min), _column(hazard))
    if not isinstance(chosen, Gate):
        return _Numbers(*plain)
    values = chosen.values(known, terms)
    if evicted:
        return _Numbers(*plain, _column(values.life_h), _column(chosen.replacement_values(known, terms)))
    return _Numbers(*plain, _column(values.life_h), _column(values.now), _column(values.later))


def _column(values: Floats) -> Column:
    """JSON has no infinity: what is endless (a reservation) is None."""
    rounded: list[float] = np.round(values, 4).tolist()
    if np.isfinite(values).all():
        return [*rounded]
    return [v if np.isfinite(v) else None for v in rounded]


def _numbers(i: int, candidate: Candidate, table: _Numbers, cost_h: float) -> dict[str, float | None]:
    unpriced = candidate.price_per_hour is None and candidate.reserved is None
    numbers: dict[str, float | None] = {
        "price": None if unpriced else table.price[i],
        "share": table.share[i],
        "ageMinutes": table.age_min[i],
        "evictionsPerHour": table.hazard[i],
    }
    if table.life_h is not None and table.now is not None:
        numbers["lifeHours"] = table.life_h[i]
        numbers["cost"] = round(cost_h, 4)
        numbers["valueNow"] = table.now[i]
        if table.later is not None:
            numbers["valueLater"] = table.later[i]
    return numbers


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
    if (table.price[i] or 0.0) >= 1.0:
        return Verdict.NOT_CHEAPER
    if table.now is None:
        return Verdict.STAYING
    now = table.now[i] or 0.0
    if now <= 0:
        return Verdict.NOT_WORTH
    later = table.later[i] if table.later is not None else None
    return Verdict.TOO_YOUNG if not evicted and later is not None and later > now else Verdict.STAYING


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

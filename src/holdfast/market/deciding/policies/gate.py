"""P3 and P5: return when the spell that can be expected pays for the move, and not while waiting is worth more.

A return costs K_g whatever happens later; what it earns is (1 − p) for as long as the market lasts. A market that has
just come back lasts minutes, one that has answered for a day lasts days: so a market is entered when the expected
rest of its life pays (V_now > 0) and when seeing it survive a little longer would not be worth more (V_now ≥ V_later).
The patience that follows grows with λ and with the downtime of a move; nobody sets it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from holdfast.market.deciding.ages import Floats, Lives
from holdfast.market.deciding.forecast import forecast_values
from holdfast.market.deciding.knowledge import Knowledge
from holdfast.market.deciding.policies.choosing import Choice, share_groups
from holdfast.market.deciding.state import Bools
from holdfast.market.deciding.terms import Terms

__all__ = ["Gate", "GateValues"]


@dataclass(frozen=True)
class GateValues:
    """The numbers behind a choice, in on-demand hours. `life_h` in hours."""

    now: Floats
    later: Floats
    life_h: Floats


@dataclass(frozen=True)
class Gate:
    """`share_band`: shares that differ by less are equal and the lower price wins (live decisions). 0 = the score of
    the benchmark, share − .001·price.
    """

    name: str
    uses_context: bool = True
    uses_notice: bool = False
    share_band: float = 0.0
    starts_on_spot: bool = True
    returns: str = "always"
    waits_for_the_lost_market: bool = False
    attempts: int = 3

    def returning(self, known: Knowledge, terms: Terms) -> Choice:
        values = self.values(known, terms)
        worth = (values.now > 0) & (values.now >= values.later)
        return self._ranked(known, known.answers & worth & (known.price < 1.0))

    def replacing(self, known: Knowledge, terms: Terms) -> Choice:
        worth = self.replacement_values(known, terms) > 0
        return self._ranked(known, known.answers & worth & (known.price < 1.0))

    def values(self, known: Knowledge, terms: Terms) -> GateValues:
        """V_now and V_later of every market."""
        gain, cost = 1.0 - known.price, terms.gate_h
        if known.forecast is not None:
            hazard = known.hazard_in_context if self.uses_context else known.hazard
            told = forecast_values(hazard, known.age_min, known.price, cost, known.forecast)
            now, later, life = told.life_h * gain - cost, told.later, told.life_h
        else:
            lives = self._lives(known)
            life = lives.now
            now = life * gain - cost
            reached = lives.reach * (lives.at_bin * gain[..., None] - cost)
            later = np.where(lives.reach > 0, reached, -np.inf).max(axis=-1)
        # a reservation lasts: its value grows with every hour, so it is never worth waiting for
        endless = known.never_evicted
        return GateValues(
            np.where(endless & (gain > 0), np.inf, now),
            np.where(endless, -np.inf, later),
            np.where(endless, np.inf, life),
        )

    def replacement_values(self, known: Knowledge, terms: Terms) -> Floats:
        """M(a)(1 − p) − λ(detect + D_u): after an eviction the move itself is paid in any case."""
        gain = 1.0 - known.price
        if known.forecast is not None:
            hazard = known.hazard_in_context if self.uses_context else known.hazard
            life = forecast_values(hazard, known.age_min, known.price, terms.gate_h, known.forecast).life_h
        else:
            life = self._lives(known).now
        worth = life * gain - terms.unplanned_h
        return np.asarray(np.where(known.never_evicted & (gain > 0), np.inf, worth))

    def _lives(self, known: Knowledge) -> Lives:
        return known.lives_in_context if self.uses_context else known.lives

    def _ranked(self, known: Knowledge, admissible: Bools) -> Choice:
        if self.share_band > 0:
            return Choice(admissible, (share_groups(known.share, admissible, self.share_band), -known.price))
        return Choice(admissible, (known.share - 0.001 * known.price,))

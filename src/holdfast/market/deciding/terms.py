"""What a minute of downtime is worth and how long moves take: the four numbers of every decision."""

from __future__ import annotations

from dataclasses import dataclass, replace

from holdfast.core.errors import InvalidInput

__all__ = ["DEFAULT_LAMBDA", "Terms", "lambda_of_orientation"]

DEFAULT_LAMBDA = 10.0  # balanced


def lambda_of_orientation(availability_vs_cost: int | None, setting: float | None = None) -> float:
    """λ = 3·10^(x/100) for x in 0 (cost) to 100 (availability): 3, 9.5 in the middle, 30. Absent → 10.

    `setting`, the operator's own λ, overrides. Raises InvalidInput outside 0..100 or for a λ that is not positive.
    """
    if setting is not None:
        if not 0 < setting < float("inf"):
            raise InvalidInput(field="lambda", problem=f"{setting} is not a positive number")
        return float(setting)
    if availability_vs_cost is None:
        return DEFAULT_LAMBDA
    if not 0 <= availability_vs_cost <= 100:
        raise InvalidInput(field="strategy.availabilityVsCost", problem=f"{availability_vs_cost} is not in 0..100")
    return float(3.0 * 10.0 ** (availability_vs_cost / 100.0))


@dataclass(frozen=True)
class Terms:
    """λ = on-demand minutes that one minute of downtime is worth; the rest in minutes.

    `unplanned_min` (D_u): a replacement after an eviction, from allocation on. `planned_min` (D_p): a planned move.
    `detect_min`: from eviction to the first action; 0 where the eviction notice starts the order.
    """

    lam: float = DEFAULT_LAMBDA
    unplanned_min: int = 5
    planned_min: int = 5
    detect_min: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.lam < float("inf"):
            raise InvalidInput(field="lambda", problem=f"{self.lam} is not a positive number")
        if min(self.unplanned_min, self.planned_min, self.detect_min) < 0:
            raise InvalidInput(field="downtime", problem="minutes must not be negative")

    def with_notice(self) -> Terms:
        """The same when the notice arrives before the machine goes."""
        return replace(self, detect_min=0)

    @property
    def gate_h(self) -> float:
        """K_g = λ(D_p + detect + D_u), in on-demand hours: a return costs its own move and, one day, the way back.

        The rent of the two boots is left out on purpose: adding it changed the tuning result by at most .005, never
        for the better.
        """
        return self.lam * (self.planned_min + self.detect_min + self.unplanned_min) / 60.0

    @property
    def unplanned_h(self) -> float:
        """K_u = λ(detect + D_u), in on-demand hours: what the next eviction will cost."""
        return self.lam * (self.detect_min + self.unplanned_min) / 60.0

    @property
    def index_h(self) -> float:
        """K of the break-even h < (1 − p)/K: λ(D_p + detect + D_u) + D_p + D_u, in hours."""
        return self.gate_h + (self.planned_min + self.unplanned_min) / 60.0

    @property
    def index_unplanned_h(self) -> float:
        """The same without the planned leg: λ(detect + D_u) + D_u."""
        return self.unplanned_h + self.unplanned_min / 60.0

    def break_even(self, price: float) -> float:
        """Evictions per hour below which spot at this price is worth being on."""
        return (1.0 - price) / self.index_h if self.index_h > 0 else float("inf")

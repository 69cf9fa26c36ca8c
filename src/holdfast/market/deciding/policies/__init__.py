"""Policies as values, by the names of the benchmark. `policy("p5")` makes one; `POLICY_NAMES` lists them.

To add one: a value that fits `choosing.Policy`, a line in `_MAKERS`.
"""

from __future__ import annotations

from collections.abc import Callable

from holdfast.core.errors import InvalidInput
from holdfast.market.deciding.policies.baselines import NaiveA, NaiveB, OnDemand, SameSize
from holdfast.market.deciding.policies.choosing import Choice, Policy
from holdfast.market.deciding.policies.documented import Documented, Hysteresis
from holdfast.market.deciding.policies.gate import Gate
from holdfast.market.deciding.policies.index import Index

__all__ = ["OFFERED", "POLICY_NAMES", "Choice", "Policy", "policy"]

_MAKERS: dict[str, Callable[[], Policy]] = {
    "on-demand": OnDemand,
    "naive-a": NaiveA,
    "naive-b": NaiveB,
    "same-size": SameSize,
    "documented": Documented,
    "documented-availability": lambda: Documented(name="documented-availability", by_share=True),
    "p1": Hysteresis,
    "p2a": lambda: Index("constant", "p2a"),
    "p2b": lambda: Index("age", "p2b"),
    "p2c": lambda: Index("context", "p2c", uses_context=True),
    "p3": lambda: Gate("p3"),
    "p3-plain": lambda: Gate("p3-plain", uses_context=False),
    "p5": lambda: Gate("p5", uses_notice=True),
    "p5-plain": lambda: Gate("p5-plain", uses_context=False, uses_notice=True),
}
POLICY_NAMES = tuple(_MAKERS)
OFFERED = ("documented", "p5")  # what a node's owner can choose


def policy(name: str) -> Policy:
    """By name; `p1:240` is P1 with a patience of 240 minutes. Raises InvalidInput for other names."""
    head, _, patience = name.partition(":")
    if head == "p1" and patience:
        if not patience.isdigit():
            raise InvalidInput(field="policy", problem=f"'{patience}' is not a number of minutes")
        return Hysteresis(patience_min=float(patience), name=name)
    if name not in _MAKERS:
        raise InvalidInput(field="policy", problem=f"there is no policy {name}; known: {', '.join(POLICY_NAMES)}")
    return _MAKERS[name]()

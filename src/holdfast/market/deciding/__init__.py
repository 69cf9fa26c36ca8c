"""Pure decisions about markets: which sizes, which market, when to move. Values in, values out; no I/O, no clock.

Start with `decision.decide` (one decision, explained) and `replay/replaying.py` (the same policies on history).
`ages` → `state` → `hazard` → `policies` is the way from observations to a choice.
"""

"""Holdfast keeps stateful virtual machines held fast while hardware, market and cloud under them change.

Read `imports/importing.py` first (one operation, told as a story), then `clouds/protocols.py` (what a cloud is to us).
"""

__version__ = "0.1.0"

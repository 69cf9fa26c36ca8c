"""Imports: take a running machine over as a stateful node, with plan, proof, retention and undo.

`importing.py` tells the story; `planning.py` is the pure decision behind it; `service.py` is what the faces call.
"""

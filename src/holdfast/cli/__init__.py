"""The terminal: `holdfast NOUN VERB`. An HTTP client of `/v1`; holds no decisions.

Start with `main.py` (how a noun is found) and `importing.py` (one noun). `disk` and `market replay` need no server.
"""

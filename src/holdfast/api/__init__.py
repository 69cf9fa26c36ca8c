"""HTTP: `/v1`, health and metrics, and in `spot/` the routes that Spot's clients know. Holds no decisions.

Start with `app.py` (what is served) and `imports.py` (one noun). `python -m holdfast.api` is the server's process.
"""

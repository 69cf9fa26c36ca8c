"""Azure as a cloud: ARM spoken through azure-core and azure-identity, with explicit api-versions and own waiting.

Start with `cloud.py` (what features see), then `arm.py` (how one request is sent). `waiting.py` is the only place that
waits for a long-running operation, `errors.py` the only table of Azure's codes, `versions.py` the only table of
api-versions. Nothing in here decides what is done with a machine.
"""

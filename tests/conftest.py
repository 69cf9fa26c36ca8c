"""Being here puts `tests/` on the import path: any test may say `from fakes.cloud import FakeCloud`."""

from __future__ import annotations

import os

from hypothesis import HealthCheck, settings

# Property tests try the same examples in every run, so that a red suite means a change of the code and not of the dice;
# HOLDFAST_RANDOM=1 rolls them. No deadline: a busy machine is not a defect.
settings.register_profile(
    "house",
    deadline=None,
    derandomize=not os.environ.get("HOLDFAST_RANDOM"),
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("house")

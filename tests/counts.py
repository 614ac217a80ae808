"""How often a test repeats: a few times at the desk, in full with PINGLET_CAMPAIGN=1."""

import os

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

CAMPAIGN = bool(os.environ.get("PINGLET_CAMPAIGN"))


def count(few: int, full: int) -> int:
    """Return `full` in a campaign, else `few`."""
    return full if CAMPAIGN else few


def examples(few: int, full: int) -> hypothesis_settings:
    """Settings for a hypothesis test; its fixtures are shared by its examples."""
    return hypothesis_settings(
        max_examples=count(few, full),
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    )

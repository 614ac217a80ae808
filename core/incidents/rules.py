"""Rules: when bad is bad enough, and for whom."""

from typing import NamedTuple

from core.incidents.judge import Limits


class Rule(NamedTuple):
    """How many bad slots open an incident, how many good ones resolve it, and how grave it is."""

    name: str
    limits: Limits
    severity: str


DEFAULT = Rule("default", Limits(bad=2, of=3, clear=2), "critical")
"""Holds for every server from the first start on: two of three due slots."""

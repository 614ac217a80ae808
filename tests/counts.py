"""How often a test repeats: a few times at the desk, as often as the issues say in a campaign.

`make campaign` sets PINGLET_CAMPAIGN=1 and writes docs/campaign.md, which lists what is named here.
"""

import os

from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings

FULL = bool(os.environ.get("PINGLET_FULL"))
CAMPAIGN = bool(os.environ.get("PINGLET_CAMPAIGN"))
hypothesis_settings.register_profile(
    "patient",
    hypothesis_settings(),
    deadline=None,  # a slow machine is no failure
    suppress_health_check=[HealthCheck.too_slow],
)
hypothesis_settings.load_profile("patient")
NAMED: dict[str, int] = {}  # what a campaign repeats, and how often


def named(what: str, full: int) -> int:
    """Return `full`, listed in docs/campaign.md as `what`."""
    NAMED[what] = full
    return full


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


TRANSACTIONS = count(400, named("transactions of 8 processes on one SQLite file", 2_000))
KILLS = count(4, named("kills of Postgres (-9) in a round, and as many in its recording", 20))
STARTS = count(4, named("starts of 8 processes at once on a missing SQLite file", 50))
BODIES = named("arbitrary requests of each method of the contract, on each database", 10_000)
API_BODIES = named("arbitrary bodies for every route of /api/v1, on each database", 2_000)
CASES = count(
    2, named("schemathesis cases of each operation, kind of data, caller and database", 20)
)
GRAPHQL_CASES = count(3, named("schemathesis cases of each field of GraphQL, on each database", 60))
PASSWORDS = count(200, named("wrong passwords from one address, and from a hundred", 1_000))
EVENTS = named("events of every shape at each Lambda handler, on each database", 5_000)
MESSAGES = count(200, named("result messages, 30 % of them doubled, all shuffled", 1_000))
HISTORIES = named("histories packed and read, held against reading raw rows", 400)
CUTS = count(5, named("moments at which packing and tidying are cut off", 30))
FLEET = count(30, named("servers in rounds in fast time", 1_000))
ROUNDS = count(60, named("rounds of those servers", 1_440))
WORLDS = named("random worlds that the probe engine is judged by", 300)
TARGETS = count(2_000, named("hosts in one sweep", 10_000))
RACES = count(40, named("races of each kind between changes of the same servers, on Postgres", 400))
CLOCKS = named("random sequences of clocks that step, restart and sleep, on each database", 300)
HEADERS = named("requests with hostile headers of each kind, on each database", 5_000)
PROCESS_KILLS = count(
    2, named("kills (-9) of a process that writes into SQLite, in each kind of work", 100)
)
ROUNDS_LOADED = count(
    3, named("rounds beside imports, bulk changes and GraphQL, on each database", 200)
)
CREDENTIALS = named("credentials that are nearly right, on each database", 5_000)

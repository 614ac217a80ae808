"""What a fleet costs: the design's budget, and how it grows."""

import dataclasses
from pathlib import Path

import pytest

from core.errors import WrongRequest
from infra.estimate import ALL_ANSWER_S, ONE_IS_SILENT_S, PRICES, Fleet, estimate, stored_gb

ROOT = Path(__file__).parents[2]


def test_a_thousand_servers_each_minute_are_within_the_budget_even_if_some_are_silent() -> None:
    assert estimate(Fleet(1_000)).functions <= 7
    assert estimate(Fleet(1_000, probe_wait_s=ALL_ANSWER_S)).functions <= 7


def test_cost_grows_no_faster_than_the_fleet() -> None:
    small, large = estimate(Fleet(10_000)), estimate(Fleet(100_000))
    assert large.functions <= 10 * small.functions


def test_half_as_often_is_about_half_as_dear() -> None:
    often, seldom = estimate(Fleet(100_000, 60)), estimate(Fleet(100_000, 120))
    assert 0.4 < seldom.functions / often.functions < 0.6


def test_a_database_of_aws_is_on_the_bill() -> None:
    external = estimate(Fleet(1_000)).total
    assert external + 20 < estimate(Fleet(1_000, database="rds")).total
    assert external + 50 < estimate(Fleet(1_000, database="aurora")).total


def test_history_is_bounded() -> None:
    assert stored_gb(Fleet(1_000)) < 5


@pytest.mark.parametrize(
    "fleet", [Fleet(0), Fleet(1, 59), Fleet(1, database="oracle"), Fleet(-1, 0)]
)
def test_a_fleet_that_can_not_be_is_refused(fleet: Fleet) -> None:
    with pytest.raises(WrongRequest):
        estimate(fleet)


def test_every_price_says_where_it_is_written() -> None:
    for price in PRICES.values():
        assert price.dollars > 0
        assert price.source.startswith("aws.amazon.com/")
    bill = estimate(Fleet(5, database="rds"))
    assert bill.total == pytest.approx(sum(line.dollars for line in bill.lines))
    assert {field.name for field in dataclasses.fields(bill)} == {"lines"}


@pytest.mark.parametrize(
    ("file", "prices"),
    [
        ("infra/database-rds.yml", ["rds", "endpoint", "secret"]),
        ("infra/database-aurora.yml", ["aurora", "endpoint", "secret"]),
        ("infra/network.yml", ["endpoint"]),
        ("infra/database-external.yml", ["secret"]),
    ],
)
def test_a_choice_says_what_it_costs_where_it_is_made(file: str, prices: list[str]) -> None:
    written = (ROOT / file).read_text()
    for price in prices:
        assert f"{PRICES[price].dollars:.2f} $" in written


def test_the_document_says_what_the_estimate_says() -> None:
    document = (ROOT / "docs" / "deploy.md").read_text()
    for wait_s in (ALL_ANSWER_S, ONE_IS_SILENT_S):
        assert f" {estimate(Fleet(1_000, probe_wait_s=wait_s)).functions:.2f} $" in document
    external = estimate(Fleet(1_000)).total
    for database in ("rds", "aurora"):
        extra = estimate(Fleet(1_000, database=database)).total - external
        (row,) = (line for line in document.splitlines() if f"`database={database}`" in line)
        assert f"about {round(extra)} $" in row

"""What slots add up to."""

from core.history.codec import NO_COLUMNS, Rows, Slots, merged
from core.history.sums import Totals, joined, totals
from core.models import DAY
from core.servers.schedule import Planned, due, spans
from core.slots import slot_number
from tests.core.history.histories import FIRST


def test_a_part_of_a_day_adds_up_to_what_its_slots_hold() -> None:
    day = merged(
        None, Rows([1, 2, 3], [100, -1, 200], [90, -1, 150], [110, -1, 250], [4] * 3, [4, 0, 2])
    )
    part = totals(day, due(spans([Planned(FIRST, 60, True)]), slot_number(FIRST)), 2, 6)
    assert part._asdict() == {
        "up": 0,
        "degraded": 1,
        "down": 1,
        "unobserved": 2,
        "sent": 8,
        "received": 2,
        "timed": 1,
        "hundredths": 200,
        "best_ms": 1.5,
        "worst_ms": 2.5,
        "p50_ms": 2.0,
        "p95_ms": 2.0,
        "p99_ms": 2.0,
    }


def test_where_no_slot_holds_a_ping_only_what_was_due_is_counted() -> None:
    assert totals(Slots.of(NO_COLUMNS), 0b1011) == Totals(unobserved=3)


def test_parts_add_up_to_the_percentiles_of_all_their_slots() -> None:
    minutes, means = list(range(100)), list(range(1, 101))
    day = merged(None, Rows(minutes, means, means, means, [4] * 100, [4] * 100))
    parts = [totals(day, 0, 0, 30), totals(day, 0, 30, 100)]
    assert joined(parts, [day.mean[:30], day.mean[30:100]]) == totals(day, 0)
    assert parts[0].p50_ms != totals(day, 0).p50_ms


def test_the_table_day_has_a_column_for_each_sum() -> None:
    assert set(Totals._fields) < set(DAY.columns.keys())

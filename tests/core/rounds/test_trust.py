"""Which clocks are believed, and how much of the time before is doubted."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ClockContradicted
from core.rounds import trust
from core.rounds.trust import Reading, Trust
from core.slots import AHEAD
from tests.core.rounds.readings import DAY, HOUR, MINUTE, reading
from tests.counts import examples
from tests.infra.rows import SLOT

NOBODY = Trust([])


def a_round_every(step: timedelta, until: timedelta, synchronised: bool = False) -> Trust:
    """Begin with SLOT and go on until so long after it."""
    found = NOBODY
    for number in range(until // step + 1):
        found = trust.after(found, reading(number * step, synchronised=synchronised))
    return found


def test_rounds_that_agree_make_one_stretch_and_doubt_nothing() -> None:
    found = a_round_every(MINUTE, 3 * HOUR)
    [stretch] = found.stretches
    assert (stretch.began, stretch.ended) == (SLOT, SLOT + 3 * HOUR)
    assert (stretch.agreed_s, stretch.synchronised_s) == (10_800.0, 0.0)
    assert found.vouched == SLOT + 3 * HOUR
    assert found.removal_waits is None


def test_before_the_first_round_nothing_is_removed() -> None:
    assert NOBODY.vouched is None
    assert not NOBODY.contradicted


@pytest.mark.parametrize(
    ("later", "doubted"),
    [
        (reading(DAY + 2 * MINUTE), timedelta(0)),  # asleep: the clock that counts it agrees
        (reading(3 * DAY), 3 * DAY),  # longer than anybody vouches for
        (reading(HOUR, boot="second"), timedelta(0)),  # started anew
        (reading(2 * HOUR, boot="second"), 2 * HOUR),
        (reading(7 * DAY, boot=""), 7 * DAY),  # where nobody knows of starts
        (reading(4 * MINUTE, set_by=4 * MINUTE), timedelta(0)),  # NTP steps by less than AHEAD
    ],
)
def test_a_gap_is_doubted_where_nothing_bridges_it(later: Reading, doubted: timedelta) -> None:
    found = trust.after(a_round_every(MINUTE, timedelta(0)), later)
    assert (found.contradicted, found.doubted) == (False, doubted)
    assert found.vouched == later.wall - doubted


@pytest.mark.parametrize(
    ("later", "contradicted"),
    [
        (reading(HOUR, set_by=30 * MINUTE), True),
        (reading(-DAY), True),
        (reading(-DAY, boot="second"), True),
        (reading(-4 * MINUTE, boot="second"), False),
        (reading(3_650 * DAY, boot="second"), False),  # a long holiday, for all we know
    ],
)
def test_a_clock_that_steps_or_lies_behind_is_contradicted(
    later: Reading, contradicted: bool
) -> None:
    found = trust.after(a_round_every(MINUTE, MINUTE), later)
    assert found.contradicted == contradicted
    assert (found.vouched is None) == contradicted
    assert (found.removal_waits is None) == (later.wall - SLOT < timedelta(0) and not contradicted)


@pytest.mark.parametrize(("synchronised", "days"), [(True, 1), (False, 7)])
def test_a_doubt_ends_after_a_day_of_a_synchronised_clock_or_a_week_of_another(
    synchronised: bool, days: int
) -> None:
    found = a_round_every(HOUR, HOUR)
    for number in range(24 * days):
        later = reading(30 * DAY + number * HOUR, boot="second", synchronised=synchronised)
        found = trust.after(found, later)
        assert found.doubted == 30 * DAY - HOUR
    end = reading(30 * DAY + 24 * days * HOUR, boot="second", synchronised=synchronised)
    assert trust.after(found, end).vouched == end.wall


def test_a_machine_that_is_off_each_night_removes_a_little_later_and_never_stops() -> None:
    found = NOBODY
    for day in range(60):
        for hour in range(13):
            later = reading(day * DAY + hour * HOUR, boot=f"of day {day}")
            found = trust.after(found, later)
            assert found.doubted <= 14 * 12 * HOUR
    assert found.vouched == later.wall - 13 * 12 * HOUR  # a week of rounds


def test_a_clock_that_is_back_goes_on_where_it_was() -> None:
    found = a_round_every(MINUTE, HOUR)
    for far in (reading(900 * DAY, set_by=900 * DAY), reading(-DAY, set_by=-DAY)):
        wrong = trust.after(found, far)
        assert wrong.contradicted
        right = trust.after(wrong, reading(HOUR + MINUTE))
        assert right == a_round_every(MINUTE, HOUR + MINUTE)


@pytest.mark.parametrize(
    ("boot", "further", "contradicted"),
    [
        ("first", 8 * MINUTE, True),
        ("first", 4 * MINUTE, False),
        ("first", -1 * MINUTE, False),
        ("second", 8 * MINUTE, True),
        ("second", 4 * MINUTE, False),
    ],
)
def test_a_step_is_measured_from_the_newest_reading_also_if_that_is_a_little_behind(
    boot: str, further: timedelta, contradicted: bool
) -> None:
    behind = reading(HOUR - 4 * MINUTE, boot=boot, set_by=-5 * MINUTE)
    found = trust.after(a_round_every(MINUTE, HOUR), behind)
    assert (found.contradicted, found.stretches[-1].ended) == (False, SLOT + HOUR)
    now = HOUR - 3 * MINUTE + further
    later = reading(now, boot=boot, set_by=further - 5 * MINUTE)
    assert trust.after(found, later).contradicted == contradicted


def test_a_reading_that_is_noted_late_changes_nothing() -> None:
    found = a_round_every(MINUTE, HOUR)
    assert trust.after(found, reading(HOUR - MINUTE)) == found


def test_the_longer_witness_wins_where_the_machine_started_anew() -> None:
    long, short = a_round_every(MINUTE, DAY), a_round_every(MINUTE, 3 * MINUTE)
    for known, is_believed in ((long, True), (short, False)):
        now = known.stretches[-1].ended - SLOT
        ahead = known
        for number in range(10):
            later = reading(now + 900 * DAY + number * MINUTE, boot="second")
            ahead = trust.after(ahead, later)
        assert not ahead.contradicted
        back = trust.after(ahead, reading(now + 20 * MINUTE, boot="third"))
        assert back.contradicted != is_believed


def test_a_clock_that_stays_behind_is_believed_after_as_long_as_what_speaks_against_it() -> None:
    found = a_round_every(HOUR, 10 * HOUR)
    for number in range(10):
        found = trust.after(found, reading(-DAY + number * HOUR, boot="second"))
        assert found.contradicted
    found = trust.after(found, reading(-DAY + 10 * HOUR, boot="second"))
    assert not found.contradicted
    [stretch] = found.stretches
    assert stretch.ended == SLOT - DAY + 10 * HOUR


def shown(found: Trust, first: timedelta, until: timedelta, boot: str, **more: Any) -> Trust:
    """Go on with an hour's rounds by a clock that shows `first`, until it shows `until`."""
    for number in range((until - first) // HOUR + 1):
        found = trust.after(found, reading(first + number * HOUR, boot=boot, **more))
    return found


def test_a_synchronised_clock_outweighs_whatever_others_told_after_ten_minutes() -> None:
    ahead = shown(a_round_every(HOUR, 3 * DAY), 900 * DAY, 905 * DAY, "second")
    assert not ahead.contradicted
    for number in range(11):
        assert number == 0 or ahead.contradicted
        later = reading(8 * DAY + number * MINUTE, boot="third", synchronised=True)
        ahead = trust.after(ahead, later)
    assert not ahead.contradicted
    assert [one.ended for one in ahead.stretches] == [SLOT + 3 * DAY, later.wall]
    assert ahead.doubted == 5 * DAY


def test_what_a_synchronised_clock_told_is_outweighed_by_no_other_before_a_week() -> None:
    found = a_round_every(HOUR, HOUR, synchronised=True)
    behind = shown(found, -30 * DAY, -23 * DAY - HOUR, "second")
    assert behind.contradicted
    assert not trust.after(behind, reading(-23 * DAY, boot="second")).contradicted


def test_of_two_synchronised_clocks_the_longer_wins() -> None:
    found = a_round_every(HOUR, 10 * HOUR, synchronised=True)
    behind = shown(found, -30 * DAY, -30 * DAY + 9 * HOUR, "second", synchronised=True)
    assert behind.contradicted
    for synchronised in (False, True):
        last = reading(-30 * DAY + 10 * HOUR, boot="second", synchronised=synchronised)
        assert trust.after(behind, last).contradicted != synchronised


def test_in_one_start_a_clock_is_back_at_once_however_long_it_was_wrong() -> None:
    set_by = 900 * DAY - 2 * HOUR
    ahead = shown(a_round_every(HOUR, HOUR), 900 * DAY, 905 * DAY, "first", set_by=set_by)
    assert not ahead.contradicted
    back = trust.after(ahead, reading(5 * DAY + 3 * HOUR))
    [stretch] = back.stretches
    assert (stretch.ended, back.contradicted) == (SLOT + 5 * DAY + 3 * HOUR, False)


def test_rounds_that_were_made_since_are_not_undone_by_a_clock_that_forgot_them() -> None:
    """A machine without a clock of its own begins at the time that it saved; its power was cut."""
    found = a_round_every(MINUTE, DAY)
    since = shown(found, 8 * DAY, 8 * DAY + 2 * HOUR, "second")
    for saved in (DAY, DAY + HOUR):
        again = trust.after(since, reading(saved, boot="third"))
        assert again.contradicted
        right = trust.after(again, reading(8 * DAY + 3 * HOUR, boot="third"))
        assert not right.contradicted
        assert right.doubted == since.doubted


def test_a_machine_that_slept_for_long_doubts_that_also_where_its_clock_was_set() -> None:
    for slept, doubted in ((DAY, HOUR), (3 * DAY, 3 * DAY + HOUR)):
        first = reading(HOUR + slept + HOUR, set_by=HOUR)
        found = trust.after(a_round_every(MINUTE, HOUR), first)
        last = reading(HOUR + slept + HOUR + 10 * MINUTE, set_by=HOUR)
        found = trust.after(found, last)
        assert (found.contradicted, found.doubted) == (False, doubted)


def rare(gaps: Iterable[timedelta], *, boots: bool, synchronised: bool = False) -> Trust:
    """Let one round be made after each gap, where nobody knows of starts or each has its own."""
    found, wall = NOBODY, timedelta(0)
    for number, gap in enumerate(gaps):
        wall += gap
        boot = f"boot {number}" if boots else ""
        later = reading(wall, boot=boot, set_by=wall, synchronised=synchronised)
        for _time in ("before the round", "with its results"):
            found = trust.after(found, later)
    return found


@pytest.mark.parametrize("boots", [False, True])
@pytest.mark.parametrize(("synchronised", "days"), [(True, 1), (False, 7)])
@pytest.mark.parametrize("hours", [2, 12, 24])
def test_rounds_that_come_as_rarely_as_usual_vouch(
    hours: int, synchronised: bool, days: int, boots: bool
) -> None:
    uneven = [hours * HOUR + minutes * MINUTE for minutes in (0, 60, -30, 9, -9)]
    first = rare(uneven[:2], boots=boots, synchronised=synchronised)
    assert first.doubted == uneven[1]
    count = days * 24 // hours
    gaps = [*uneven[:2], *[hours * HOUR] * count]
    assert rare(gaps[:-1], boots=boots, synchronised=synchronised).doubted == uneven[1]
    done = rare(gaps, boots=boots, synchronised=synchronised)
    assert done.removal_waits is None
    assert done.vouched == SLOT + sum(gaps, timedelta(0))
    assert len(done.stretches) == 2
    assert rare([*gaps, *uneven], boots=boots, synchronised=synchronised).removal_waits is None


@pytest.mark.parametrize("boots", [False, True])
@pytest.mark.parametrize(
    ("gap", "doubted"),
    [
        (4 * HOUR, 4 * HOUR),
        (40 * DAY, 40 * DAY + 2 * HOUR),  # after it nobody knows what is usual
    ],
)
def test_a_gap_that_is_longer_than_usual_is_doubted_for_a_week_of_rounds(
    gap: timedelta, doubted: timedelta, boots: bool
) -> None:
    usual = [2 * HOUR] * 90
    week = 84 if doubted == gap else 85
    assert rare([*usual, gap, *usual[: week - 1]], boots=boots).doubted == doubted
    assert rare([*usual, gap, *usual[:week]], boots=boots).removal_waits is None


def test_rounds_that_come_more_rarely_than_once_a_day_never_vouch() -> None:
    assert rare([26 * HOUR] * 30, boots=True).doubted == 29 * 26 * HOUR


@pytest.mark.parametrize("synchronised", [False, True])
def test_a_rare_caller_whose_clock_was_ahead_records_on_with_the_third_round(
    synchronised: bool,
) -> None:
    ahead = 900 * DAY
    gaps = [*[2 * HOUR] * 3, ahead + 2 * HOUR, 2 * HOUR, 2 * HOUR - ahead, 2 * HOUR]
    assert rare(gaps, boots=True, synchronised=synchronised).contradicted
    found = rare([*gaps, 2 * HOUR], boots=True, synchronised=synchronised)
    assert not found.contradicted
    assert len(found.stretches) == 3


@examples(100, 20_000)
@given(
    st.timedeltas(6 * MINUTE, 900 * DAY),
    st.lists(st.tuples(st.timedeltas(MINUTE, 3 * DAY), st.booleans()), max_size=12),
)
def test_no_clock_that_starts_behind_is_believed_until_it_is_synchronised_or_a_week_is_over(
    behind: timedelta, steps: list[tuple[timedelta, bool]]
) -> None:
    """It tells nothing of minutes that nobody saw, however often the machine is started anew."""
    known = a_round_every(HOUR, 3 * HOUR, synchronised=True)
    found, wall, boots = known, 3 * HOUR - behind, 0
    for goes, starts_anew in [(timedelta(0), True), *steps]:
        wall, boots = wall + goes, boots + starts_anew
        if wall >= 3 * HOUR - AHEAD or wall >= 7 * DAY + 3 * HOUR - behind:
            break
        found = trust.after(found, reading(wall, boot=f"behind {boots}"))
        assert found.contradicted
        assert found.stretches[:-1] == known.stretches
    again = trust.after(found, reading(3 * HOUR + MINUTE, boot="right", synchronised=True))
    assert not again.contradicted
    assert len(again.stretches) == 1


@examples(100, 20_000)
@given(
    st.lists(
        st.tuples(
            st.timedeltas(-5 * DAY, 900 * DAY),  # how far the clock goes
            st.sampled_from(["", "first", "second"]),
            st.timedeltas(-5 * DAY, 900 * DAY),  # of which it was set
            st.booleans(),
        ),
        max_size=12,
    )
)
def test_whatever_clocks_show_no_more_is_removed_than_rounds_vouch_for(
    steps: list[tuple[timedelta, str, timedelta, bool]],
) -> None:
    found, wall, set_by = a_round_every(MINUTE, HOUR), HOUR, timedelta(0)
    for goes, boot, is_set, synchronised in steps:
        wall, set_by = wall + goes, set_by + is_set
        found = trust.after(
            found, reading(wall, boot=boot, set_by=set_by, synchronised=synchronised)
        )
        accepted = [one for one in found.stretches if not one.contradicted]
        ends = [one.ended for one in accepted]
        assert ends == sorted(ends)
        assert len(found.stretches) - len(accepted) <= 1
        if found.vouched is not None:
            known = sum(one.agreed_s for one in accepted)
            bridged = sum(one.doubted_s for one in accepted) - found.doubted.total_seconds()
            between = (trust.ASLEEP.total_seconds() + 600) * len(found.stretches)
            assert found.vouched <= SLOT + timedelta(seconds=known + bridged + between)


@pytest.mark.parametrize("off", [6 * MINUTE, -6 * MINUTE, 900 * DAY])
def test_the_databases_clock_contradicts_either_way(off: timedelta) -> None:
    trust.check(NOBODY, SLOT, None)
    trust.check(NOBODY, SLOT, SLOT + off / abs(off) * 5 * MINUTE)
    with pytest.raises(ClockContradicted, match="the database's clock shows"):
        trust.check(NOBODY, SLOT, SLOT + off)


def test_a_contradicted_clock_is_told_as_what_it_is() -> None:
    known = a_round_every(MINUTE, HOUR)
    for later, told in (
        (reading(2 * HOUR, set_by=HOUR), "was set to 2026-01-02T09:01:00Z while it ran"),
        (reading(-DAY), "shows 2026-01-01T07:01:00Z, the newest round began 2026-01-02T08:01:00Z"),
    ):
        with pytest.raises(ClockContradicted, match=told):
            trust.check(trust.after(known, later), later.wall, None)

"""From when to when planned work is due: once, on days of the week, or by cron.

Days and crons go by the local time of a zone. A time that doesn't exist there, as the clock was put
forward over it, is the first minute that does; of one that comes twice, as the clock was put back,
the first is meant. A cron whose minute or hour begins with * goes by the time that passes: it comes
in both, and not in what doesn't exist; where the clock is changed by half an hour, as on Lord Howe,
it may be left out once. Whatever the clock does, the end comes as many minutes after
the beginning as it is to last. Source: cronsim, which does as Debian's cron does.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import dropwhile, islice, takewhile
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError

from core.errors import WrongRequest
from core.history.records import EARLIEST, LATEST
from core.incidents.maintenance_records import Between, MaintenanceWhen
from core.reading import moment
from core.slots import SLOT, slot_of

AHEAD = timedelta(days=90)
"""How far what comes again is laid down in advance."""
MOST = 2_400
"""So many times at most in AHEAD: a little more than once an hour."""
LONGEST = timedelta(days=366)
LOOKED_BACK = timedelta(days=2)
FIELDS = 5  # with a sixth one, seconds, cronsim would do otherwise at changes of the clock
RIGHT = "since and until, or days, at and duration_m, or cron and duration_m"
KINDS = (
    {"since", "until"},
    {"days", "at", "duration_m"},
    {"days", "at", "duration_m", "zone"},
    {"cron", "duration_m"},
    {"cron", "duration_m", "zone"},
)


def check(when: MaintenanceWhen, now: datetime) -> None:
    """Refuse what can't be, or isn't to come any more. Raises WrongRequest."""
    given = {name for name in MaintenanceWhen.__struct_fields__ if getattr(when, name)}
    if given not in KINDS:
        got = (
            ", ".join(name for name in MaintenanceWhen.__struct_fields__ if name in given)
            or "nothing"
        )
        raise WrongRequest(f"when must be {RIGHT}, got {got}", "when")
    if when.cron is None and not when.days:
        _check_once(once(when), now)
        return
    if when.zone and when.zone not in _zones():
        told = "zone must be a name of the IANA's such as Europe/Berlin"
        raise WrongRequest(told, "when.zone", got=when.zone)
    if len(list(islice(between(when, now, now + AHEAD), MOST + 1))) > MOST:
        told = f"cron must come at most {MOST:,} times in {AHEAD.days} days"
        raise WrongRequest(told, "when.cron", got=when.cron)


def _check_once(found: Between, now: datetime) -> None:
    if found.until <= now:
        raise WrongRequest("until must be in the future", "when.until")
    if not found.since < found.until <= found.since + LONGEST:
        told = f"until must be at most {LONGEST.days} days after since"
        raise WrongRequest(told, "when.until")


def once(when: MaintenanceWhen) -> Between:
    """Return the slots of what comes once; minutes that it only touches are its own.

    Raises WrongRequest.
    """
    since, until = _time(when.since, "since"), _time(when.until, "until")
    return Between(since=slot_of(since), until=minute_after(until))


def _time(text: str | None, field: str) -> datetime:
    try:
        found = moment(text or "", field)
    except WrongRequest as error:
        raise error.at(f"when.{field}") from None
    if not EARLIEST <= found < LATEST:
        raise WrongRequest(f"{field} must be a time from 1970 to 8999", f"when.{field}", got=text)
    return found


def minute_after(time: datetime) -> datetime:
    """Return the first slot that doesn't begin before that time."""
    return slot_of(time + SLOT - timedelta(microseconds=1))


def between(when: MaintenanceWhen, since: datetime, until: datetime) -> Iterator[Between]:
    """Yield from when to when it is due, in order, as far as it begins from `since` to `until`.

    Raises WrongRequest.
    """
    if when.since:
        found = once(when)
        if since <= found.since < until:
            yield found
        return
    lasts = timedelta(minutes=when.duration_m or 0)
    for start in takewhile(lambda start: start < until, _starts(when, since)):
        yield Between(since=start, until=start + lasts)


def _starts(when: MaintenanceWhen, since: datetime) -> Iterator[datetime]:
    """Yield the minutes in which it begins, from `since` on."""
    # From well before: what didn't exist moves on, and local times alone don't say which is meant.
    before = max(since - LOOKED_BACK, EARLIEST).astimezone(ZoneInfo(when.zone or "UTC"))
    fields = _fields(when)
    try:
        found = CronSim(fields, before.replace(second=0, microsecond=0))
    except CronSimError:
        raise _wrong(fields) from None
    return dropwhile(lambda start: start < since, (start.astimezone(UTC) for start in found))


def _fields(when: MaintenanceWhen) -> str:
    """Return a cron, also for days of the week. Raises WrongRequest."""
    if when.cron is None:
        hour, minute = map(int, (when.at or "").split(":"))
        return f"{minute} {hour} * * {','.join(when.days)}"
    if len(when.cron.split()) != FIELDS:
        raise _wrong(when.cron)
    return when.cron


def _wrong(cron: str) -> WrongRequest:
    told = "cron must be minute, hour, day, month and weekday, such as 0 2 * * 6#1"
    return WrongRequest(told, "when.cron", got=cron)


@cache
def _zones() -> set[str]:
    return available_timezones()

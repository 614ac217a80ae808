"""One server's slots of one UTC day as columns of numbers, packed into bytes and back.

Knows no table. Inside, a time is a *code*, the position of its value on the grid that
core.checks.records.quantised_ms rounds to; so nothing is ever rounded twice.
"""

import zlib
from collections.abc import Iterable, Sequence
from functools import cache, cached_property
from itertools import accumulate
from struct import Struct
from typing import NamedTuple, Self

from core.checks.records import State
from core.slots import DAY_SLOTS

FINE = 10_000
"""Up to 100 ms a code is the time in hundredths of a ms; each decade above adds 9,000 codes."""
DECADE = 9_000
LARGEST = FINE + 6 * DECADE - 1
"""The code of 99,990,000 ms, a day and more: no echo is waited for that long."""
UNTIMED = 65_535
"""The code of no time at all: no echo came back, or none that could be timed."""


def code(hundredths: int) -> int:
    """Return the code of a time in hundredths of a ms; negative stands for no time.

    One that lies between two values of the grid is rounded to the nearer.
    """
    if hundredths <= FINE:
        return hundredths if hundredths >= 0 else UNTIMED
    start, step = FINE, 10
    while hundredths >= FINE * step:
        start, step = start + DECADE, step * 10
    return min(LARGEST, start + (hundredths + step // 2) // step - DECADE // 9)


def codes(hundredths: list[int]) -> list[int]:
    """Return the codes of many times: most servers are near, and then nothing is to be done."""
    if not hundredths or (min(hundredths) >= 0 and max(hundredths) <= FINE):
        return hundredths
    return [code(value) for value in hundredths]


@cache
def all_hundredths() -> list[int]:
    """Return every code's time, in hundredths of a ms."""
    coarse = [
        value * 10**decade
        for decade in range(1, 7)
        for value in range(DECADE // 9, DECADE // 9 + DECADE)
    ]
    return [*range(FINE), *coarse]


def all_ms(some_codes: Iterable[int]) -> list[float | None]:
    """Return the times that codes stand for, in ms, to the last bit as they were recorded.

    A quotient of whole numbers is the double nearest to the decimal, and so is what round() gives.
    """
    return [
        None if one == UNTIMED else (one if one <= FINE else all_hundredths()[one]) / 100
        for one in some_codes
    ]


NOTHING = "."
LETTERS = {State.UP: "+", State.DEGRADED: "~", State.DOWN: "-"}
IS_SET = str.maketrans({NOTHING: "0"} | dict.fromkeys(LETTERS.values(), "1"))
EMPTY = NOTHING * DAY_SLOTS

HELD_DIGITS = DAY_SLOTS // 4
LANES = Struct(f"<{DAY_SLOTS}H")
LANE_BITS = 16
MODULUS = 1 << LANE_BITS * DAY_SLOTS
PLANES = 11
"""States; then low and high bytes of: mean, mean - best, worst - mean, sent, received."""
HEADER = Struct(f"<B{PLANES}H")
VERSION = 1


class Slots:
    """A day's slots in columns of 1,440, read from its packed bytes as far as they are looked at.

    `states` holds a letter for each slot: + up, ~ degraded, - down, . no ping. `mean`, `best` and
    `worst` hold codes, UNTIMED where there is no time; `sent` is 0 where there is no ping.
    """

    def __init__(self, packed: bytes | None = None) -> None:
        if packed is not None:
            self.packed = packed

    @classmethod
    def of(cls, columns: "Columns", states: str | None = None) -> Self:
        """Make a day of its columns, and of its states if they are known.

        A slot holds a ping where `sent` isn't 0.
        """
        made = cls()
        made.states = _states(columns) if states is None else states
        made.mean, made.best, made.worst, made.sent, made.received = columns
        return made

    @cached_property
    def packed(self) -> bytes:
        """All of it in some kB: the version, the planes' sizes, then each plane deflated.

        A plane is the high or the low bytes of a column. Best and worst are kept as their distance
        to the mean, which takes half the room. The states follow from the columns, but are wanted
        without them.
        """
        return _pack(self.states, self.columns)

    @cached_property
    def states(self) -> str:
        """A letter for each slot."""
        return self._plane(0).decode("ascii")

    @cached_property
    def observed(self) -> int:
        """The slots that hold a ping, as bits."""
        return int(self.states[::-1].translate(IS_SET), 2)

    @property
    def minutes(self) -> Sequence[int]:
        """The slots that hold a ping, in order."""
        return [minute for minute, letter in enumerate(self.states) if letter != NOTHING]

    @property
    def held(self) -> str:
        """The same as 360 hexadecimal digits: a set of slots that every database can look into."""
        return f"{self.observed:0{HELD_DIGITS}x}"

    @cached_property
    def mean(self) -> Sequence[int]:
        """Each slot's mean, as codes."""
        return LANES.unpack(self._lanes(0))

    @cached_property
    def best(self) -> Sequence[int]:
        """Each slot's best echo, as codes."""
        return _column(_number(self.mean) - int.from_bytes(self._lanes(1), "little"))

    @cached_property
    def worst(self) -> Sequence[int]:
        """Each slot's worst echo, as codes."""
        return _column(_number(self.mean) + int.from_bytes(self._lanes(2), "little"))

    @cached_property
    def sent(self) -> Sequence[int]:
        """How many echoes each slot sent."""
        return LANES.unpack(self._lanes(3))

    @cached_property
    def received(self) -> Sequence[int]:
        """How many came back."""
        return LANES.unpack(self._lanes(4))

    def echoes(self, low: int, high: int) -> tuple[int, int]:
        """How many echoes the slots from `low` to before `high` sent, and how many came back."""
        if "sent" in self.__dict__:
            return sum(self.sent[low:high]), sum(self.received[low:high])
        # Bytes are summed faster than the columns are made of them.
        sums = [sum(plane[low:high]) for plane in self._echo_planes]
        return sums[0] + 256 * sums[1], sums[2] + 256 * sums[3]

    @cached_property
    def _echo_planes(self) -> Sequence[bytes]:
        return [self._plane(place) for place in range(PLANES - 4, PLANES)]

    @property
    def columns(self) -> "Columns":
        """All five."""
        return Columns(self.mean, self.best, self.worst, self.sent, self.received)

    def _lanes(self, column: int) -> bytearray:
        lanes = bytearray(LANES.size)
        lanes[0::2] = self._plane(2 * column + 1)
        lanes[1::2] = self._plane(2 * column + 2)
        return lanes

    def _plane(self, place: int) -> bytes:
        start, end = self._ends[place : place + 2]
        return zlib.decompress(self.packed[start:end], -zlib.MAX_WBITS)

    @cached_property
    def _ends(self) -> Sequence[int]:
        _version, *sizes = HEADER.unpack_from(self.packed)
        return list(accumulate(sizes, initial=HEADER.size))

    def missing(self, minutes: Iterable[int]) -> bool:
        """Whether one of these slots of the day holds no ping yet."""
        return any(self.states[minute] == NOTHING for minute in minutes)


class Columns(NamedTuple):
    """A day in columns of 1,440 numbers each."""

    mean: Sequence[int]
    best: Sequence[int]
    worst: Sequence[int]
    sent: Sequence[int]
    received: Sequence[int]


class Rows(NamedTuple):
    """A day's pings as they are recorded: lists of equal length, times in hundredths of a ms.

    `minutes` are slots of the day, 0 to 1,439, in any order; a negative time stands for none.
    """

    minutes: list[int]
    mean: list[int]
    best: list[int]
    worst: list[int]
    sent: list[int]
    received: list[int]


def merged(known: Slots | None, rows: Rows) -> Slots:
    """Return `known` with `rows` in the slots that it has no ping for.

    What is there stays: a ping that comes twice changes nothing. Returns `known` itself where rows
    add nothing.
    """
    if known and not known.missing(rows.minutes):
        return known
    times = [codes(rows.mean), codes(rows.best), codes(rows.worst)]
    fresh = [*times, rows.sent, rows.received]
    if not known and rows.minutes == list(range(DAY_SLOTS)):
        return Slots.of(Columns(*fresh))
    states = list(known.states if known else EMPTY)
    free = [letter == NOTHING for letter in states]
    columns = [list(column) for column in (known.columns if known else NO_COLUMNS)]
    for column, values in zip(columns, fresh, strict=True):
        for minute, value in zip(rows.minutes, values, strict=True):
            if free[minute]:
                column[minute] = value
    # Few slots may be new: their states aren't read from all columns.
    for minute, letter in zip(rows.minutes, _states(rows), strict=True):
        if free[minute]:
            states[minute] = letter
    return Slots.of(Columns(*columns), "".join(states))


NO_TIMES = [UNTIMED] * DAY_SLOTS
NO_ECHOES = [0] * DAY_SLOTS
NO_COLUMNS = Columns(NO_TIMES, NO_TIMES, NO_TIMES, NO_ECHOES, NO_ECHOES)


def _states(columns: Columns | Rows) -> str:
    up, degraded, down = LETTERS.values()
    return "".join(
        NOTHING if not sent else up if received == sent else degraded if received else down
        for sent, received in zip(columns.sent, columns.received, strict=True)
    )


def _pack(states: str, columns: Columns) -> bytes:
    mean, best, worst, sent, received = (_number(column) for column in columns)
    kept = [mean, mean - best, worst - mean, sent, received]
    lanes = [(number % MODULUS).to_bytes(LANES.size, "little") for number in kept]
    planes = [states.encode("ascii"), *(lane[half::2] for lane in lanes for half in (0, 1))]
    deflated = [zlib.compress(plane, 6, -zlib.MAX_WBITS) for plane in planes]
    return HEADER.pack(VERSION, *map(len, deflated)) + b"".join(deflated)


def _number(column: Sequence[int]) -> int:
    return int.from_bytes(LANES.pack(*column), "little")


def _column(number: int) -> Sequence[int]:
    return LANES.unpack((number % MODULUS).to_bytes(LANES.size, "little"))

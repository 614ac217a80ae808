"""What incidents a server had, told by one who reads its whole history. It imports nothing of core.

Beside what the oracle says of good and bad slots this knows what else ends an incident.
"""

from collections.abc import Sequence
from typing import NamedTuple

from tests.core.incidents import oracle


class Past(NamedTuple):
    """An incident, in slots."""

    opened: int
    confirmed: int
    resolved: int | None
    how: str | None
    flaps: int


def incidents(
    history: Sequence[tuple[int, str]], bad: int, of: int, clear: int, ends: Sequence[str] = ()
) -> list[Past]:
    """Return the incidents of a history, in which `ends` are words that end what is open."""
    past: list[Past] = []
    part: list[tuple[int, str]] = []
    for slot, letter in history:
        if letter not in ends:
            part.append((slot, letter))
            continue
        open_ones = of_turns(oracle.decisions(part, bad, of, clear))
        if open_ones and open_ones[-1].resolved is None:
            past += [*open_ones[:-1], open_ones[-1]._replace(resolved=slot, how=letter)]
            part = []
    return past + of_turns(oracle.decisions(part, bad, of, clear))


def of_turns(turns: Sequence[tuple[str, int, int]]) -> list[Past]:
    """Return the incidents that these turns make."""
    past: list[Past] = []
    for turn, slot, since in turns:
        if turn == "opened":
            past.append(Past(since, slot, None, None, 0))
        elif turn == "reopened":
            past[-1] = past[-1]._replace(resolved=None, how=None, flaps=past[-1].flaps + 1)
        else:
            past[-1] = past[-1]._replace(resolved=since, how="good")
    return past

"""What incidents a history has, told by one who reads it whole. It imports nothing of core.

Written from docs/design.md, in another way than the judge is: it remembers nothing and counts anew.
"""

from collections.abc import Sequence
from typing import NamedTuple

CHANGED = "|"
"""In a history: from here on the server is looked at otherwise."""


class Past(NamedTuple):
    """An incident, in slots."""

    opened: int
    confirmed: int
    resolved: int | None
    how: str | None
    flaps: int


def decisions(
    history: Sequence[tuple[int, str]], bad: int, of: int, clear: int
) -> list[tuple[str, int, int]]:
    """Return each turn: its name, the slot that decided it, and the slot since when it is so.

    `history` are the due slots in order, each good (`g`), bad (`b`) or blind (`x`).
    """
    turns: list[tuple[str, int, int]] = []
    turned = 0
    for end in range(1, len(history) + 1):
        slot, letter = history[end - 1]
        if letter == CHANGED:
            continue
        changed = max(place for place in range(end + 1) if not place or is_change(history, place))
        seen = history[changed:end]
        if turns and turns[-1][0] != "resolved":
            since = resolved_since(seen, 15 if is_flapping(turns) and clear < 15 else clear)
            if since is not None:
                turns.append(("resolved", slot, since))
                turned = end
            continue
        window = [place for place, one in seen[-of:] if one == "b"]
        if len(window) >= bad:
            again = bool(turns) and slot - turns[-1][1] <= 15 and changed <= turned
            turns.append(("reopened" if again else "opened", slot, window[0]))
            turned = end
    return turns


def is_change(history: Sequence[tuple[int, str]], place: int) -> bool:
    """Whether a server is looked at otherwise from that place of its history on."""
    return history[place - 1][1] == CHANGED


def resolved_since(seen: Sequence[tuple[int, str]], clear: int) -> int | None:
    """Return the first good slot since the last bad one, if there are enough of them."""
    last = max((place for place, (_, letter) in enumerate(seen) if letter == "b"), default=-1)
    good = [slot for slot, letter in seen[last + 1 :] if letter == "g"]
    return good[0] if len(good) >= clear else None


def is_flapping(turns: Sequence[tuple[str, int, int]]) -> bool:
    """Whether what is open was opened again for the fourth time in an hour, or a later one."""
    name, slot, _ = turns[-1]
    if name != "reopened":
        return False
    begin = max(place for place, turn in enumerate(turns) if turn[0] == "opened")
    return sum(turn[0] == "reopened" and slot - turn[1] < 60 for turn in turns[begin:]) >= 4


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
        open_ones = of_turns(decisions(part, bad, of, clear))
        if open_ones and open_ones[-1].resolved is None:
            past += [*open_ones[:-1], open_ones[-1]._replace(resolved=slot, how=letter)]
            part = []
    return past + of_turns(decisions(part, bad, of, clear))


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

"""What incidents a history has, told by one who reads it whole. It imports nothing of core.

Written from docs/design.md, in another way than the judge is: it remembers nothing and counts anew.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction


def decisions(
    history: Sequence[tuple[int, str]], bad: int, of: int, clear: int
) -> list[tuple[str, int, int]]:
    """Return each turn: its name, the slot that decided it, and the slot since when it is so.

    `history` are the due slots in order, each good (`g`), bad (`b`) or blind (`x`), and CHANGED.
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


CHANGED = "|"
"""In a history: from here on the server is looked at otherwise."""


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


Seen = tuple[int, int, float | None] | None
"""Echoes sent, echoes received, their mean in ms; None where nobody looked."""


def letters(history: Sequence[Seen], when: Mapping[str, float]) -> str:
    """Return what a rule finds in each slot: `g`, `b` or `x`."""
    return "".join(letter(history[:end], when) for end in range(1, len(history) + 1))


def letter(past: Sequence[Seen], when: Mapping[str, float]) -> str:
    """Return what a rule finds in the last of these slots; those that are missing were good."""
    of = int(when["of"])
    if "coverage_pct" in when:
        seen = of - sum(one is None for one in past[-of:])
        return "b" if Fraction(100 * seen, of) < when["coverage_pct"] else "g"
    if past[-1] is None:
        return "x"
    if "down" in when:
        return "b" if past[-1][1] == 0 else "g"
    observed = [one for one in past if one is not None][-of:]
    if "loss_pct" in when:
        lost = sum(Fraction(100 * (sent - received), sent) for sent, received, _ in observed)
        return "b" if lost / of >= when["loss_pct"] else "g"
    times = [0 if ms is None else ms for _, _, ms in observed]
    if "k" in when:
        return "b" if sum(ms > when["p95_ms"] for ms in times) >= when["k"] else "g"
    times = sorted([*times, *[0] * (of - len(times))])
    rank = next(place for place in range(1, of + 1) if 100 * place >= 95 * of)
    return "b" if times[rank - 1] > when["p95_ms"] else "g"

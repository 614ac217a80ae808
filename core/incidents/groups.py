"""Groups: which servers that turned bad at once are one incident.

Pure. A group is a parent's children, a tag, a network or all servers. It has an incident when it
has five servers or more and 60 % of them turned within two slots, that is, had an incident opened.
For 15 minutes after that whoever turns goes with the others.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence, Set
from ipaddress import ip_network
from typing import NamedTuple

from core.incidents.records import Extent

FEWEST = 5
"""A group of fewer servers has no incident of its own."""
MOST_PCT = 60
"""So many of a group's servers are most of it."""
WITHIN = 2
"""Slots in which they turn."""
JOIN_M = 15
"""So long after it was confirmed a group's incident takes in who turns."""
EXTENTS = Extent.PARENT, Extent.TAG, Extent.NETWORK, Extent.ALL
"""Of several groups that a server is in, it goes with the first of these."""


class Group(NamedTuple):
    """Servers that may turn at once: by a tag's or a network's name, or by their parent's id."""

    extent: Extent
    name: str = ""
    parent_id: int | None = None


ALL = Group(Extent.ALL)
Fleet = Mapping[int, Sequence[Group]]
"""The groups of each watched server, by id."""


def network_of(ip: str) -> str:
    """Return the network of an address that counts as a group: a /24, of IPv6 a /64."""
    if ":" in ip:
        return str(ip_network(f"{ip}/64", strict=False))
    return f"{ip.rpartition('.')[0]}.0/24"


def groups_of(parent_id: int | None, tags: Sequence[str], ip: str) -> list[Group]:
    """Return the groups that a server is in."""
    behind = [] if parent_id is None else [Group(Extent.PARENT, parent_id=parent_id)]
    tagged = [Group(Extent.TAG, tag) for tag in tags]
    return [*behind, *tagged, Group(Extent.NETWORK, network_of(ip)), ALL]


def gathered(
    fleet: Fleet, turned: Set[int], free: Collection[int], there: Set[Group]
) -> dict[int, Group]:
    """Return with which group each of the `free` servers goes; the others go alone.

    `turned` are all that turned within two slots, `free` those of them that are in no group yet,
    `there` the groups that take in who turns. A new group begins with two servers at least, as one
    that is left over goes alone.
    """
    news = _formed(fleet, turned)
    wanting: dict[Group, list[int]] = defaultdict(list)
    for one in free:
        for group in fleet.get(one, ()):
            if group in news or group in there:
                wanting[group].append(one)
    found: dict[int, Group] = {}
    # The first extent, the group with most, and where both are the same, any, but always that one.
    for group in sorted(wanting, key=lambda one: (EXTENTS.index(one.extent), -news[one], *one[1:])):
        taken = [one for one in wanting[group] if one not in found]
        if group in there or len(taken) > 1:
            found |= dict.fromkeys(taken, group)
    return found


def _formed(fleet: Fleet, turned: Set[int]) -> Counter[Group]:
    """Return of which groups most turned, and how many."""
    counts = Counter(group for one in turned for group in fleet.get(one, ()))
    if not counts:
        return counts
    sizes = Counter(group for groups in fleet.values() for group in groups if group in counts)
    return Counter(
        {
            group: number
            for group, number in counts.items()
            if sizes[group] >= FEWEST and 100 * number >= MOST_PCT * sizes[group]
        }
    )

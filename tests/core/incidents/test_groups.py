"""Which servers that turned at once are one incident."""

import random

import pytest

from core.incidents.groups import ALL, Group, gathered, groups_of, network_of
from core.incidents.records import Extent
from tests.counts import count, named

FLEETS = named("random fleets whose groups are counted anew", 2_000)
WEB, SWITCH = Group(Extent.TAG, "web"), Group(Extent.PARENT, parent_id=99)


def tagged(*names: str, number: int = 5, others: int = 20) -> dict[int, list[Group]]:
    """Servers that have these tags, and others, each in a network of its own."""
    some = {one: groups_of(None, names, f"10.0.{one}.1") for one in range(number)}
    more = range(number, number + others)
    return some | {one: groups_of(None, [], f"10.0.{one}.1") for one in more}


@pytest.mark.parametrize(
    ("ip", "network"),
    [("10.1.2.3", "10.1.2.0/24"), ("2001:db8::1:2:3:4", "2001:db8::/64"), ("::1", "::/64")],
)
def test_neighbours_share_a_network(ip: str, network: str) -> None:
    assert network_of(ip) == network


def test_three_of_five_are_most_of_them() -> None:
    assert gathered(tagged("web"), {0, 1, 2}, [0, 1, 2], set()) == dict.fromkeys([0, 1, 2], WEB)


def test_fewer_than_60_percent_go_alone() -> None:
    assert gathered(tagged("web"), {0, 1, 9}, [0, 1, 9], set()) == {}


def test_of_four_servers_nobody_makes_a_group() -> None:
    assert gathered(tagged("web", number=4), {0, 1, 2, 3}, [0, 1, 2, 3], set()) == {}


def test_the_first_of_parent_tag_network_and_all_takes_them() -> None:
    every = [*range(8)]
    fleet = {one: groups_of(None, [], "10.0.0.1") for one in every}
    assert set(gathered(fleet, {*every}, every, set()).values()) == {fleet[0][0]}
    fleet = {one: groups_of(None, ["web"], "10.0.0.1") for one in every}
    assert set(gathered(fleet, {*every}, every, set()).values()) == {WEB}
    fleet = {one: groups_of(99, ["web"], "10.0.0.1") for one in every}
    assert set(gathered(fleet, {*every}, every, set()).values()) == {SWITCH}


def test_of_two_tags_the_one_of_which_more_turned_takes_them() -> None:
    fleet = tagged("a", "web", number=6)
    fleet |= {50: groups_of(None, ["web"], "10.1.0.1")}
    turned = {*range(6), 50}
    assert gathered(fleet, turned, list(turned), set()) == dict.fromkeys(turned, WEB)


def test_the_rest_of_the_fleet_goes_together_and_one_alone_goes_alone() -> None:
    fleet = tagged("web", number=8, others=2)
    turned = {*fleet}
    assert gathered(fleet, turned, list(fleet), set())[9] == ALL
    del fleet[9]
    assert 8 not in gathered(fleet, turned - {9}, list(fleet), set())


def test_who_went_before_counts_and_stays_where_it_is() -> None:
    fleet = tagged("web")
    assert gathered(fleet, {0, 1, 2}, [1, 2], set()) == dict.fromkeys([1, 2], WEB)
    assert gathered(fleet, {1, 2}, [1, 2], set()) == {}


def test_a_group_that_is_there_takes_in_a_single_one() -> None:
    assert gathered(tagged("web"), {4}, [4], {WEB}) == {4: WEB}
    assert gathered(tagged("web"), {9}, [9], {WEB}) == {}


def test_who_is_not_watched_goes_alone() -> None:
    assert 77 not in gathered(tagged("web"), {0, 1, 2, 77}, [0, 1, 2, 77], set())


@pytest.mark.parametrize("seed", range(count(50, FLEETS)))
def test_whoever_counts_anew_finds_the_same_groups(seed: int) -> None:
    chance = random.Random(seed)
    ids = [*range(chance.randrange(1, 40))]
    fleet = {
        one: groups_of(
            chance.choice([None, None, 1, 2]),
            sorted(chance.sample("abc", chance.randrange(3))),
            f"10.0.{chance.randrange(4)}.1",
        )
        for one in ids
    }
    turned = {one for one in ids if chance.random() < 0.6}
    free = [one for one in turned if chance.random() < 0.9]
    found = gathered(fleet, turned, free, set())
    shuffled = chance.sample(free, len(free))
    assert gathered(fleet, turned, shuffled, set()) == found
    for one in free:
        formed = [group for group in fleet[one] if is_most(group, fleet, turned)]
        extents = [group.extent for group in formed]
        if one in found:
            assert found[one] in formed
            earlier = formed[: extents.index(found[one].extent)]
            # An earlier one has nobody left but this one.
            assert all(list(found.values()).count(group) == 0 for group in earlier)
        else:
            others = {other for other in free if other != one and other not in found}
            assert not any(fleet[other] and ALL in formed for other in others)


def is_most(group: Group, fleet: dict[int, list[Group]], turned: set[int]) -> bool:
    members = [one for one in fleet if group in fleet[one]]
    return len(members) >= 5 and len(turned.intersection(members)) >= 0.6 * len(members)

"""Rules: the one that holds before anybody makes any."""

from core.incidents.rules import DEFAULT


def test_what_the_default_rule_resolves_is_not_opened_by_old_bad_slots() -> None:
    bad, of, clear = DEFAULT.limits
    assert (bad, of, clear) == (2, 3, 2)
    assert clear >= of - bad + 1

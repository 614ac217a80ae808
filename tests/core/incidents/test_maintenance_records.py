"""What a maintenance may be made of."""

from typing import Any

import pytest

from core.errors import WrongRequest
from core.incidents.maintenance_records import MaintenanceChange, MaintenanceWanted

WEEKLY = {"days": ["sat", "sun"], "at": "02:00", "duration_m": 60}


def test_it_is_for_all_and_does_not_count_unless_it_says_so() -> None:
    wanted = MaintenanceWanted.of({"name": "patches", "when": WEEKLY})
    assert (wanted.whom.tags, wanted.whom.names, wanted.counts) == ((), (), False)


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"name": ""}, "name"),
        ({"for": {"tag": "web"}}, "for.tag"),
        ({"when": {**WEEKLY, "days": ["saturday"]}}, "when.days[0]"),
        ({"when": {**WEEKLY, "at": "24:00"}}, "when.at"),
        ({"when": {**WEEKLY, "duration_m": 0}}, "when.duration_m"),
        ({"when": {**WEEKLY, "duration_m": 10_081}}, "when.duration_m"),
        ({"when": {"cron": "1" * 101}}, "when.cron"),
        ({"counts": 1}, "counts"),
        ({"note": "x"}, "note"),
    ],
)
def test_what_is_wrong_is_refused_with_its_place(words: dict[str, Any], field: str) -> None:
    for shape, given in (
        (MaintenanceWanted, {"name": "patches", "when": WEEKLY}),
        (MaintenanceChange, {}),
    ):
        with pytest.raises(WrongRequest) as caught:
            shape.of({**given, **words})
        assert caught.value.field == field

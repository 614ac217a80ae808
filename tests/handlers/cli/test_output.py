"""How the command line looks where nobody looks: lines for scripts, refusals, numbers."""

import click
import pytest

from core.checks.records import Probe
from core.errors import NameUnknown
from handlers.cli import output


@pytest.mark.parametrize(
    ("number", "shown"), [(0, "0 echoes"), (1, "1 echo"), (2, "2 echoes"), (1_000, "1000 echoes")]
)
def test_one_thing_is_not_several(number: int, shown: str) -> None:
    assert output.counted(number, "echo", "echoes") == shown
    assert output.counted(number, "row") == shown.replace("echoes", "rows").replace("echo", "row")


@pytest.mark.parametrize(
    ("ms", "shown"), [(None, ""), (0.0, "0"), (35.02, "35.02"), (1235.0, "1235")]
)
def test_a_time_is_shown_as_it_is_kept_and_none_as_nothing(ms: float | None, shown: str) -> None:
    assert output.shown_ms(ms) == shown


def test_what_core_refuses_is_said_in_its_own_sentence() -> None:
    with pytest.raises(click.ClickException, match="no server is named 'web'"), output.refusals():
        raise NameUnknown("web")


def test_a_defect_stays_a_defect() -> None:
    with pytest.raises(ZeroDivisionError), output.refusals():
        raise ZeroDivisionError


def test_a_choice_offers_what_people_type() -> None:
    assert list(output.choice(Probe).choices) == ["auto", "icmp", "tcp"]


def test_in_a_pipe_a_table_is_lines_without_its_header(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(["name", "IP"], [["web [red]", "192.0.2.1"], ["mail", None]])
    assert capsys.readouterr().out == "web [red]\t192.0.2.1\nmail\tNone\n"


def test_in_a_pipe_a_bar_is_silent_and_gives_all_items(capsys: pytest.CaptureFixture[str]) -> None:
    with (
        output.items_bar([1, 2, 3], "Working") as items,
        output.progress_bar(3, "Working") as progress,
    ):
        assert list(items) == [1, 2, 3]
        assert progress is None
    assert capsys.readouterr() == ("", "")

"""What the README shows is what happens."""

import re
from pathlib import Path

import pytest

import transcripts  # from .ci

TEST = re.compile(r"`(?P<file>tests/[\w/]+\.py|…)(?:::(?P<name>\w+))?`")
LINK = re.compile(r"\]\((?!http)([^)#]+)")


def test_the_calls_in_the_readme_answer_as_it_says(tmp_path: Path) -> None:
    shown, made = transcripts.in_readme(), transcripts.made_now(tmp_path)
    assert {name: transcripts.comparable(text) for name, text in shown.items()} == {
        name: transcripts.comparable(text) for name, text in made.items()
    }


@pytest.mark.parametrize(
    "page",
    [transcripts.README, *sorted((transcripts.ROOT / "docs").glob("*.md"))],
    ids=lambda page: page.name,
)
def test_every_link_leads_somewhere(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text()) if not (page.parent / link).exists()]
    assert missing == []


def test_every_test_that_shows_a_promise_is_there() -> None:
    page = (transcripts.ROOT / "docs" / "reliability.md").read_text()
    file, missing = "", []
    for found in TEST.finditer(page):
        file = file if found["file"] == "…" else found["file"]
        if f"def {found['name'] or 'test_'}" not in (transcripts.ROOT / file).read_text():
            missing.append(found[0])
    assert file
    assert missing == []

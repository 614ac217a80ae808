"""What an error says to people is plain English: phrases that once weren't don't come back."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("core", "handlers", "infra")
CLUMSY = re.compile(
    r"stands? twice|\b(is|are) text\b|shows? a token|nobody has said|(?<!there )\bis no \b"
    r"|whole number from|\bholds? no\b|\bof ours\b|\bmay change nothing\b"
)
CALLS = re.compile(
    r"^(WrongRequest|Forbidden|TokenRejected|Unavailable|SchemaMismatch|NewerSchema|SettingsError"
    r"|ClickException|UsageError|ArgumentTypeError|ValueError|__init__"
    r"|info|warning|error|exception)$"
)


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts that a file hands to errors and to logs, with their lines."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and CALLS.match(_name(node.func)):
            for part in ast.walk(node):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part.lineno, part.value


def _name(function: ast.expr) -> str:
    return str(getattr(function, "attr", getattr(function, "id", "")))


@pytest.mark.parametrize("room", ROOMS)
def test_no_error_and_no_line_of_a_log_is_clumsy(room: str) -> None:
    files = sorted((ROOT / room).rglob("*.py"))
    told = [(file, line, text) for file in files for line, text in sentences(file)]
    assert len(told) > 10
    assert [one for one in told if CLUMSY.search(one[2])] == []


def test_what_is_clumsy_is_found(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text('raise WrongRequest(\n    f"{what} is text",\n    "IP",\n)\n')
    assert [(line, bool(CLUMSY.search(text))) for line, text in sorted(sentences(file))] == [
        (2, True),
        (3, False),
    ]

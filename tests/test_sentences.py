"""What an error says to people is plain English: phrases that once weren't don't come back."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = ("core", "handlers", "infra")
CLUMSY = re.compile(
    r"stands? twice|\b(is|are) text\b|shows? a token|nobody has said|(?<!there )\bis no \b"
    r"|whole number from|\bholds? no\b|\bof ours\b|\bmay change nothing\b|\bwas expected\b"
)
CALLS = re.compile(
    r"^(WrongRequest|Forbidden|TokenRejected|Unavailable|SchemaMismatch|NewerSchema|SettingsError"
    r"|ClickException|UsageError|ArgumentTypeError|ValueError|Unobserved|__init__"
    r"|info|warning|error|exception)$"
)
Names = Mapping[str, Sequence[ast.expr]]
"""What is assigned to each name, in whatever line."""


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the texts that a file hands to errors and to logs, with their lines.

    A name stands for all that the file assigns to it: in the same function, else outside of any.
    """
    yield from dict.fromkeys(_told(ast.parse(path.read_text()), {}))


def _told(scope: ast.AST, outer: Names) -> Iterator[tuple[int, str]]:
    """The texts of a module's or a function's calls, and those of the functions in it."""
    nodes = list(_within(scope))
    names = {**outer, **_assigned(nodes)}
    for node in nodes:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _told(node, names)
        elif isinstance(node, ast.Call) and CALLS.match(_name(node.func)):
            yield from _texts(node, names, frozenset())


def _within(scope: ast.AST) -> Iterator[ast.AST]:
    """What is in a scope; functions in it, but not what is in them."""
    for node in ast.iter_child_nodes(scope):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _within(node)


def _assigned(nodes: Sequence[ast.AST]) -> Names:
    found: dict[str, list[ast.expr]] = defaultdict(list)
    for node in nodes:
        if isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.NamedExpr):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            stored = (part for target in targets for part in ast.walk(target))
            for name in [part.id for part in stored if isinstance(part, ast.Name)]:
                found[name] += [node.value] if node.value else []
    return found


def _texts(node: ast.AST, names: Names, seen: frozenset[str]) -> Iterator[tuple[int, str]]:
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str):
            yield part.lineno, part.value
        elif isinstance(part, ast.Name) and part.id not in seen:
            for value in names.get(part.id, []):
                yield from _texts(value, names, seen | {part.id})


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


NAMED = """\
KIND = "kind"
WRONG = f"a {KIND} was expected"
WRONGS: dict[int, str] = {
    1: "one of ours",
}
UNSAID = "never said"


class Some:
    def some(self, what):
        said = "nobody has said"
        said += f" {what} is text"
        raise WrongRequest(WRONG, "field")

    def other(self, said):
        WRONG = "local"
        if code := "there":
            log.info(WRONG, said, WRONGS[1], code)

    def third(self):
        said, field = "holds no token", "token"
        raise WrongRequest(f"{said}: {what}", field)
"""


def test_what_has_a_name_is_found_where_it_is_said(tmp_path: Path) -> None:
    file = tmp_path / "some.py"
    file.write_text(NAMED)
    assert sorted(sentences(file)) == [
        (1, "kind"),
        (2, " was expected"),
        (2, "a "),
        (4, "one of ours"),
        (13, "field"),
        (16, "local"),
        (17, "there"),
        (21, "holds no token"),
        (21, "token"),
        (22, ": "),
    ]

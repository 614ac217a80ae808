"""What was measured: each figure beside its budget, as a page of Markdown and as JSON."""

import json
import os
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent.parent / "docs" / "benchmarks"
PACKAGES = ("sqlalchemy", "pg8000")
HEAD = "| what | measured | budget | verdict | beside it |\n|---|--:|--:|---|---|"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `budget` is the most it may be, None where there is none.

    `beside` are figures that explain it, each with the unit in its name: `cold_ms`, `fastest_ms`.
    """

    what: str
    figure: float
    unit: str
    budget: float | None = None
    beside: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """Whether the budget is kept."""
        if self.budget is None:
            return ""
        return "kept" if self.figure <= self.budget else "EXCEEDED"

    def line(self) -> str:
        """The row as a line of a table."""
        budget = "" if self.budget is None else f"{_number(self.budget)} {self.unit}"
        beside = ", ".join(_named(name, figure) for name, figure in self.beside.items())
        figure = f"{_number(self.figure)} {self.unit}"
        return f"| {' | '.join((self.what, figure, budget, self.verdict, beside))} |"


@dataclass(frozen=True, slots=True)
class Section:
    """One database, or one question, with what was measured there; `conclusion` is a sentence."""

    title: str
    rows: Sequence[Row]
    conclusion: str = ""

    def lines(self) -> list[str]:
        """The section in Markdown."""
        told = [f"## {self.title}", "", HEAD, *(row.line() for row in self.rows), ""]
        return [*told, self.conclusion, ""] if self.conclusion else told


def _number(figure: float) -> str:
    """Three digits that count, or all of a large number's."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def _named(name: str, figure: float) -> str:
    words, _, unit = name.rpartition("_")
    return f"{words.replace('_', ' ')} {_number(figure)} {unit}".strip()


def exceeded(sections: Sequence[Section]) -> list[Row]:
    """Return the rows whose budget isn't kept."""
    return [row for section in sections for row in section.rows if row.verdict == "EXCEEDED"]


def machine() -> dict[str, Any]:
    """Return where this runs and with what, and how busy it is now."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        **{package: version(package) for package in PACKAGES},
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def save(
    folder: Path,
    about: Mapping[str, Any],
    introduction: Sequence[str],
    sections: Sequence[Section],
    plans: Sequence[str],
) -> None:
    """Write storage.md and storage.json into `folder`; the plans, if any, into storage-plans.md."""
    folder.mkdir(parents=True, exist_ok=True)
    page = list(_page(about, introduction, sections))
    (folder / "storage.md").write_text("\n".join(page), encoding="utf-8")
    told = {
        "about": dict(about),
        "figures": {
            section.title: [asdict(row) | {"verdict": row.verdict} for row in section.rows]
            for section in sections
        },
        "conclusions": [section.conclusion for section in sections if section.conclusion],
    }
    (folder / "storage.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    if plans:
        text = "\n".join(["# The plans of storage.md's queries, on Postgres", "", *plans])
        (folder / "storage-plans.md").write_text(text, encoding="utf-8")


def _page(
    about: Mapping[str, Any], introduction: Sequence[str], sections: Sequence[Section]
) -> Iterator[str]:
    yield "# What history costs\n"
    yield from introduction
    yield "| | |\n|---|---|"
    yield from (f"| {name.replace('_', ' ')} | {value} |" for name, value in about.items())
    yield ""
    over = exceeded(sections)
    judged = sum(bool(row.verdict) for section in sections for row in section.rows)
    yield f"**{judged - len(over)} of {judged} budgets are kept.**\n"
    for section in sections:
        yield from section.lines()

"""Draw docs/rooms.svg: the rooms, their size, and which of them imports which.

    python -m rooms          (make docs does it)

The rooms and arrows are read from the source; arrows that follow from others are left out.
"""

from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

import grimp

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "rooms.svg"
WIDTH, BOX_WIDTH, BOX_HEIGHT, GAP_X, ROW = 760, 148, 44, 20, 80
TOPS = ("handlers", "infra", "core")
FILLS = {"handlers": "#e8f0fb", "infra": "#fdf1dd", "core": "#e7f5ec"}


@dataclass(frozen=True)
class Box:
    """A room, and where its box's upper left corner is."""

    room: str
    x: float
    y: float
    files: int
    lines: int


def room_of(module: str) -> str:
    """Return the room of a module: two levels, but infra is one room."""
    parts = module.split(".")
    return parts[0] if parts[0] == "infra" or len(parts) == 1 else ".".join(parts[:2])


def size_of(room: str) -> tuple[int, int]:
    """Return how many files a room has, and how many lines that are neither empty nor comment."""
    place = ROOT / room.replace(".", "/")
    files = [place.with_suffix(".py")] if place.with_suffix(".py").is_file() else []
    files += [
        path for path in place.rglob("*.py") if path.stat().st_size and "versions" not in path.parts
    ]
    text = [line.strip() for path in files for line in path.read_text().splitlines()]
    return len(files), sum(bool(line) and not line.startswith("#") for line in text)


def arrows() -> dict[str, set[str]]:
    """Return which rooms each room imports, without those that follow from others."""
    graph = grimp.build_graph(*TOPS)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        here = room_of(module)
        there = {room_of(one) for one in graph.find_modules_directly_imported_by(module)}
        found.setdefault(here, set()).update(there - {here, *TOPS} | (there & {"infra"} - {here}))
    rooms = {room for room in found if room not in ("core", "handlers") and size_of(room)[1] > 12}
    direct = {room: found[room] & rooms for room in rooms}
    return {room: _needed(direct, room) for room in rooms}


def _needed(direct: dict[str, set[str]], room: str) -> set[str]:
    reached = {far for near in direct[room] for far in _reach(direct, near)}
    return direct[room] - reached


def _reach(direct: dict[str, set[str]], room: str) -> set[str]:
    found: set[str] = set()
    todo = list(direct[room])
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            todo.extend(direct[one])
    return found


def rows(needed: dict[str, set[str]]) -> list[list[str]]:
    """Return the rooms from top to bottom: each stands above all that it imports."""
    height: dict[str, int] = {}

    def level(room: str) -> int:
        if room not in height:
            height[room] = 1 + max((level(one) for one in needed[room]), default=-1)
        return height[room]

    for room in needed:
        level(room)
    top = max(height.values())
    return [sorted(room for room in needed if height[room] == at) for at in range(top, -1, -1)]


def boxes(table: list[list[str]]) -> dict[str, Box]:
    """Place each row in the middle."""
    placed = {}
    for number, row in enumerate(table):
        width = len(row) * (BOX_WIDTH + GAP_X) - GAP_X
        for place, room in enumerate(row):
            x = (WIDTH - width) / 2 + place * (BOX_WIDTH + GAP_X)
            placed[room] = Box(room, x, 16 + number * ROW, *size_of(room))
    return placed


def svg(placed: dict[str, Box], needed: dict[str, set[str]]) -> str:
    """Return the picture."""
    height = max(box.y for box in placed.values()) + BOX_HEIGHT + 16
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:g}" '
        'font-family="sans-serif" font-size="13">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0 8 4 0 8z" fill="#667"/></marker></defs>',
        f'<rect width="{WIDTH}" height="{height:g}" fill="#fff"/>',
    ]
    for room in sorted(needed):
        lines += [_arrow(placed[room], placed[one]) for one in sorted(needed[room])]
    lines += [_box(placed[room]) for room in sorted(placed)]
    return "\n".join([*lines, "</svg>", ""])


def _arrow(above: Box, below: Box) -> str:
    x1, y1 = above.x + BOX_WIDTH / 2, above.y + BOX_HEIGHT
    x2, y2 = below.x + BOX_WIDTH / 2, below.y
    return (
        f'<path d="M{x1:g} {y1:g}C{x1:g} {y1 + 30:g} {x2:g} {y2 - 30:g} {x2:g} {y2:g}" '
        'fill="none" stroke="#667" marker-end="url(#tip)"/>'
    )


def _box(box: Box) -> str:
    top, _, name = box.room.partition(".")
    middle = box.x + BOX_WIDTH / 2
    files = f"{box.files} files, " if box.files > 1 else ""
    return (
        f'<rect x="{box.x:g}" y="{box.y:g}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6" '
        f'fill="{FILLS[top]}" stroke="#889"/>'
        f'<text x="{middle:g}" y="{box.y + 19:g}" text-anchor="middle" fill="#123">'
        f"{escape(f'{top}/{name}' if name else top)}</text>"
        f'<text x="{middle:g}" y="{box.y + 35:g}" text-anchor="middle" font-size="11" '
        f'fill="#556">{files}{box.lines:,} lines</text>'
    )


def picture() -> str:
    """Return the picture of the source as it is."""
    needed = arrows()
    return svg(boxes(rows(needed)), needed)


if __name__ == "__main__":
    PICTURE.write_text(picture())

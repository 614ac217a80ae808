"""Wall and error of one scene as bars on logarithmic scales: an SVG, in light and dark."""

from collections.abc import Callable
from html import escape
from math import log10
from typing import Any

WIDTH, LEFT, BAR, GAP, TOP = 860, 250, 14, 6, 64
PANEL, BETWEEN, FIGURE = 260, 40, 60
WALLS_S, ERRORS_MS = (0.05, 100), (0.0001, 10_000)  # what the ends of the two scales stand for
# A ground of its own: the page it is shown on may be dark where the reader's system is light.
STYLE = """<style>
svg { --ground: #fff; --ink: #212529; --ours: #0b7285; --theirs: #adb5bd; }
@media (prefers-color-scheme: dark) {
  svg { --ground: #161b22; --ink: #e6edf3; --ours: #3bc9db; --theirs: #6e7681; }
}
.ground { fill: var(--ground) } text { fill: var(--ink) }
.ours { fill: var(--ours) } .theirs { fill: var(--theirs) } .us { font-weight: 600 }
</style>"""


def chart(scene: dict[str, Any], figure: Callable[[float | None], str]) -> str:
    """All peers of that scene (see report.py), fastest first; `figure` words numbers."""
    peers = sorted(scene["peers"], key=lambda peer: (peer["kind"], peer["wall_s"]))
    height = TOP + len(peers) * (BAR + GAP) + 16
    second = LEFT + PANEL + BETWEEN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" role="img" '
        'aria-label="Wall time and error of the probe engine and its peers">',
        STYLE,
        f'<rect class="ground" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text x="12" y="22" font-size="15" class="us">{escape(scene["name"])}</text>',
        f'<text x="{LEFT}" y="48">wall, s (log scale, less is better)</text>',
        f'<text x="{second}" y="48">error of the round trip, p99, ms (log)</text>',
    ]
    for at, peer in enumerate(peers):
        y = TOP + at * (BAR + GAP)
        ours = peer["name"] == "pinglet"
        label = escape(f"{peer['name']} ({peer['kind']})")
        weight = ' class="us"' if ours else ""
        parts.append(f'<text x="{LEFT - 8}" y="{y + 11}" text-anchor="end"{weight}>{label}</text>')
        colour = "ours" if ours else "theirs"
        for x, key, scale in ((LEFT, "wall_s", WALLS_S), (second, "error_p99_ms", ERRORS_MS)):
            length = _length(peer[key], *scale)
            parts.append(
                f'<rect class="{colour}" x="{x}" y="{y}" width="{length:.1f}" height="{BAR}" '
                f'rx="2"/><text x="{x + length + 6:.1f}" y="{y + 11}">{figure(peer[key])}</text>'
            )
    return "\n".join([*parts, "</svg>"]) + "\n"


def _length(value: float | None, least: float, most: float) -> float:
    """A bar's length; none for what isn't known."""
    if not value:
        return 0.0
    share = log10(value / least) / log10(most / least)
    return max(2.0, min(1.0, share) * (PANEL - FIGURE))

"""Line drawings as SVG: small, the same bytes for the same numbers, in the ink of the page around them.

Written by hand rather than by matplotlib: a twentieth of the bytes and of the time, no dependence on its version, text
that stays text, and ``currentColor`` where a page may be dark. A little over 200 lines: marks, axes, panels.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from fourier_robust.report.pictures.looks import Look

WIDTH = 880.0
LETTER = 6.3  # pixels of a letter, of the mean; longer words run over a little, which the gaps allow
BOLD = 6.9
RIGHT = 12.0  # beside the last panel
FLAG = 13.0  # between two flags
LINE = 18.0  # height of a line of the legend


@dataclass(frozen=True)
class Line:
    """Points with one look.

    Attributes:
        look: colour, dashes, marker.
        points: (x, y, half of the band's height or None), in the units of the panel.
        marks: whether each point is marked.
        joined: whether a line goes through them.
    """

    look: Look
    points: Sequence[tuple[float, float, float | None]]
    marks: bool = True
    joined: bool = True


@dataclass(frozen=True)
class Panel:
    """Lines over common axes.

    Attributes:
        title: above.
        lines: drawn one after another.
        ticks: place -> text below; None takes round numbers.
        reach: x from, to; None takes that of the points.
        flags: place -> a name above it.
        limits: y from, to, what lies beyond is drawn at the rim; None takes that of all panels.
    """

    title: str
    lines: Sequence[Line]
    ticks: Mapping[float, str] | None = None
    reach: tuple[float, float] | None = None
    limits: tuple[float, float] | None = None
    flags: Sequence[tuple[float, str]] = ()


def num(value: float) -> str:
    """A coordinate: one decimal at most."""
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text


def svg(width: float, height: float, parts: Iterable[str]) -> str:
    """One ``<svg>`` element; text in the page's ink and a common face."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {num(width)} {num(height)}" width="{num(width)}" '
        f'height="{num(height)}" font-family="system-ui,sans-serif" font-size="11" fill="currentColor">\n'
        + "\n".join(parts)
        + "\n</svg>"
    )


def text(x: float, y: float, said: str, anchor: str = "", style: str = "") -> str:
    """A word; `anchor` is ``middle`` or ``end``, `style` further attributes."""
    where = f' text-anchor="{anchor}"' if anchor else ""
    return f'<text x="{num(x)}" y="{num(y)}"{where}{" " + style if style else ""}>{escape(said)}</text>'


def cut(said: str, wide: float) -> str:
    """A bold heading that fits `wide` pixels."""
    most = int(wide / BOLD)
    return said if len(said) <= most else f"{said[: most - 1]}…"


def path(d: str, look: Look, width: float = 1.6) -> str:
    """A stroke."""
    dash = f' stroke-dasharray="{look.dash}"' if look.dash else ""
    return f'<path d="{d}" fill="none" stroke="{look.colour}" stroke-width="{num(width)}"{dash}/>'


def marks(places: Iterable[tuple[float, float]], look: Look, size: float = 5) -> str:
    """A round or square dot at each place: strokes without a length, which are their caps alone; or rings, boxes."""
    if look.hollow and size > 5:
        half = num(size / 2 - 0.8)
        whole = num(size - 1.6)
        ring = f"a{half} {half} 0 1 0 {whole} 0a{half} {half} 0 1 0 -{whole} 0"
        box = f"v-{half}h{whole}v{whole}h-{whole}z"
        d = "".join(f"M{num(x)} {num(y)}m-{half} 0{ring if look.cap == 'round' else box}" for x, y in places)
        return f'<path d="{d}" fill="none" stroke="{look.colour}" stroke-width="1.6"/>'
    d = "".join(f"M{num(x)} {num(y)}h0" for x, y in places)
    size = size if look.cap == "round" else size - 0.7
    return f'<path d="{d}" stroke="{look.colour}" stroke-width="{num(size)}" stroke-linecap="{look.cap}"/>'


def rule(x1: float, y1: float, x2: float, y2: float, opacity: str = ".15") -> str:
    """A thin line of the axes."""
    return f'<path d="M{num(x1)} {num(y1)}L{num(x2)} {num(y2)}" stroke="currentColor" stroke-opacity="{opacity}"/>'


def legend(looks: Sequence[Look], width: float = WIDTH, dots: bool = False) -> tuple[list[str], float]:
    """Samples and names from the top, in lines as wide as the picture, with `dots` as large as drawn; their height."""
    parts, x, y = [], 0.0, 12.0
    for look in looks:
        wide = 34 + LETTER * len(look.name) + 18
        if x and x + wide > width:
            x, y = 0.0, y + LINE
        parts.append(path(f"M{num(x)} {num(y - 4)}h26", look, 2))
        if not look.reference:
            parts.append(marks([(x + 13, y - 4)], look, 8 if dots else 5))
        parts.append(text(x + 32, y, look.name))
        x += wide
    return parts, y + 10 if looks else 0.0


def round_ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers within a range."""
    step = (high - low) / count or 1.0
    unit = 10.0 ** math.floor(math.log10(step))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= step * 0.999)
    return [step * at for at in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def tick_text(value: float) -> str:
    """A number of an axis."""
    return f"{value:.4g}" if value else "0"


def panels(
    drawn: Sequence[Panel],
    looks: Sequence[Look],
    up: str,
    across: str,
    columns: int,
    height: float = 110.0,
    reach: tuple[float, float] | None = None,
    own: bool = False,
) -> str:
    """Small panels in rows under a legend, `up` above and `across` below all of them.

    Args:
        drawn: panel by panel, row by row.
        looks: of the legend.
        up: what is drawn upwards, with its unit.
        across: the same from left to right.
        columns: panels in a row.
        height: of a panel's axes, pixels.
        reach: y from, to; None takes that of all points.
        own: each panel takes its own range of y.
    """
    parts, top = legend(looks, dots=any(not line.joined for panel in drawn for line in panel.lines))
    columns = min(columns, len(drawn))
    gap, left = (44.0 if own else 16.0), 38.0
    wide = min((WIDTH - left - RIGHT - gap * (columns - 1)) / columns, 640.0 if columns == 1 else 420.0)
    parts.append(text(0, top + 12, up, style='font-style="italic"'))
    top += 22 + (100 if any(panel.flags for panel in drawn) else 0)
    common = reach or _reach([y for panel in drawn for y in _heights(panel)])
    for place, panel in enumerate(drawn):
        row, column = divmod(place, columns)
        x, y = left + column * (wide + gap), top + 18 + row * (height + 46)
        limits = panel.limits or ((reach or _reach(_heights(panel))) if own else common)
        parts += _panel(panel, x, y, wide, height, limits, own or column == 0)
    rows = -(-len(drawn) // columns)
    bottom = top + rows * (height + 46)
    parts.append(text(left + (columns * (wide + gap) - gap) / 2, bottom + 8, across, "middle", 'font-style="italic"'))
    return svg(WIDTH, bottom + 16, parts)


def _heights(panel: Panel) -> list[float]:
    return [y + side for line in panel.lines for _, y, band in line.points for side in (-(band or 0), band or 0)]


def _reach(values: Sequence[float]) -> tuple[float, float]:
    """A little more than all values; from 0 where they come near it."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    low = 0.0 if 0 <= low < 0.4 * high else low
    room = 0.05 * (high - low) or 0.5
    return (low if low == 0 else low - room), high + room


def _panel(
    panel: Panel, x: float, y: float, wide: float, high: float, limits: tuple[float, float], named: bool
) -> list[str]:
    """One panel with its axes, the upper left corner of its plane at (x, y)."""
    every = [point[0] for line in panel.lines for point in line.points]
    left, right = panel.reach or (min(every, default=0.0), max(every, default=1.0))
    span, rise = (right - left) or 1.0, (limits[1] - limits[0]) or 1.0

    def at(across: float, up: float) -> tuple[float, float]:
        inside = min(max(up, limits[0]), limits[1])
        return x + 5 + (across - left) / span * (wide - 10), y + high - (inside - limits[0]) / rise * high

    parts = [text(x, y - 6, cut(panel.title, wide), style='font-weight="600"')]
    for value in round_ticks(*limits):
        level = at(left, value)[1]
        parts.append(rule(x, level, x + wide, level))
        if named:
            parts.append(text(x - 5, level + 4, tick_text(value), "end"))
    ticks = panel.ticks
    if ticks is None:
        ticks = {value: tick_text(value) for value in round_ticks(left, right, max(2, int(wide // 60)))}
    for place, said in ticks.items():
        where = at(place, 0)[0]
        last = where > x + wide - 12
        parts.append(text(where + 4 if last else where, y + high + 14, said, "end" if last else "middle"))
    before = -math.inf
    for place, said in sorted(panel.flags):
        foot = at(place, 0)[0]
        before = max(foot, before + FLAG)
        d = f"M{num(foot)} {num(y + high)}V{num(y)}L{num(before)} {num(y - 14)}"
        parts.append(f'<path d="{d}" fill="none" stroke="currentColor" stroke-opacity=".12"/>')
        turn = f'transform="rotate(-60 {num(before + 4)} {num(y - 17)})" font-size="10"'
        parts.append(text(before + 4, y - 17, said, style=turn))
    parts.append(rule(x, y + high, x + wide, y + high, ".6"))
    for line in panel.lines:
        parts += _line(line, at)
    return parts


def _line(line: Line, at: object) -> list[str]:
    points = [point for point in line.points if math.isfinite(point[0]) and math.isfinite(point[1])]
    if not points:
        return []
    assert callable(at)
    places = [at(x, y) for x, y, _ in points]
    parts = []
    if any(band for _, _, band in points) and line.joined:
        above = [at(x, y + (band or 0)) for x, y, band in points]
        below = [at(x, y - (band or 0)) for x, y, band in reversed(points)]
        parts.append(f'<path d="{_through([*above, *below])}z" fill="{line.look.colour}" fill-opacity=".18"/>')
    elif not line.joined:
        for x, y, band in points:
            if band:
                (left, top), (_, bottom) = at(x, y + band), at(x, y - band)
                parts.append(path(f"M{num(left)} {num(top)}V{num(bottom)}", Look("", line.look.colour), 1))
    if line.joined and len(places) > 1:
        parts.append(path(_through(places), line.look))
    if line.marks or len(places) == 1:
        parts.append(marks(places, line.look, 4 if line.joined else 5.5))
    return parts


def _through(places: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{num(x)} {num(y)}" for x, y in places)

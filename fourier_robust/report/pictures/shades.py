"""Values as shades, from dark to bright: cells of a table, and whole maps as small PNGs within an SVG."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Mapping

import numpy as np

from fourier_robust.report.pictures.svg import num, text

# Five stops of viridis (Smith and van der Walt, matplotlib): even steps of lightness, also for the colour-blind.
STOPS = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
STEPS = 64


def shade(share: float) -> tuple[int, int, int]:
    """RGB of a value in [0,1], what lies beyond at its end; in `STEPS` steps."""
    step = min(STEPS - 1, max(0, int(share * STEPS)))
    place = step / (STEPS - 1) * (len(STOPS) - 1)
    first = min(int(place), len(STOPS) - 2)
    low, high, part = STOPS[first], STOPS[first + 1], place - first
    red, green, blue = (round(a + part * (b - a)) for a, b in zip(low, high, strict=True))
    return red, green, blue


def cells(values: Mapping[tuple[float, float], tuple[float, str]], wide: float, high: float) -> list[str]:
    """Rectangles with a text each: (x, y) of the corner -> (share in [0,1], text); those of a shade are one path."""
    by_colour: dict[str, list[str]] = {}
    dark: list[str] = []
    bright: list[str] = []
    for (x, y), (share, said) in values.items():
        colour = shade(share)
        d = f"M{num(x)} {num(y)}h{num(wide)}v{num(high)}h-{num(wide)}z"
        by_colour.setdefault("#{:02x}{:02x}{:02x}".format(*colour), []).append(d)
        light = 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]
        (dark if light > 120 else bright).append(text(x + wide / 2, y + high / 2 + 4, said))
    parts = [f'<path d="{"".join(each)}" fill="{colour}"/>' for colour, each in sorted(by_colour.items())]
    parts += [
        f'<g fill="{ink}" text-anchor="middle" font-size="10">{"".join(each)}</g>'
        for ink, each in (("#000", dark), ("#fff", bright))
        if each
    ]
    return parts


def scale(x: float, y: float, wide: float, low: str, high: str) -> list[str]:
    """The shades from `low` to `high`, beside each other."""
    step = wide / 16
    bars = [
        '<path d="M{} {}h{}v10h-{}z" fill="#{:02x}{:02x}{:02x}"/>'.format(
            num(x + at * step), num(y), num(step + 0.3), num(step + 0.3), *shade((at + 0.5) / 16)
        )
        for at in range(16)
    ]
    return [text(x - 6, y + 9, low, "end"), *bars, text(x + wide + 6, y + 9, high)]


def image(plane: np.ndarray, x: float, y: float, side: float) -> str:
    """(H,W) values in [0,1] as an ``<image>`` of `side` pixels; NaN is transparent."""
    known = np.isfinite(plane)
    index = np.where(known, np.clip(np.nan_to_num(plane) * STEPS, 0, STEPS - 1), STEPS).astype(np.uint8)
    data = base64.b64encode(_png(index)).decode()
    return (
        f'<image x="{num(x)}" y="{num(y)}" width="{num(side)}" height="{num(side)}" preserveAspectRatio="none" '
        f'style="image-rendering:pixelated" href="data:image/png;base64,{data}"/>'
    )


def _png(index: np.ndarray) -> bytes:
    """(H,W) uint8 places in the shades, `STEPS` for nothing, as a PNG."""
    palette = b"".join(bytes(shade((at + 0.5) / STEPS)) for at in range(STEPS)) + bytes(3)
    rows = b"".join(b"\0" + row.tobytes() for row in index)
    head = struct.pack(">IIBBBBB", index.shape[1], index.shape[0], 8, 3, 0, 0, 0)
    chunks = (
        (b"IHDR", head),
        (b"PLTE", palette),
        (b"tRNS", b"\xff" * STEPS + b"\0"),
        (b"IDAT", zlib.compress(rows, 9)),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(map(_chunk, *zip(*[*chunks, (b"IEND", b"")], strict=True)))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

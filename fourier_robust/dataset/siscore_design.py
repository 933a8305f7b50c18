"""Which sizes, angles and places SI-Score asks for: the release's grids, and coarser ones for small images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from fourier_robust.dataset.siscore_compose import Setting

FACTORS = ("size", "rotation", "location")
PUBLISHED_AREAS = tuple(step / 100 for step in range(1, 101))
PUBLISHED_ANGLES = tuple(range(1, 342, 20))  # none of 0, 90, 180, 270, which alone are not interpolated
PUBLISHED_TURNED = (0.2, 0.5, 0.8, 1.0)  # areas at which objects are turned
PUBLISHED_INSIDE = {"size": 0.95, "rotation": 0.95, "location": 0.0}
_SMALL = 64  # pixels: up to there an area of 1 % is 6 pixels wide or less
_SMALL_AREAS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
_CENTRE = {"size": 0.5, "rotation": 0.0}


class Grid(NamedTuple):
    """What moves.

    Attributes:
        areas: of size.
        angles: of rotation, degrees counter-clockwise.
        turned: areas at which objects are turned; pooled.
        places: per axis, from edge to edge, of location.
        placed: area at which objects are moved.
    """

    areas: tuple[float, ...]
    angles: tuple[float, ...]
    turned: tuple[float, ...]
    places: int
    placed: float


def usual_grid(size: int, published: bool) -> Grid:
    """The release's grid above 64 pixels and where it is asked for; else 11 areas, 18 angles, 9 x 9 places."""
    if published or size > _SMALL:
        return Grid(PUBLISHED_AREAS, PUBLISHED_ANGLES, PUBLISHED_TURNED, 21, 0.2)
    return Grid(_SMALL_AREAS, PUBLISHED_ANGLES, PUBLISHED_TURNED, 9, 0.2)


class Step(NamedTuple):
    """A setting, and where the numbers of its images begin: images are numbered as the release's, pairs fastest."""

    setting: Setting
    first: int


def steps_of(grid: Grid, factor: str, pairs: int) -> Mapping[str, Sequence[Step]]:
    """Value of the factor, as the tables write it -> the settings that are pooled at it."""
    if factor == "size":
        every = [(share_key(area), Setting(area=area)) for area in grid.areas]
    elif factor == "rotation":
        every = [
            (f"{angle:g}", Setting(area=area, rotation=float(angle))) for area in grid.turned for angle in grid.angles
        ]
    else:
        across = [step / (grid.places - 1) for step in range(grid.places)]
        every = [(place_key(x, y), Setting(x=x, y=y, area=grid.placed)) for x in across for y in across]
    found: dict[str, list[Step]] = {}
    for number, (key, setting) in enumerate(every):
        found.setdefault(key, []).append(Step(setting, number * pairs))
    return found


def share_key(area: float) -> str:
    """A share as the tables write it, with 2 decimals, or 3 where they are needed; files hold 0.060000000000000005."""
    text = f"{area:.3f}"
    return text.removesuffix("0")


def place_key(x: float, y: float) -> str:
    """Shares of width and height, across first."""
    return f"{share_key(x)}_{share_key(y)}"


def place_of(key: str) -> tuple[float, float]:
    """x and y of `place_key`."""
    x, y = key.split("_")
    return float(x), float(y)


def reference_of(factor: str, values: Sequence[str]) -> str:
    """The value others are held against: area nearest one half, angle nearest 0, place nearest the middle."""

    def distance(key: str) -> float:
        if factor == "location":
            return sum((part - 0.5) ** 2 for part in place_of(key))
        gap = abs(float(key) - _CENTRE[factor])
        return min(gap, 360 - gap) if factor == "rotation" else gap

    return min(values, key=distance)

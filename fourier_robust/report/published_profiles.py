"""Published Fourier-sensitivity profiles with the measured ones over them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from fourier_robust.fourier.profile import band_edges, white_shares
from fourier_robust.report.collect import Found, Receipt
from fourier_robust.report.methods import Method
from fourier_robust.report.pictures.looks import REFERENCE, Look, looks_of
from fourier_robust.report.pictures.svg import Line, Panel, panels
from fourier_robust.report.section import Numbers, Picture, Section

DRAWN = 6  # measured profiles in a panel
SIZE = 32  # pixels of the images behind the published profiles
PUBLISHED = Look("published")


@dataclass(frozen=True)
class Curve:
    """One published profile.

    Attributes:
        dataset: trained and measured on.
        reg: regularizer.
        origin: network, and where it was read.
        measured: method -> k -> share, mean over seeds.
        left: methods that measured it and are not drawn.
        published: k -> share of power; rings that could not be read are missing.
    """

    dataset: str
    reg: str
    origin: str
    measured: Mapping[Method, Mapping[int, float]]
    left: int = 0
    published: dict[int, float] = field(default_factory=dict)


def ring_of(metric: str) -> int:
    """k of the metric ``p(k)``."""
    return int(metric[2:-1])


def profile_of(rows: Sequence[Found], rings: Mapping[Receipt, Sequence[Found]]) -> dict[int, float]:
    """k -> share, mean over the evaluations that `rows` are of.

    Args:
        rows: one per seed.
        rings: evaluation -> its rows of p(k).
    """
    values: dict[int, list[float]] = {}
    for one in rows:
        for ring in rings[one.receipt]:
            if ring.row.dataset == one.row.dataset:
                values.setdefault(ring_of(ring.row.metric), []).append(ring.row.value)
    return {k: math.fsum(each) / len(each) for k, each in sorted(values.items())}


def profile_sections(key: str, curves: Sequence[Curve], methods: Sequence[Method]) -> list[Section]:
    """One section per data set, a panel per regularizer: published, measured, white noise."""
    looks = looks_of(methods)
    sections = []
    for dataset in dict.fromkeys(curve.dataset for curve in curves):
        mine = [curve for curve in curves if curve.dataset == dataset]
        drawn = [method for method in methods if any(method in curve.measured for curve in mine)]
        notes = [
            "Share p(k) of ring k in the power of the input gradient; the shares of a measured profile sum to 1.",
            *(f"Published: {origin}." for origin in dict.fromkeys(curve.origin for curve in mine)),
        ]
        without = [_name(curve.reg) for curve in mine if not curve.measured]
        notes += [f"Never run here: {', '.join(without)}."] if without else []
        if drawn:
            archs = ", ".join(dict.fromkeys(method.arch for method in drawn))
            notes.append(
                f"Measured networks: {archs}. Other networks than the published one: compare shapes, not values."
            )
            notes += [f"{looks[method].name}: {_label(method)}." for method in drawn]
        left = sum(curve.left for curve in mine)
        notes += [f"The {DRAWN} under the closest conditions are drawn per panel; {left} more are not."] if left else []
        picture = Picture(
            f"Fourier sensitivity on {dataset}, published and measured",
            _draw(mine, drawn, looks),
            _alternative(mine, looks),
            _numbers(mine, drawn, looks),
        )
        sections.append(Section(f"{key}-profiles-{dataset}", f"Published profiles: {dataset}", notes, (picture,)))
    return sections


def _name(reg: str) -> str:
    return "no regularizer" if reg == "none" else reg


def _label(method: Method) -> str:
    names = ", ".join((method.arch, method.aug, method.reg))
    return f"{names}; {method.variant}" if method.variant else names


def _white() -> dict[int, float]:
    return dict(enumerate(white_shares(SIZE, SIZE).tolist(), 1))


def _draw(curves: Sequence[Curve], drawn: Sequence[Method], looks: dict[Method, Look]) -> str:
    white = _line(REFERENCE, _white(), False)
    parts = []
    for curve in curves:
        lines = [white, _line(PUBLISHED, curve.published, False)]
        lines += [_line(looks[method], shares) for method, shares in curve.measured.items()]
        parts.append(Panel(_name(curve.reg), lines, reach=(1, len(_white()))))
    legend = [PUBLISHED, REFERENCE, *(looks[method] for method in drawn)]
    return panels(parts, legend, "share of power p(k)", "spatial frequency k (cycles per image)", 2, 130, own=True)


def _line(look: Look, shares: Mapping[int, float], marks: bool = True) -> Line:
    return Line(look, [(k, share, None) for k, share in sorted(shares.items())], marks)


def _alternative(curves: Sequence[Curve], looks: dict[Method, Look]) -> str:
    """The low, mid and high share of each profile."""
    said = []
    for curve in curves:
        each = [f"published {_bands(curve.published)}"]
        each += [f"{looks[method].name} {_bands(shares)}" for method, shares in curve.measured.items()]
        said.append(f"{_name(curve.reg)}: {', '.join(each)}")
    return f"Shares of low, mid and high frequencies. {'; '.join(said)}; white noise {_bands(_white())}."


def _bands(shares: Mapping[int, float]) -> str:
    edges = band_edges(SIZE, SIZE).values()
    sums = (sum(share for k, share in shares.items() if first <= k <= last) for first, last in edges)
    return " / ".join(f"{one:.2f}" for one in sums)


def _numbers(curves: Sequence[Curve], drawn: Sequence[Method], looks: dict[Method, Look]) -> Numbers:
    """A line per k and regularizer."""
    white = _white()
    rows = []
    for curve in curves:
        for k in white:
            published = f"{curve.published[k]:.3f}" if k in curve.published else ""
            shares = [curve.measured.get(method, {}).get(k) for method in drawn]
            texts = ["" if share is None else f"{share:.4f}" for share in shares]
            rows.append([f"{_name(curve.reg)}, k = {k}", published, f"{white[k]:.4f}", *texts])
    columns = ["profile", "published", "white noise", *(looks[method].name for method in drawn)]
    return Numbers(columns, rows)

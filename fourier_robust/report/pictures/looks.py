"""How a method looks, the same in every picture: its short name, colour, dashes and marker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from fourier_robust.report.methods import Method

# Okabe and Ito, "Color Universal Design", 2008, without yellow (too pale on paper); their black is the page's ink.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "currentColor")
DASHES = ("", "7 3", "2 2", "9 3 2 3", "15 3", "9 3 2 3 2 3")
CAPS = ("round", "square")  # of the markers
LONGEST = 34  # characters


@dataclass(frozen=True)
class Look:
    """A line, bar or dot.

    Attributes:
        name: beside it.
        colour: of the page's ink where it is ``currentColor``.
        dash: as in ``stroke-dasharray``, empty for a whole line.
        cap: the marker, ``round`` or ``square``.
        hollow: whether dots that no line joins are rings or boxes.
        reference: no method, but something to compare with.
    """

    name: str
    colour: str = "currentColor"
    dash: str = ""
    cap: str = "round"
    hollow: bool = False
    reference: bool = False


REFERENCE = Look("white noise", dash="3 3", reference=True)


def looks_of(methods: Sequence[Method]) -> dict[Method, Look]:
    """Per method its look: a colour for each aug and reg; those of one colour have other dashes and markers.

    Methods that share a name are numbered.
    """
    looks: dict[Method, Look] = {}
    for train_dataset in dict.fromkeys(method.train_dataset for method in methods):
        of = [method for method in methods if method.train_dataset == train_dataset]
        archs = {method.arch for method in of}
        names = [_name(method, len(archs) > 1) for method in of]
        kinds = list(dict.fromkeys((method.aug, method.reg) for method in of))
        count, turn, used = Counter(names), Counter[str](), Counter[int]()
        for method, name in zip(of, names, strict=True):
            turn[name] += 1
            shown = f"{_short(name)} {turn[name]}" if count[name] > 1 else _short(name)
            colour = kinds.index((method.aug, method.reg)) % len(COLOURS)
            again = used[colour]
            used[colour] += 1
            dash, cap, hollow = DASHES[again % len(DASHES)], CAPS[again % 2], again // 2 % 2 == 1
            looks[method] = Look(shown, COLOURS[colour], dash, cap, hollow)
    return looks


def _name(method: Method, with_arch: bool) -> str:
    known = [name for name in (method.aug, method.reg) if name not in ("none", "unknown", "")]
    if not known and {method.aug, method.reg} == {"unknown"}:
        return method.variant.split(",")[0] or method.arch
    return " + ".join(known or [method.aug or "none"]) + (f" ({method.arch})" if with_arch else "")


def _short(name: str) -> str:
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 1]}…"

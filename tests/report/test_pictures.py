"""Pictures: their numbers are those of the rows; nothing of a run folder breaks them or becomes markup."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from report.synthetic import row, run

from fourier_robust.report.collect import collect
from fourier_robust.report.methods import methods_of
from fourier_robust.report.pictures import (
    attacks,
    bands,
    corruption,
    fourier,
    gain,
    key,
    ood,
    reliability,
    sensitivity,
    swap,
    training,
)
from fourier_robust.report.pictures.looks import looks_of
from fourier_robust.report.pictures.series import Material
from fourier_robust.report.section import Picture, Section
from fourier_robust.report.selection import Selector
from fourier_robust.run.results import Row, npz_bytes

KINDS = (corruption, fourier, sensitivity, bands, swap, gain, reliability, ood, attacks)


def material(folder: Path, limit: int = 16) -> Material:
    wanted = [Selector.of(text) for kind in KINDS for text in kind.ROWS]
    collected = collect([str(folder)], [Selector.of("clean:error")], wanted)
    methods, _ = methods_of([*collected.found, *collected.also])
    assert methods
    return Material(collected.also, collected.receipts, methods, looks_of(methods), limit)


def only(sections: Sequence[Section]) -> Section:
    (section,) = sections
    assert re.fullmatch("[a-z0-9-]+", section.key)
    return section


def table(picture: Picture) -> dict[tuple[str, ...], dict[str, str]]:
    """The rows of a picture's numbers by their texts that are no numbers."""
    found = {}
    for line in picture.numbers.rows:
        assert len(line) == len(picture.numbers.columns)
        named = dict(zip(picture.numbers.columns, line, strict=True))
        found[tuple(text for text in line if text and not re.match(r"\d", text))] = named
    return found


def of_severity(aug: str, seed: int, base: float, **changes: Any) -> list[Row]:
    name = {"suite": "corruptions", "dataset": "cifar10_c_generated", "aug": aug, "seed": seed, **changes}
    return [
        row(value=base + 0.01 * severity, corruption=corruption_, severity=severity, **name)
        for corruption_ in ("fog", "snow")
        for severity in (1, 5)
    ]


class Drawing(HTMLParser):
    """The tags of an SVG."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_severity_curves_and_shades_are_means_over_seeds(tmp_path: Path) -> None:
    for seed, base in enumerate((0.1, 0.2)):
        run(tmp_path / f"s{seed}", of_severity("apr_sp", seed, base), suite="corruptions")
    run(tmp_path / "plain", of_severity("standard", 0, 0.5), suite="corruptions")
    section = only(corruption.sections(material(tmp_path)))
    curves, shades = section.pictures
    assert table(curves)["apr_sp", "fog"]["severity 5"] == "20.00 ± 7.07 (2)"
    assert table(curves)["standard", "snow"]["severity 1"] == "51.00"
    assert shades.numbers is curves.numbers
    assert {">51<", ">20<", ">16<", ">55<"} <= set(re.findall(">[^<>]*<", shades.svg))
    assert "apr_sp 16.0 to 20.0" in curves.alternative
    assert "generated here" in section.notes[0]
    assert "fill-opacity" in curves.svg  # the band over seeds


def test_a_corruption_that_was_not_measured_is_empty(tmp_path: Path) -> None:
    run(tmp_path / "a", of_severity("apr_sp", 0, 0.1), suite="corruptions")
    run(tmp_path / "b", of_severity("standard", 0, 0.1)[:3], suite="corruptions")
    section = only(corruption.sections(material(tmp_path)))
    assert table(section.pictures[0])["standard", "snow"]["severity 5"] == ""
    assert any("Partial sets" in note for note in section.notes)


@pytest.mark.parametrize(
    "change", [{"definitions": {"error": "other"}}, {"data": {"cifar10_c_generated": "other"}}, {"generated": 1}]
)
def test_definitions_data_and_settings_are_never_mixed(tmp_path: Path, change: dict[str, Any]) -> None:
    run(tmp_path / "a", of_severity("apr_sp", 0, 0.1), suite="corruptions", data={"cifar10_c_generated": "one"})
    other = {"data": {"cifar10_c_generated": "one"}, **change}
    if "generated" in change:
        config = {"precision": "fp32", "suite": {"_target_": "Suite", "images": 5}}
        other = {"data": {"cifar10_c_generated": "one"}, "config": config}
    run(tmp_path / "b", of_severity("standard", 0, 0.1), suite="corruptions", **other)
    first, second = corruption.sections(material(tmp_path))
    assert {name for name, *_ in first.pictures[0].numbers.rows} | {
        name for name, *_ in second.pictures[0].numbers.rows
    } == {"apr_sp", "standard"}
    assert len({name for name, *_ in first.pictures[0].numbers.rows}) == 1
    assert first.key != second.key
    assert any("Apart from its namesakes" in note for note in first.notes)


def test_more_methods_than_drawn_are_said(tmp_path: Path) -> None:
    for aug in ("a", "b", "c"):
        run(tmp_path / aug, of_severity(aug, 0, 0.1), suite="corruptions")
    section = only(corruption.sections(material(tmp_path, limit=2)))
    assert {name for name, *_ in section.pictures[0].numbers.rows} == {"a", "b"}
    assert any("2 of 3 methods are drawn" in note for note in section.notes)


def heatmap(folder: Path, aug: str = "apr_sp", scale: float = 1.0) -> Path:
    of = {"suite": "heatmap", "dataset": "cifar10_fourier", "eps": 4.0, "aug": aug}
    rows = [row("mean_error", 0.5 * scale, **of), row("error(1)", 0.25 * scale, **of), row("error(2)", 0.75, **of)]
    results = run(folder, [*rows, row("error(0,1)", 0.1, **of)], suite="heatmap")
    plane = np.linspace(0, scale, 64).reshape(8, 8)
    (results / "heatmap.npz").write_bytes(npz_bytes({"error": plane}))
    return results


def test_fourier_maps_and_rings(tmp_path: Path) -> None:
    heatmap(tmp_path / "a")
    section = only(fourier.sections(material(tmp_path)))
    maps, rings = section.pictures
    assert table(rings)[("apr_sp",)] == {
        "method, error (%)": "apr_sp", "mean": "50.00", "k = 1": "25.00", "k = 2": "75.00"
    }  # fmt: skip
    ends = table(maps)[("apr_sp",)]
    assert (ends["least, at (u,v)"], ends["most, at"], ends["cells"]) == ("0.00 at (-4,-4)", "100.00 at (3,3)", "64")
    assert maps.svg.count('href="data:image/png;base64,') == 1


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 damaged", npz_bytes({"error": np.zeros(3)}), "object"])
def test_damaged_arrays_are_a_line_and_the_rest_is_drawn(tmp_path: Path, content: bytes | str) -> None:
    heatmap(tmp_path / "a")
    broken = heatmap(tmp_path / "b", "standard") / "heatmap.npz"
    if isinstance(content, str):
        np.savez(broken, error=np.array([[{"a": 1}]], dtype=object))  # a pickle, which is never read
    else:
        broken.write_bytes(content)
    made = material(tmp_path)
    maps, rings = only(fourier.sections(made)).pictures
    (line,) = made.skipped
    assert line.startswith("b/heatmap: heatmap.npz is damaged (")
    assert str(tmp_path) not in line
    assert list(table(maps)) == [("apr_sp",)]
    assert {name for (name,) in table(rings)} == {"standard", "apr_sp"}


def test_sensitivity_beside_white_noise(tmp_path: Path) -> None:
    of = {"suite": "sensitivity", "aug": "apr_sp"}
    results = run(tmp_path, [row("p(1)", 0.25, **of), row("p(2)", 0.75, **of)], suite="sensitivity")
    section = only(sensitivity.sections(material(tmp_path)))
    assert any("Without the line of white noise" in note for note in section.notes)
    arrays = {"k": np.array([1, 2]), "white": np.array([0.4, 0.6])}
    (results / "sensitivity.npz").write_bytes(npz_bytes(arrays))
    picture = only(sensitivity.sections(material(tmp_path))).pictures[0]
    assert table(picture)[("apr_sp",)]["k = 2"] == "0.7500"
    assert table(picture)[("white noise",)]["k = 1"] == "0.4000"
    assert "apr_sp at k = 2" in picture.alternative


def test_bands(tmp_path: Path) -> None:
    of = {"suite": "bands", "aug": "apr_sp"}
    rows = [
        row(value=0.1, **of),
        row("error(4)", 0.5, **of | {"dataset": "cifar10_low"}),
        row("error(8)", 0.6, **of | {"dataset": "cifar10_high"}),
        row("error(1-4)", 0.7, eps=4.0, **of | {"dataset": "cifar10_noise"}),
    ]
    run(tmp_path, rows, suite="bands")
    (line,) = table(only(bands.sections(material(tmp_path))).pictures[0]).values()
    assert [line[name] for name in ("clean", "low 4", "high 8", "noise 1-4")] == ["10.00", "50.00", "60.00", "70.00"]


def test_swap(tmp_path: Path) -> None:
    of = {"suite": "swap", "dataset": "cifar10_swap", "aug": "apr_sp"}
    values = {"follows_phase": 0.6, "follows_amplitude": 0.1, "follows_neither": 0.3, "follows_phase(<4)": 0.8,
              "follows_amplitude(<4)": 0.05, "follows_phase(>=4)": 0.7, "follows_amplitude(>=4)": 0.06}  # fmt: skip
    run(tmp_path, [row(metric, value, **of) for metric, value in values.items()], suite="swap")
    bars, radii = only(swap.sections(material(tmp_path))).pictures
    assert bars.numbers.rows == [("apr_sp", "all", "60.00", "10.00", "30.00")]
    assert ("apr_sp", "< 4", "80.00", "5.00", "") in radii.numbers.rows
    assert ("apr_sp", ">= 4", "70.00", "6.00", "") in radii.numbers.rows
    assert {"60.0", "10.0", "30.0"} <= set(Drawing(bars.svg).texts)


def test_loss_and_gain_over_high_frequencies(tmp_path: Path) -> None:
    of = {"suite": "spectra", "dataset": "cifar10_c_generated"}
    rows = []
    for name, share, drop, more in (("fog", 0.1, 0.2, 0.01), ("snow", 0.5, 0.4, 0.05)):
        values = {"hf_fraction": share, "drop": drop, "gain": more}
        rows += [row(metric, value, corruption=name, **of) for metric, value in values.items()]
    rows += [row("drop_slope", 0.5, **of), row("gain_slope", 0.1, **of)]
    config = {"suite": {"against": "/somewhere/runs/standard/s0/eval/spectra/spectra.npz"}}
    run(tmp_path, rows, suite="spectra", config=config)
    lost, gained = gain.sections(material(tmp_path))
    assert lost.pictures[0].numbers.rows == [
        ("standard", "fog", "10.00", "20.00"), ("standard", "snow", "50.00", "40.00")
    ]  # fmt: skip
    assert [line[-1] for line in gained.pictures[0].numbers.rows] == ["1.00", "5.00"]
    assert "standard 0.50" in lost.pictures[0].alternative
    assert "against standard/s0" in gained.notes[0]
    assert "/somewhere" not in "".join(gained.notes)


def test_reliability_pools_images(tmp_path: Path) -> None:
    results = run(tmp_path, [row("ece", 0.05, suite="calibration")], suite="calibration")
    bins: dict[str, Any] = {
        "dataset": ["cifar10", "c", "c"],
        "corruption": ["", "fog", "fog"],
        "severity": [0, 1, 2],
        "temperature": [1.0],
        "confidence": [[[0.5, np.nan]], [[0.4, 0.9]], [[0.6, 0.9]]],
        "accuracy": [[[0.5, np.nan]], [[0.2, 0.8]], [[0.6, 0.4]]],
        "images": [[[100, 0]], [[300, 50]], [[100, 50]]],
    }
    (results / "reliability.npz").write_bytes(npz_bytes({name: np.array(one) for name, one in bins.items()}))
    picture = only(reliability.sections(material(tmp_path))).pictures[0]
    assert picture.numbers.rows == [
        ("standard", "clean", "50.00", "50.00", "100"),
        ("standard", "fog, severities 1-2", "45.00", "30.00", "400"),
        ("standard", "fog, severities 1-2", "90.00", "60.00", "100"),
    ]
    assert "standard 5.00" in picture.alternative


def scores(results: Path) -> None:
    arrays = {
        "score": np.array(["max_logit"]),
        "set": np.array(["cifar10", "svhn"]),
        "edges": np.array([[0.0, 1.0, 2.0]]),
        "share": np.array([[[0.75, 0.25], [0.25, 0.75]]]),
        "flagged_id": np.linspace(0, 1, 101),
        "flagged_ood": np.linspace(0, 1, 101)[None, None] ** 0.5,
    }
    (results / "scores.npz").write_bytes(npz_bytes(arrays))


def test_ood_rows_and_arrays(tmp_path: Path) -> None:
    of = {"suite": "ood", "higher_is_better": True}
    values = (("svhn", "max_logit", 0.9), ("svhn", "msp", 0.8), ("mean_far", "msp", 0.7))
    rows = [row("auroc", value, score=score, **of | {"dataset": name}) for name, score, value in values]
    results = run(tmp_path, rows, suite="ood")
    section = only(ood.sections(material(tmp_path)))
    assert section.pictures[0].numbers.rows == [
        ("standard", "max_logit", "90.00", ""), ("standard", "msp", "80.00", "70.00")
    ]  # fmt: skip
    assert any("no readable scores.npz" in note for note in section.notes)
    scores(results)
    dots, histograms, roc = only(ood.sections(material(tmp_path))).pictures
    assert "svhn 90.00" in dots.alternative
    assert histograms.numbers.rows[1] == ("standard", "svhn", "1", "2", "2")
    assert dict(zip(roc.numbers.columns, roc.numbers.rows[0], strict=True))["at 1 % of ID flagged"] == "10.00"


def test_accuracy_under_attack(tmp_path: Path) -> None:
    of = {"suite": "attacks"}
    rows = [
        row(value=0.1, **of),
        row(value=0.4, attack="pgd", eps=0.031373, **of),
        row("worst_case", 0.6, attack="linf", eps=0.031373, **of),
    ]
    run(tmp_path, rows, suite="attacks")
    picture = only(attacks.sections(material(tmp_path))).pictures[0]
    assert picture.numbers.rows == [
        ("standard", "worst case, linf", "0: 90.00, 8/255: 40.00"),
        ("standard", "pgd", "0: 90.00, 8/255: 60.00"),
    ]


def test_training_curves(tmp_path: Path) -> None:
    for seed, accuracy in enumerate((0.5, 0.7)):
        run(tmp_path / f"s{seed}", [row(seed=seed)])
        (tmp_path / f"s{seed}/train.csv").write_text(
            f"epoch,step,train_loss,train_accuracy,val_error\n1,10,2.0,{accuracy},\n2,20,1.0,0.9,\n"
        )
    run(tmp_path / "broken", [row(aug="apr_sp")])
    (tmp_path / "broken/train.csv").write_text("epoch,train_loss\nx,1\n")
    made = material(tmp_path)
    picture = only(training.sections(made)).pictures[0]
    assert picture.numbers.rows == [
        ("standard", "training loss", "1: 2.00 ± 0.00 (2), 2: 1.00 ± 0.00 (2)"),
        ("standard", "training accuracy (%)", "1: 60.00 ± 14.14 (2), 2: 90.00 ± 0.00 (2)"),
    ]
    assert made.skipped == ["broken: train.csv is damaged (invalid literal for int() with base 10: 'x'); not drawn"]


def test_thinned_keeps_both_ends() -> None:
    assert training.thinned(list(range(1, 1001)), 3) == [1, 501, 1000]
    assert training.thinned([1, 2], 3) == [1, 2]


def everything(folder: Path, aug: str) -> None:
    """Runs with a bit of each kind."""
    run(folder, of_severity(aug, 0, 0.1), suite="corruptions")
    heatmap(folder, aug)
    of = {"aug": aug, "suite": "swap", "dataset": "cifar10_swap"}
    run(folder, [row(f"follows_{whom}", 0.3, **of) for whom in swap.WHOM], suite="swap")
    run(folder, [row("p(1)", 0.25, aug=aug, suite="sensitivity")], suite="sensitivity")
    run(folder, [row("auroc", 0.9, score=aug, aug=aug, suite="ood", dataset=aug)], suite="ood")
    run(folder, [row("error", 0.9, attack=aug, eps=0.1, aug=aug, suite="attacks")], suite="attacks")


def drawn(folder: Path) -> Mapping[str, str]:
    made = material(folder)
    sections = [section for kind in (key, *KINDS, training) for section in kind.sections(made)]
    return {f"{one.key} {place}": picture.svg for one in sections for place, picture in enumerate(one.pictures)}


def test_markup_in_names_is_text_in_pictures(tmp_path: Path) -> None:
    everything(tmp_path, '<script>&"')
    pictures = drawn(tmp_path)
    assert len(pictures) == 8
    for picture in pictures.values():
        drawing = Drawing(picture)
        assert drawing.tags[0] == "svg"
        assert set(drawing.tags) <= {"svg", "text", "path", "g", "image"}
    assert any("<script>&" in text for text in Drawing(pictures["fourier-cifar10-cifar10-4 0"]).texts)


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    everything(tmp_path, "apr_sp")
    assert drawn(tmp_path) == drawn(tmp_path)
    assert all("currentColor" in one and not re.search("#(000|fff)[^0-9a-f]", one.split("<g ")[0])
               for one in drawn(tmp_path).values())  # fmt: skip


def test_one_look_per_method_and_all_apart(tmp_path: Path) -> None:
    for number in range(30):
        run(tmp_path / f"{number}", [row(aug=f"aug{number % 10}", reg=f"reg{number // 10}")])
    methods, _ = methods_of(collect([str(tmp_path)], [Selector.of("clean:error")]).found)
    looks = looks_of(methods)
    assert len({(look.colour, look.dash) for look in looks.values()}) == 30
    assert len({look.name for look in looks.values()}) == 30
    assert looks == looks_of(methods)

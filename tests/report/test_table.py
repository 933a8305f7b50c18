"""The printed table, character by character, from rows whose numbers a reader can check."""

from __future__ import annotations

from dataclasses import replace

from fourier_robust.report.figure import comparison_png, table_png
from fourier_robust.report.table import table_of
from fourier_robust.run.results import Row, csv_text


def row(
    metric: str, value: float, corruption: str | None = None, severity: int | None = None, dataset: str = "cifar10_c"
) -> Row:
    return Row(
        "s0",
        "x",
        dataset,
        corruption,
        severity,
        None,
        None,
        None,
        metric,
        value,
        None,
        None,
        100,
        False,
        "cifar10",
        "a",
        "b",
        "c",
        0,
    )


CORRUPTIONS = [
    row("error", 0.05, dataset="cifar10"),
    row("error", 0.1, "fog", 1),
    row("error", 0.3, "fog", 5),
    row("error", 0.25, "gaussian_noise", 1),
    row("error", 1.0, "gaussian_noise", 5),
    row("mean_error", 0.2, "fog"),
    row("mean_error", 0.625, "gaussian_noise"),
    row("mean_error", 0.4125, "common2of15-severity15"),
]

EXPECTED = """\
error (%) of cifar10/a/b-c on cifar10_c, n = 100

                                    1      5   mean
clean                                           5.0
fog                              10.0   30.0   20.0
gaussian_noise                   25.0  100.0   62.5
mean of common2of15-severity15                 41.2

PARTIAL SET"""


def test_corruptions_down_severities_across_mean_last() -> None:
    assert table_of(CORRUPTIONS, "cifar10/a/b-c", ["PARTIAL SET"]).text() == EXPECTED


def test_the_csv_keeps_fractions() -> None:
    records = table_of(CORRUPTIONS, "cifar10/a/b-c", []).records()
    lines = csv_text(records[0], records).splitlines()
    assert lines[0] == ",1,5,mean"
    assert lines[1] == "clean,,,0.050000"
    assert lines[3] == "gaussian_noise,0.250000,1.000000,0.625000"


def test_metrics_across_where_there_is_no_severity() -> None:
    rows = [row("error", 0.05, dataset="cifar10"), row("nll", 1.25, dataset="cifar10")]
    lines = table_of(rows, "who", []).text().splitlines()
    assert lines[0] == "who, n = 100"
    assert lines[2].split() == ["error", "nll"]
    assert lines[3].split() == ["cifar10", "0.0500", "1.2500"]


def test_pictures_are_png_and_the_same_again() -> None:
    table = table_of(CORRUPTIONS, "who", ["PARTIAL SET"])
    assert table_png(table).startswith(b"\x89PNG")
    assert table_png(table) == table_png(table)
    picture = comparison_png("title", ["clean", "fog"], {"standard": [0.1, 0.6], "apr_sp": [0.1, 0.2]})
    assert picture.startswith(b"\x89PNG")


def test_what_the_column_corruption_names_stands_behind_the_data_set() -> None:
    rows = [row("distance", value, dataset="cifar10", corruption=name) for name, value in (("a", 1.0), ("b", 2.0))]
    assert [line.split() for line in table_of(rows, "who", []).text().splitlines()[3:]] == [
        ["cifar10", "a", "1.0000"],
        ["cifar10", "b", "2.0000"],
    ]


ATTACKS = """\
error (%) of who on cifar10 under attack, eps across, n = 100

                     0  4/255  8/255    0.5
no attack          5.0
fgsm                     20.0   40.0
pgd                      25.0   62.5
pgd_l2                                 30.0
worst case linf          25.0   65.0
worst case l2                          30.0"""


def test_attacks_down_and_sizes_across() -> None:
    rows = [replace(row("error", 0.05, dataset="cifar10"), suite="attacks")]
    for metric, attack, eps, value in (
        ("error", "fgsm", 4 / 255, 0.2),
        ("error", "fgsm", 8 / 255, 0.4),
        ("hf_fraction", "fgsm", 8 / 255, 0.9),
        ("error", "pgd", 4 / 255, 0.25),
        ("error", "pgd", 8 / 255, 0.625),
        ("error", "pgd_l2", 0.5, 0.3),
        ("worst_case", "linf", 4 / 255, 0.25),
        ("worst_case", "linf", 8 / 255, 0.65),
        ("worst_case", "l2", 0.5, 0.3),
    ):
        rows.append(replace(row(metric, value, dataset="cifar10"), suite="attacks", attack=attack, eps=eps))
    text = table_of(rows, "who", []).text()
    assert [line.rstrip() for line in text.splitlines()] == ATTACKS.splitlines()

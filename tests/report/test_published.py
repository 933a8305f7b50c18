"""Published beside measured: what counts as reproduced, what is only measured elsewhere, and the files themselves."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from report.synthetic import row, run

from fourier_robust.errors import UserError
from fourier_robust.fourier.profile import band_edges
from fourier_robust.report.collect import Found, collect
from fourier_robust.report.methods import Method, methods_of
from fourier_robust.report.published import published_sections
from fourier_robust.report.published_compare import DIFFERS, NEVER, OTHER, REPRODUCED, Beside, compare
from fourier_robust.report.published_profiles import DRAWN, profile_of
from fourier_robust.report.published_values import Published, papers, published, selectors
from fourier_robust.report.section import Section
from fourier_robust.run.results import Row

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"
RECIPE = {"trainer.epochs": 200, "trainer.batch_size": 128, "optim.lr": 0.1, "optim.weight_decay": 0.0005}


def read(place: Path, paper: str) -> tuple[list[Found], list[Method]]:
    found = collect([str(place)], [], selectors(paper)).also
    return found, methods_of(found)[0]


def sections(place: Path, paper: str) -> dict[str, Section]:
    return {section.key: section for section in published_sections(paper, *read(place, paper))}


def corrupted(value: float, seed: int = 0, **changes: object) -> Row:
    """Mean error of the paper's ResNet-18 on the released CIFAR-10-C."""
    named = {"suite": "corruptions", "dataset": "cifar10_c", "corruption": "common15", "n": 10000, "arch": "resnet18"}
    return row("mean_error", value, seed=seed, **{**named, **changes})


def trained(folder: Path, rows: list[Row], settings: Mapping[str, object] = RECIPE) -> None:
    """A run with one evaluation and these settings."""
    run(folder, rows, None, "corruptions")
    lines = [f"seed: {rows[0].seed}"]
    for group in dict.fromkeys(key.split(".")[0] for key in settings):
        lines.append(f"{group}:")
        lines += [f"  {key.split('.')[1]}: {value}" for key, value in settings.items() if key.startswith(f"{group}.")]
    (folder / "config.yaml").write_text("\n".join(lines) + "\n")


def beside(place: Path, arch: str = "resnet18", aug: str = "standard") -> Beside:
    """The comparison of CIFAR-10-C's mean error; published for resnet18, standard: 25.4 %, tolerance 1 point."""
    wanted = [one for one in published("apr") if (one.dataset, one.arch, one.aug) == ("cifar10_c", arch, aug)]
    (found,) = compare(wanted, *read(place, "apr"))
    return found


def test_the_same_conditions_within_the_tolerance_are_reproduced_and_beyond_it_differ(tmp_path: Path) -> None:
    half_unit = 0.0005  # printed as 25.4
    for value, status in (
        (0.254 + 0.010 + half_unit, REPRODUCED),
        (0.254 - 0.010 - half_unit, REPRODUCED),
        (0.254 + 0.010 + half_unit + 1e-5, DIFFERS),
    ):
        trained(tmp_path / "a", [corrupted(value)])
        one = beside(tmp_path)
        assert one.status == status
        assert one.measured[0].differs == ()
        assert one.difference == pytest.approx(value - 0.254)


def test_seed_noise_widens_what_counts_as_reproduced(tmp_path: Path) -> None:
    for seed, value in ((0, 0.26), (1, 0.28), (2, 0.30)):
        trained(tmp_path / f"s{seed}", [corrupted(value, seed)])
    one = beside(tmp_path)
    assert len(one.measured[0].rows) == 3
    assert one.measured[0].noise == pytest.approx(0.02)
    assert one.difference == pytest.approx(0.026)
    assert one.status == REPRODUCED  # 2.6 points, and 2 * 2 + 1 + 0.05 are allowed
    table = sections(tmp_path, "apr")["published-apr-1"].table
    assert table is not None
    (line,) = [dict(zip(table.columns, cells, strict=True)) for cells in table.rows if "reproduced" in cells]
    assert line["published method"] == "standard, resnet18"
    assert (line["published"], line["measured"]) == ("25.4", "28.00 ± 2.00 (3 seeds)")
    assert (line["difference"], line["in seed noises"]) == ("+2.60", "+1.3")


@pytest.mark.parametrize(
    ("row_of", "settings", "said"),
    [
        ({"arch": "speednet"}, RECIPE, "speednet (resnet18)"),
        ({"dataset": "cifar10_c_generated"}, RECIPE, "generated (released) corruptions"),
        ({"n": 1000}, RECIPE, "n = 1,000 (10,000)"),
        ({}, {**RECIPE, "trainer.epochs": 8}, "epochs 8 (200)"),
        ({}, {"trainer.epochs": 200, "trainer.batch_size": 128}, "no lr (0.1); no weight_decay (0.0005)"),
    ],
)
def test_other_conditions_are_named_and_never_count_as_reproduced(
    tmp_path: Path, row_of: dict[str, object], settings: dict[str, object], said: str
) -> None:
    trained(tmp_path / "a", [corrupted(0.254, **row_of)], settings)
    one = beside(tmp_path)
    assert one.status == OTHER
    assert "; ".join(one.measured[0].differs) == said


def test_a_run_without_a_config_is_no_reproduction(tmp_path: Path) -> None:
    run(tmp_path / "a", [corrupted(0.254)], None, "corruptions")
    assert beside(tmp_path).status == OTHER
    assert beside(tmp_path).measured[0].differs == ("training unknown: no config.yaml",)


def test_the_closest_conditions_are_compared_and_others_counted(tmp_path: Path) -> None:
    for epochs in (8, 150, 20):
        trained(tmp_path / f"e{epochs}", [corrupted(0.25)], {**RECIPE, "trainer.epochs": epochs})
    one = beside(tmp_path)
    assert [each.differs for each in one.measured] == [(f"epochs {epochs} (200)",) for epochs in (150, 20, 8)]


def test_another_method_set_or_part_of_the_corruptions_is_never_run(tmp_path: Path) -> None:
    changes: list[dict[str, object]] = [{"aug": "apr_s"}, {"reg": "lsf"}, {"train_dataset": "cifar100"}]
    changes += [{"corruption": "common8of15"}, {"dataset": "cifar10_c_bar"}]
    trained(tmp_path / "a", [corrupted(0.254, **changes[0])])
    trained(tmp_path / "b", [corrupted(0.254, **changes[1])])
    trained(tmp_path / "c", [corrupted(0.254, **changes[2])])
    trained(tmp_path / "d", [corrupted(0.254, **changes[4])])
    assert beside(tmp_path).status == NEVER
    trained(tmp_path / "e", [corrupted(0.1, **changes[3]), corrupted(0.254)])
    assert beside(tmp_path).difference == 0


def test_the_settings_that_make_a_method_tell_adversarial_rows_apart(tmp_path: Path) -> None:
    """APR-P and APR-SP are one aug here; only its settings say which."""
    attacked = row("error", 0.56, suite="attacks", attack="autoattack", eps=0.031373, aug="apr_sp_fgsm",
                   arch="preact_resnet18", n=10000)  # fmt: skip
    run(tmp_path / "a", [attacked], None, "attacks")
    config = (
        "seed: 0\noptim:\n  lr: 0.22\ntrainer:\n  epochs: 55\n  batch_size: 128\naug:\n  single:\n    apply_p: {}\n"
    )
    for share, status in (("0", REPRODUCED), ("0.9", NEVER)):
        (tmp_path / "a" / "config.yaml").write_text(config.format(share))
        besides = compare(published("apr"), *read(tmp_path, "apr"))
        apr_p = [one for one in besides if dict(one.published.variant) == {"aug.single.apply_p": 0}]
        assert [one.status for one in apr_p if one.published.attack] == [status]


def test_the_summary_counts_every_number_once(tmp_path: Path) -> None:
    trained(tmp_path / "a", [corrupted(0.254)])
    made = sections(tmp_path, "apr")
    total = len(published("apr"))
    sentence = made["published-apr"].notes[0]
    assert sentence.startswith(f"Of {total} published numbers 1 are reproduced, 0 were measured under the same")
    assert f"4 were measured under other conditions only, and {total - 5} were never run" in sentence
    table = made["published-apr"].table
    assert table is not None
    counts = [list(map(int, line[1:])) for line in table.rows]
    assert sum(line[0] for line in counts) == total
    assert all(line[0] == sum(line[1:]) for line in counts)


def test_the_reference_reproduces_nothing_of_the_small_nets() -> None:
    """Its networks are far smaller than the published ones: whatever their numbers, they are other conditions."""
    for paper in papers():
        besides = compare(published(paper), *read(REFERENCE, paper))
        statuses = {one.status for one in besides}
        assert statuses == {OTHER, NEVER}
        measured = [one for one in besides if one.measured]
        assert all("speednet" in one.measured[0].differs[0] for one in measured)


def test_profiles_are_drawn_with_the_numbers_of_the_files() -> None:
    made = sections(REFERENCE, "fourier_sensitivity")
    drawn = made["published-fourier-sensitivity-profiles-cifar10"].pictures[0]
    again = sections(REFERENCE, "fourier_sensitivity")["published-fourier-sensitivity-profiles-cifar10"].pictures[0]
    assert drawn == again
    assert drawn.svg.startswith("<svg ")
    assert "url(" not in drawn.svg
    assert " id=" not in drawn.svg
    lines = {line[0]: line[1:] for line in drawn.numbers.rows}
    assert lines["lsf, k = 4"][0] == "0.351"
    assert lines["lsf, k = 23"][0] == ""  # not readable in the figure
    path = REFERENCE / "cifar10_speednet_small_8epochs" / "lsf" / "sensitivity" / "results.csv"
    measured = re.search(r",p\(4\),([0-9.]+),", path.read_text())
    assert measured is not None
    assert f"{float(measured[1]):.4f}" in lines["lsf, k = 4"]
    assert any(lines["lsf, k = 23"][2:])  # measured all the same
    for reg in ("no regularizer", "lsf", "msf", "asf"):
        assert f"{reg}: published" in drawn.alternative
    svhn = made["published-fourier-sensitivity-profiles-svhn"]
    assert "Never run here: no regularizer, lsf, msf, asf." in svhn.notes


def test_a_profile_is_the_mean_over_seeds(tmp_path: Path) -> None:
    for seed, shares in ((0, (0.2, 0.8)), (1, (0.4, 0.6))):
        rows = [row(f"p({k})", share, suite="sensitivity", seed=seed) for k, share in enumerate(shares, 1)]
        run(tmp_path / f"s{seed}", rows, 8, "sensitivity")
    found, _ = read(tmp_path, "fourier_sensitivity")
    first = [one for one in found if one.row.metric == "p(1)"]
    rings = {each.receipt: [one for one in found if one.receipt is each.receipt] for each in first}
    assert profile_of(first, rings) == pytest.approx({1: 0.3, 2: 0.7})


def test_a_panel_draws_the_closest_and_says_how_many_are_left(tmp_path: Path) -> None:
    for epochs in range(1, DRAWN + 3):
        rows = [row(f"p({k})", 0.5, suite="sensitivity") for k in (1, 2)]
        run(tmp_path / f"e{epochs}", rows, epochs, "sensitivity")
    section = sections(tmp_path, "fourier_sensitivity")["published-fourier-sensitivity-profiles-cifar10"]
    assert f"The {DRAWN} under the closest conditions are drawn per panel; 2 more are not." in section.notes
    assert len(section.pictures[0].numbers.columns) == 3 + DRAWN


def test_an_unknown_paper_lists_those_there() -> None:
    for name in ("augmix", "../apr", ""):
        with pytest.raises(UserError, match="there are apr, fourier_sensitivity") as refused:
            published(name)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("paper", papers())
def test_the_files_hold_what_a_row_can_hold(paper: str) -> None:
    numbers = published(paper)
    assert len({_identity(one) for one in numbers}) == len(numbers)
    for one in numbers:
        assert one.source
        assert one.read
        assert one.better in ("higher", "lower", "neither")
        if one.metric in ("mean_k", "entropy"):
            continue
        assert 0 <= one.value <= 1
        assert one.half_unit <= 0.005


def test_published_means_fit_their_parts() -> None:
    """The paper's OOD mean is that of its six sets; the bands are sums of the profile, up to what reading loses."""
    ood = [one for one in published("apr") if one.suite == "ood"]
    for aug in ("standard", "apr_s", "apr_p", "apr_sp"):
        values = {one.dataset: one.value for one in ood if one.aug == aug}
        mean = values.pop("mean_apr")
        assert len(values) == 6
        assert mean == pytest.approx(sum(values.values()) / 6, abs=0.0011)
    numbers = published("fourier_sensitivity")
    for dataset, reg in {(one.dataset, one.reg) for one in numbers if one.metric == "p(1)"}:
        mine = {one.metric: one.value for one in numbers if (one.dataset, one.reg) == (dataset, reg)}
        profile = {int(name[2:-1]): value for name, value in mine.items() if name.startswith("p(")}
        total = sum(profile.values())
        for band, (first, last) in band_edges(32, 32).items():
            share = sum(value for k, value in profile.items() if first <= k <= last) / total
            assert mine[band] == pytest.approx(share, abs=0.03), (dataset, reg, band)


def _identity(one: Published) -> tuple[object, ...]:
    return (one.source, one.key, one.arch, one.aug, one.reg, one.dataset, one.eps, str(one.variant))

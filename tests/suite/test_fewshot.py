"""suite=fewshot: errors by hand, the rules for the penalty, what is refused, and a run on the embedded set."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.shapes import Shapes
from fourier_robust.dataset.transfer import Cropped, OfDataset, Transfer
from fourier_robust.dataset.transfer_folders import FolderSet
from fourier_robust.errors import UserError
from fourier_robust.metric.outcome import mean_of_images
from fourier_robust.metric.ridge import RidgePath, best_left_out
from fourier_robust.suite.base import Condition, Measurement
from fourier_robust.suite.fewshot import FewShot
from fourier_robust.suite.fewshot_probe import best_by_rank, draw, mean_of_sets, spread_of_draws

CPU = torch.device("cpu")
NAMES = ("ant", "bee", "cat")


class Known:
    """The model's own data set: of it the suite takes name and size."""

    name, size = "known", 4


class Given:
    """Noisy grey images of three classes: 12 of each to learn from, 20 to test on."""

    def __init__(self, seed: int = 0, per_class: int = 12, absent: str | None = None, remark: str = "") -> None:
        self.seed, self.per_class, self.reason, self.remark = seed, per_class, absent, remark

    def absent(self) -> str | None:
        return self.reason

    def parts(self) -> tuple[ResidentSplit, ResidentSplit]:
        generator = torch.Generator().manual_seed(self.seed)
        parts = []
        for count in (self.per_class, 20):
            labels = torch.arange(3).repeat(count)
            noise = 70 * torch.randn(len(labels), 4, 4, 3, generator=generator)
            parts.append(ResidentSplit((60 * labels[:, None, None, None] + 60 + noise).clamp(0, 255).byte(), labels))
        return parts[0], parts[1]

    def read(self, crop: CentreCrop) -> Transfer:
        train, test = self.parts()
        return Transfer(Cropped(train, crop), Cropped(test, crop), NAMES, self.remark)


def net(head: bool = True) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten())
    return nn.Sequential(body, nn.Linear(20, 3)) if head else nn.Sequential(nn.Conv2d(3, 5, 4), nn.Flatten())


def run(suite: FewShot, model: nn.Module | None = None, batch_size: int = 7) -> list[Measurement]:
    outcomes, dataset = {}, Known()
    for condition in suite.conditions(dataset):  # type: ignore[arg-type]
        source = suite.source(dataset, condition, CPU, batch_size)  # type: ignore[arg-type]
        outcomes[condition] = suite.observe(model or net(), source, condition, "fp32")
        assert len(outcomes[condition].label) == source.n
    found = suite.measure(outcomes)
    assert len(outcomes) == 2 * len(suite._read)
    return found


def values(found: list[Measurement]) -> dict[tuple[str, str], float]:
    assert not any(item.higher_is_better for item in found)
    return {(item.condition.dataset, item.metric): item.estimate.value for item in found}


def features(split: ResidentSplit, model: nn.Module) -> torch.Tensor:
    body: Any = model[0]  # type: ignore[index]
    with torch.no_grad():
        return torch.cat([body(batch.images) for batch in split.batches(100)])


def test_a_probe_of_all_images_is_the_ridge_of_them() -> None:
    """With as many shots as there are images every draw is the same set, and the error that of one fit."""
    suite = FewShot({"given": Given()}, shots=[12], seeds=2)
    found = run(suite)
    train, test = Given().parts()
    path = RidgePath(features(train, net()), train.labels, 3)
    penalty = best_left_out(path, suite.penalties)
    wrong = (path.scores(features(test, net()), penalty).argmax(1) != test.labels).double()
    assert 0 < float(wrong.mean()) < 2 / 3
    estimates = {item.metric: item.estimate for item in found}
    assert estimates["error_12shot"] == mean_of_images(wrong)
    assert estimates["error_12shot_sd"] == (0, 0, 0, 2)
    assert suite.files({}, "x")["probes.npz"]["penalties"].tolist() == [[[penalty, penalty]]]


def test_shots_are_nested_and_replayed() -> None:
    labels = torch.arange(3).repeat(12)

    def drawn(shots: int, *seeds: int) -> list[torch.Tensor]:
        found = draw(labels, NAMES, shots, [torch.Generator().manual_seed(seed) for seed in seeds])
        return [found.order[rows] for rows in found.rows]

    one, other = drawn(5, 0, 1)
    assert not torch.equal(one, other)
    assert torch.equal(drawn(5, 0)[0], one)
    assert torch.equal(drawn(2, 0)[0], one[:, :2])
    assert torch.equal(labels[one], torch.arange(3)[:, None].expand(3, 5))
    assert all(len(row.unique()) == 5 for row in one)


def test_rules_for_the_penalty() -> None:
    """fixed is the fixed one; loo tries all, but for 1 shot; test_rank takes what is best on test images over sets."""
    sets = {"one": Given(1), "two": Given(2)}

    def penalties(select: str) -> Any:
        suite = FewShot(sets, shots=[1, 5], select=select, penalty=8.0, log2_penalties=[-4, 12])  # type: ignore[arg-type]
        found = values(run(suite))
        return suite.files({}, "x")["probes.npz"]["penalties"], found

    fixed, _ = penalties("fixed")
    assert (fixed == 8).all()
    loo, _ = penalties("loo")
    assert (loo[:, 0] == 8).all()
    assert not (loo[:, 1] == 8).all()
    ranked, by_rank = penalties("test_rank")
    for column in range(2):
        assert len(set(ranked[:, column].flatten().tolist())) == 1  # one for all sets and draws
    each = {power: values(run(FewShot(sets, shots=[5], select="fixed", penalty=2.0**power))) for power in range(-4, 13)}
    errors = [torch.tensor([found[name, "error_5shot"] for found in each.values()]) for name in sets]
    chosen = best_by_rank(errors, [2.0**power for power in each])
    assert ranked[0, 1, 0] == chosen
    assert by_rank["one", "error_5shot"] == each[int(np.log2(chosen))]["one", "error_5shot"]


def test_rank() -> None:
    """Mean ranks (3 is best) of the three: (1 + 3)/2, (3 + 2)/2, (2 + 1)/2."""
    errors = [torch.tensor([0.9, 0.1, 0.2]), torch.tensor([0.30, 0.31, 0.32])]
    assert best_by_rank(errors, [1.0, 2.0, 4.0]) == 2.0


def test_means_and_intervals() -> None:
    found = run(FewShot({"one": Given(1), "two": Given(2), "known": Given(3)}, shots=[5, 12]))
    estimates = {(item.condition.dataset, item.metric): item.estimate for item in found}
    mean = estimates["mean_of_2_sets", "error_5shot"]
    one, two = (estimates[name, "error_5shot"] for name in ("one", "two"))  # the model's own set is in no mean
    assert mean == mean_of_sets([one, two])
    assert mean.value == pytest.approx((one.value + two.value) / 2)
    assert mean.high - mean.value == pytest.approx(np.hypot(one.high - one.value, two.high - two.value) / 2)
    assert mean.n == 120
    assert ("mean_of_2_sets", "error_5shot_sd") not in estimates


def test_spread_of_draws() -> None:
    """Three values: quantiles of chi-square with 2 degrees of freedom are -2 ln(1 - share)."""
    values = torch.tensor([0.1, 0.2, 0.6], dtype=torch.float64)
    squares = float((values - 0.3).square().sum())
    found = spread_of_draws(values)
    assert found.value == pytest.approx(np.sqrt(squares / 2))
    assert found.low == pytest.approx(np.sqrt(squares / (-2 * np.log(0.025))))
    assert found.high == pytest.approx(np.sqrt(squares / (-2 * np.log(0.975))))
    assert found.n == 3


def test_fewer_images_than_shots() -> None:
    """A set that was named is refused; of one that is merely there, what can be measured is, and it is said."""
    readers: Mapping[str, Any] = {"many": Given(), "few": Given(per_class=4)}
    with pytest.raises(UserError, match="transfer set few: class ant has 4 training images, 10 shots are wanted"):
        run(FewShot(readers, ["few"], shots=[1, 10]))
    suite = FewShot(readers, shots=[1, 10])
    found = values(run(suite))
    assert ("few", "error_1shot") in found
    assert ("few", "error_10shot") not in found
    assert ("mean_of_2_sets", "error_1shot") in found
    assert ("many", "error_10shot") in found
    assert "few: a class has 4 training images, so no 10 shots" in suite.remarks()
    with pytest.raises(UserError, match="transfer set few: class ant has 4"):
        run(FewShot({"few": Given(per_class=4)}, shots=[10]))


def test_what_is_not_there() -> None:
    readers = {"here": Given(remark="odd"), "away": Given(absent="no folder /data/away")}
    suite = FewShot(readers, shots=[1])
    assert {name for name, _ in values(run(suite))} == {"here"}
    assert suite.remarks()[2:] == [
        "not on disk, left out: away; suite.sets=[NAME] says what belongs where",
        "here: odd",
    ]
    with pytest.raises(UserError, match="transfer set away: no folder /data/away"):
        run(FewShot(readers, ["away"], shots=[1]))
    with pytest.raises(UserError, match="no transfer set is there: away: no folder"):
        run(FewShot({"away": readers["away"]}, shots=[1]))


def test_a_model_without_a_linear_head() -> None:
    """One line; a named layer is probed instead, averaged over its positions."""
    suite = FewShot({"given": Given()}, shots=[5], seeds=1)
    with pytest.raises(UserError, match=r"no linear layer that the logits come from.* suite\.layer=NAME") as refused:
        run(suite, net(head=False))
    assert "\n" not in str(refused.value)
    model = nn.Sequential(net(), nn.Identity())
    pooled = nn.Sequential(
        nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()), nn.Linear(5, 3)
    )
    pooled[0][0].load_state_dict(model[0][0][0].state_dict())  # type: ignore[index]
    by_name = values(run(FewShot({"given": Given()}, shots=[5], seeds=1, layer="0.0.1"), model))
    assert by_name == values(run(suite, pooled))
    with pytest.raises(UserError, match=r"no module 0\.7"):
        run(FewShot({"given": Given()}, shots=[5], layer="0.7"), model)
    cubes = nn.Sequential(nn.Unflatten(1, (3, 1)), nn.Flatten(1, 2), net())
    with pytest.raises(UserError, match=r"suite\.layer: 0 puts out \(7, 3, 1, 4, 4\), a probe takes"):
        run(FewShot({"given": Given()}, shots=[5], layer="0"), cubes)


def test_an_unknown_layer() -> None:
    with pytest.raises(UserError, match=r"^the model has no module net\.foo; it has 0, 0\.0"):
        run(FewShot({"a": Given()}, shots=[1], layer="net.foo"))


def test_damaged_test_files_are_left_out_and_training_files_named(tmp_path: Path) -> None:
    """A few in a set whose others it scores; one that is drawn to learn from cannot be replaced."""
    for part, name, copy in ((part, name, copy) for part in ("train", "val") for name in NAMES for copy in "abcd"):
        (tmp_path / part / name).mkdir(parents=True, exist_ok=True)
        levels = np.random.default_rng(ord(copy)).integers(0, 120, (4, 4, 3)) + 60 * NAMES.index(name)
        Image.fromarray(levels.astype(np.uint8)).save(tmp_path / part / name / f"{copy}.png")

    def suite(**settings: Any) -> FewShot:
        return FewShot({}, folders={"mine": str(tmp_path)}, shots=[2], seeds=2, **settings)

    (whole,) = (item.estimate for item in run(suite()) if item.metric == "error_2shot")
    order = [name for name in NAMES for _ in "abcd"]
    good = torch.tensor([order[row] != "bee" or row % 4 != 1 for row in range(12)])
    before = suite()
    run(before)
    wrong = before._probed["mine", 2].wrong.mean(0)
    (tmp_path / "val" / "bee" / "b.png").write_bytes(b"-")
    lossy = suite(unreadable=0.1)
    (found,) = (item.estimate for item in run(lossy, batch_size=5) if item.metric == "error_2shot")
    assert (whole.n, found) == (12, mean_of_images(wrong[good]))
    lost = f"mine: 1 of 12 images could not be read and are left out: {tmp_path.resolve()}/val/bee/b.png"
    assert lossy.remarks()[-1] == lost
    with pytest.raises(UserError, match=r"^transfer set mine: 1 of 12 images could not be read, more than 0\.001 of"):
        run(suite())
    with pytest.raises(ValueError, match=r"suite\.unreadable=1 must be"):
        suite(unreadable=1)
    for copy in "abcd":
        (tmp_path / "train" / "bee" / f"{copy}.png").write_bytes(b"-")
    with pytest.raises(UserError, match=r"^transfer set mine: .*train/bee/.\.png is not a readable image"):
        run(suite(unreadable=0.1))


def test_features_are_taken_anew_where_something_changed() -> None:
    def identities(**settings: Any) -> list[str]:
        suite = FewShot({"given": Given()}, shots=[5], **settings)
        return [suite.source(Known(), one, CPU, 9).identity for one in suite.conditions(Known())]  # type: ignore[arg-type]

    test, train = identities()
    assert identities(select="fixed", standardise=False) == [test, train]
    assert identities(seed=1) == [test, identities(seed=1)[1]] != [test, train]
    for changed in ({"layer": "0"}, {"resize": 6}):
        assert not {test, train} & set(identities(**changed))
    assert identities(images=9)[0] != test


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"shots": [5, 1]}, r"suite\.shots=\[5, 1\] must be ascending"),
        ({"shots": []}, "must be ascending"),
        ({"shots": 5}, "must be ascending"),
        ({"select": "best"}, "must be one of loo, fixed, test_rank"),
        ({"sets": ["other"]}, "no set other; there are given"),
        ({"sets": "given"}, "must be a list of names"),
        ({"folders": {"a/b": "x"}}, "must name each folder"),
        ({"seeds": 0}, r"suite\.seeds=0 must be at least 1"),
        ({"log2_penalties": [3, 1]}, "first and last exponent"),
        ({"penalty": 0}, "above 0"),
    ],
)
def test_settings_out_of_range(settings: Mapping[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        FewShot({"given": Given()}, **settings)


def test_a_resize_below_the_size() -> None:
    with pytest.raises(UserError, match=r"suite\.resize: size=4 must lie in 1 to resize=3"):
        FewShot({"given": Given()}, resize=3).conditions(Known())  # type: ignore[arg-type]


def test_an_easy_set_is_learnt() -> None:
    """Better with twelve noisy images of a class than with one, on features that are the pixels."""
    flat = nn.Sequential(nn.Flatten(), nn.Linear(48, 3))
    found = values(run(FewShot({"given": Given()}, shots=[1, 12]), flat))
    assert found["given", "error_12shot"] < found["given", "error_1shot"] < 2 / 3
    assert found["given", "error_12shot"] < 0.25


def test_from_the_command_line(
    train_tiny: Callable[..., Path], evaluate_tiny: Callable[..., None], tmp_path: Path
) -> None:
    """Without data the embedded set; a folder beside it; a second launch takes the features of the first."""
    ckpt = train_tiny() / "last.pt"
    generator = np.random.default_rng(0)
    for label, name in enumerate(("dark", "light")):
        (tmp_path / "mine" / name).mkdir(parents=True)
        for number in range(10):
            pixels = generator.integers(120 * label, 120 * label + 100, (40, 50, 3), np.uint8)
            Image.fromarray(pixels).save(tmp_path / "mine" / name / f"{number}.png")
    small = ("suite.readers.shapes.dataset.num_train=100", "suite.readers.shapes.dataset.num_test=40")
    chosen = ("suite=fewshot", "suite.shots=[1,5]", f"suite.folders={{mine: {tmp_path}/mine}}", *small)
    evaluate_tiny(ckpt, *chosen)
    evaluate_tiny(ckpt, *chosen, "suite.select=fixed")
    folder = ckpt.parent / "eval" / "fewshot"
    rows = {(row["dataset"], row["metric"]): row for row in csv.DictReader((folder / "results.csv").open())}
    assert list(rows) == [
        (name, f"error_{shots}shot{part}") for name in ("shapes", "mine") for shots in (1, 5) for part in ("", "_sd")
    ]
    receipt = json.loads((folder / "eval.json").read_text())
    assert receipt["conditions_reused"] == 4
    said = "\n".join(receipt["remarks"])
    assert "VTAB" not in said
    for part in (
        "not on disk, left out: cifar10, cifar100,",
        "shapes is the model's own data set",
        "mine: no published",
    ):
        assert part in said
    with np.load(folder / "probes.npz") as kept:
        assert kept["errors"].shape == (2, 2, 3)
        for at, name in enumerate(kept["sets"].tolist()):
            for column, shots in enumerate(kept["shots"].tolist()):
                value = float(rows[name, f"error_{shots}shot"]["value"])
                assert value == pytest.approx(kept["errors"][at, column].mean(), abs=1e-6)
        assert set(kept["penalties"].flatten().tolist()) == {1024.0}
    with pytest.raises(UserError, match=r"transfer set dtd: no folder .*dtd/dtd or .*; put the unpacked archive there"):
        evaluate_tiny(ckpt, "suite=fewshot", "suite.sets=[dtd]")


def test_the_embedded_set_and_a_tree_through_one_crop(tmp_path: Path) -> None:
    """The same images as arrays and as files give the same features."""
    shapes = Shapes(num_train=30, num_val=0, num_test=20)
    for part, folder in (("train", "train"), ("test", "val")):
        split = shapes.split(part)
        for images, labels, indices in split.batches(1):
            path = tmp_path / folder / str(int(labels))
            path.mkdir(parents=True, exist_ok=True)
            pixels = images[0].mul(255).round().byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(path / f"{int(indices):03d}.png")
    crop, found = CentreCrop(16, 24), []
    for reader in (OfDataset(shapes), FolderSet(str(tmp_path), num_workers=0)):
        (batch,) = reader.read(crop).test.batches(20)
        order = batch.images.flatten(1).sum(1).argsort()
        found.append((batch.images[order], batch.labels[order]))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])


def test_conditions_name_both_parts() -> None:
    suite = FewShot({"given": Given()}, shots=[1])
    assert suite.conditions(Known()) == [Condition("given"), Condition("given_train")]  # type: ignore[arg-type]

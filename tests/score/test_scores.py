"""The contract, for every yaml of ``conf/score``; and what single scores promise."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import hydra
import pytest
import torch
from omegaconf import OmegaConf
from score.toy import CLASSES, head, images

from fourier_robust.config import conf_dir, validate
from fourier_robust.errors import UserError
from fourier_robust.metric.detection import detection
from fourier_robust.score.ash import ASH
from fourier_robust.score.base import Head, Outputs, fit
from fourier_robust.score.gaussian import fit_gaussian
from fourier_robust.score.gen import GEN
from fourier_robust.score.kl_matching import KLMatching
from fourier_robust.score.knn import KNN, candidates, kth_similarity, largest
from fourier_robust.score.mahalanobis import Mahalanobis
from fourier_robust.score.msp import MSP
from fourier_robust.score.odin import ODIN
from fourier_robust.score.vim import ViM

FOLDER = conf_dir() / "score"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
NEEDS = {"logits", "features", "gradient", "head", "train", "labels"}


def build(name: str) -> Any:
    return hydra.utils.instantiate(OmegaConf.load(FOLDER / f"{name}.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_yaml(name: str) -> None:
    """Says its source, command, cost and expectation; names every setting of the class, at its default; is checked."""
    text = (FOLDER / f"{name}.yaml").read_text()
    for word in ("source", "command", "cost", "expect"):
        assert f"\n# {word}: " in text
    node = OmegaConf.to_container(OmegaConf.load(FOLDER / f"{name}.yaml"))
    assert isinstance(node, dict)
    validate({"score": node})
    assert node.pop("_target_").split(".")[2] == name
    score = build(name)
    assert node == dataclasses.asdict(score) == dataclasses.asdict(type(score)())
    with pytest.raises(UserError, match="no such setting"):
        validate({"score": {"_target_": f"{type(score).__module__}.{type(score).__name__}", "gama": 1}})


def test_there_is_a_yaml_for_every_score() -> None:
    modules = {path.stem for path in (conf_dir().parent / "fourier_robust" / "score").glob("*.py")}
    assert modules - set(NAMES) == {"__init__", "base", "gaussian", "probability"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", NAMES)
def test_contract(name: str, dtype: torch.dtype) -> None:
    """(N,) float64, each image on its own, nothing changed, and larger for images of no class."""
    score = build(name)
    assert score.needs <= NEEDS
    with pytest.raises(dataclasses.FrozenInstanceError):
        score.needs = frozenset()
    train, known, unknown = images(600, 1, dtype=dtype), images(200, 2, dtype=dtype), images(150, 3, False, dtype)
    copies = [values.clone() for values in (*train, *known)]
    scorer = fit(score, train, Head(*(values.to(dtype) for values in head())))
    found = scorer(known)
    assert found.shape == (200,)
    assert found.dtype == torch.float64
    assert all(torch.equal(one, other) for one, other in zip(copies, (*train, *known), strict=True))
    alone = torch.cat([scorer(Outputs(*(values[i : i + 1] for values in known))) for i in (0, 17, 199)])
    torch.testing.assert_close(alone, found[[0, 17, 199]], rtol=1e-5, atol=1e-6)
    assert detection(found, scorer(unknown))["auroc"] > 0.75


@pytest.mark.parametrize("name", NAMES)
def test_uses_only_what_it_needs(name: str) -> None:
    """Without the rest it gives the same; without what it needs, one line."""
    score = build(name)
    train, known, layer = images(600, 1), images(20, 2), head()
    full = fit(score, train, layer)(known)

    def cut(outputs: Outputs, needs: frozenset[str]) -> Outputs:
        logits = outputs.logits if "logits" in needs else torch.full_like(outputs.logits, math.nan)
        kept = outputs.features if "features" in needs else None
        return Outputs(logits, kept, outputs.labels if "labels" in needs else None)

    def run(needs: frozenset[str]) -> torch.Tensor:
        known_part = cut(known, needs)._replace(labels=None)
        train_part = cut(train, needs) if "train" in needs else None
        return fit(score, train_part, layer if "head" in needs else None)(known_part)

    assert torch.equal(run(score.needs), full)
    for need in score.needs - {"logits", "gradient"}:
        with pytest.raises(UserError) as refused:
            run(score.needs - {need})
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("kind", "settings", "word"),
    [
        (MSP, {"temperature": 0.0}, "temperature must be above 0"),
        (ODIN, {"temperature": math.inf}, "temperature"),
        (ODIN, {"noise": -1.0}, "noise"),
        (GEN, {"gamma": 1.0}, "gamma"),
        (GEN, {"top": 0}, "top"),
        (KNN, {"k": 0}, "k must"),
        (ViM, {"dim": 0}, "dim"),
        (ASH, {"form": "x"}, "form must be one of s, b, p"),
        (ASH, {"percentile": 100.0}, "percentile"),
    ],
)
def test_settings_out_of_range(kind: type, settings: dict[str, Any], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        kind(**settings)


def test_settings_that_do_not_suit_the_outputs() -> None:
    train = images(30, 1)
    for score, word in ((KNN(31), r"training images \(30\), got 31"), (ViM(24), r"features \(24\), got 24")):
        with pytest.raises(ValueError, match=word):
            fit(score, train, head())
    with pytest.raises(ValueError, match="leaves none of 24"):
        fit(ASH("p", 99.0), None, head())(train)
    with pytest.raises(ValueError, match="do not vary"):
        fit_gaussian(torch.ones(5, 3), torch.zeros(5, dtype=torch.int64))
    with pytest.raises(ValueError, match="not all finite"):
        fit_gaussian(torch.tensor([[0.0], [math.inf]]), torch.zeros(2, dtype=torch.int64))


def test_very_sure_images_are_still_told_apart() -> None:
    """Leads of 20, 40 and 60 in float32 logits: their softmax is 1 in float32, and from 40 on in float64 too."""
    logits = torch.zeros(3, CLASSES)
    logits[:, 2] = torch.tensor([60.0, 40.0, 20.0])
    expected = [5 * math.exp(-lead) for lead in (60, 40, 20)]
    assert MSP()(Outputs(logits)).tolist() == pytest.approx(expected, rel=1e-6, abs=0)
    ranked = GEN()(Outputs(logits))
    assert (ranked[1:] > 1.5 * ranked[:-1]).all()


def test_a_class_never_seen() -> None:
    """Neither without training images (Mahalanobis) nor never predicted (KL-Matching) it spoils the others."""
    train, known = images(300, 1), images(20, 2)
    rest = train.labels != 3
    seen = fit(Mahalanobis(), Outputs(train.logits[rest], train.features[rest], train.labels[rest]))(known)
    other = train.labels[rest] - (train.labels[rest] > 3).long()
    renamed = fit(Mahalanobis(), Outputs(train.logits[rest], train.features[rest], other))(known)
    assert torch.equal(seen, renamed)
    never = train.logits.clone()
    never[:, 3] -= 100
    assert fit(KLMatching(), train._replace(logits=never))(known).isfinite().all()


def test_ash_of_an_image_without_activations() -> None:
    """Only the bias is left."""
    zeros = Outputs(torch.zeros(1, CLASSES), torch.zeros(1, 24))
    bias_alone = -head().bias.logsumexp(0)
    for form in ("s", "b", "p"):
        assert float(fit(ASH(form), None, head())(zeros)) == pytest.approx(float(bias_alone))


@pytest.mark.parametrize(("n", "k"), [(1, 1), (50, 50), (50, 60), (900, 1), (901, 10), (1000, 3), (4097, 50)])
def test_largest_is_topk(n: int, k: int) -> None:
    """With many ties, through the groups and beside them."""
    generator = torch.Generator().manual_seed(n)
    for values in (torch.randn(5, n, generator=generator), torch.randint(4, (5, n), generator=generator).float()):
        found = largest(candidates(values, k), k).sort(1).values
        assert torch.equal(found, values.topk(min(n, k), 1).values.flip(1))


@pytest.mark.parametrize("order", ["rising", "falling", "drawn", "tied"])
def test_kth_similarity_over_blocks_that_are_searched_above_what_was_found(
    order: str, generator: torch.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether later blocks hold better ones, none, or equal ones."""
    queries, known = torch.randn(9, 6, generator=generator), torch.randn(3000, 6, generator=generator)
    if order == "tied":
        known = known[torch.randint(40, (3000,), generator=generator)]
    elif order != "drawn":
        known = known[(known @ queries.mean(0)).argsort(descending=order == "falling")]
    monkeypatch.setattr("fourier_robust.score.knn.KNOWN", 700)
    for k in (1, 5, 30, 3000):
        expected = (queries @ known.T).topk(k, 1).values[:, -1]
        torch.testing.assert_close(kth_similarity(queries, known, k), expected, rtol=0, atol=1e-5)


def test_knn_over_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks smaller than k, uneven ones, and one block give the same."""
    train, known = images(500, 1), images(30, 2)
    whole = fit(KNN(20), train)(known)
    monkeypatch.setattr("fourier_robust.score.knn.QUERIES", 7)
    for block in (13, 64, 333):
        monkeypatch.setattr("fourier_robust.score.knn.KNOWN", block)
        torch.testing.assert_close(fit(KNN(20), train)(known), whole, rtol=1e-12, atol=1e-12)


def test_features_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Feature blocks do not change what is fitted or scored."""
    train, known = images(500, 1), images(30, 2)
    names = ("mahalanobis", "relative_mahalanobis", "vim", "ash", "react")
    whole = {name: fit(build(name), train, head())(known) for name in names}
    for module in ("base", "gaussian", "vim"):
        monkeypatch.setattr(f"fourier_robust.score.{module}.ROWS", 17)
    for name in names:
        torch.testing.assert_close(fit(build(name), train, head())(known), whole[name], rtol=1e-9, atol=1e-9)

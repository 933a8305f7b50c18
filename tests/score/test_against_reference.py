"""Scores against pytorch-ood (in float64 where it allows), and against NumPy from the definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytorch_ood import detector as pytorch_ood
from reference.ood import knn_reference, mahalanobis_reference, vim_reference
from score.toy import CLASSES, head, images
from torch import nn
from torch.nn import functional

from fourier_robust.score.ash import ASH
from fourier_robust.score.base import Outputs, fit
from fourier_robust.score.energy import Energy
from fourier_robust.score.entropy import Entropy
from fourier_robust.score.gen import GEN
from fourier_robust.score.kl_matching import KLMatching
from fourier_robust.score.knn import KNN
from fourier_robust.score.mahalanobis import Mahalanobis
from fourier_robust.score.max_logit import MaxLogit
from fourier_robust.score.msp import MSP
from fourier_robust.score.odin import ODIN
from fourier_robust.score.react import ReAct
from fourier_robust.score.relative_mahalanobis import RelativeMahalanobis
from fourier_robust.score.vim import ViM

TRAIN, TEST = images(400, 2), images(50, 3, known=False)


def close(found: torch.Tensor, expected: torch.Tensor | np.ndarray, **tolerance: float) -> None:
    assert found.dtype == torch.float64
    torch.testing.assert_close(
        found, torch.as_tensor(expected).double(), **(tolerance or {"rtol": 1e-9, "atol": 1e-11})
    )


def linear(maps: torch.Tensor) -> torch.Tensor:
    weight, bias = head()
    return maps.flatten(1) @ weight.T + bias


def test_scores_of_logits() -> None:
    logits = TEST.logits
    close(MSP()(TEST) - 1, pytorch_ood.MaxSoftmax.score(logits))
    close(MSP(2.5)(TEST) - 1, pytorch_ood.MaxSoftmax.score(logits, 2.5))
    close(MaxLogit()(TEST), pytorch_ood.MaxLogit.score(logits))
    close(Energy()(TEST), pytorch_ood.EnergyBased.score(logits))
    close(Energy(3.0)(TEST), pytorch_ood.EnergyBased.score(logits, 3.0))
    close(Entropy()(TEST), pytorch_ood.Entropy.score(logits))
    close(GEN()(TEST), CLASSES * pytorch_ood.GEN.score(logits))  # theirs is the mean
    close(GEN(0.5, 3)(TEST), 3 * pytorch_ood.GEN.score(logits, 0.5, 3))


def test_kl_matching() -> None:
    theirs = pytorch_ood.KLMatching(None).fit_logits(TRAIN.logits)
    close(fit(KLMatching(), TRAIN)(TEST), theirs.predict_logits(TEST.logits))


@pytest.mark.parametrize("k", [1, 7, 400])
def test_knn(k: int) -> None:
    found = fit(KNN(k), TRAIN)(TEST)
    theirs = pytorch_ood.KNN(None, k=k).fit_features(TRAIN.features, TRAIN.labels)
    close(found, theirs.predict_features(TEST.features))
    close(found, knn_reference(TRAIN.features.numpy(), TEST.features.numpy(), k))


def test_mahalanobis() -> None:
    expected, relative = mahalanobis_reference(TRAIN.features.numpy(), TRAIN.labels.numpy(), TEST.features.numpy())
    close(fit(Mahalanobis(), TRAIN)(TEST), expected)
    close(fit(RelativeMahalanobis(), TRAIN)(TEST), relative, rtol=1e-8, atol=1e-9)
    # theirs: half the distance, by the scatter (N times the covariance), in float32
    one = pytorch_ood.Mahalanobis(None).fit_features(TRAIN.features.float(), TRAIN.labels)
    two = pytorch_ood.RMD(None).fit_features(TRAIN.features.float(), TRAIN.labels)
    n, features = len(TRAIN.labels), TEST.features.float()
    close(fit(Mahalanobis(), TRAIN)(TEST) / (2 * n), one.predict_features(features), rtol=1e-3, atol=1e-4)
    close(fit(RelativeMahalanobis(), TRAIN)(TEST) / n, two.predict_features(features), rtol=1e-3, atol=1e-4)


def test_mahalanobis_without_full_rank() -> None:
    """A dead feature and a copied one: the inverse is that on the directions which vary."""
    train, test = (outputs.features.clone() for outputs in (TRAIN, TEST))
    for values in (train, test):
        values[:, 0] = 0.0
        values[:, 1] = values[:, 2]
    expected, relative = mahalanobis_reference(train.numpy(), TRAIN.labels.numpy(), test.numpy())
    known, seen = TRAIN._replace(features=train), TEST._replace(features=test)
    close(fit(Mahalanobis(), known)(seen), expected, rtol=1e-8, atol=1e-9)
    close(fit(RelativeMahalanobis(), known)(seen), relative, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("dim", [5, 12, None])
def test_vim(dim: int | None) -> None:
    weight, bias = head()
    found = fit(ViM(dim), TRAIN, head())(TEST)
    arrays = [values.numpy() for values in (TRAIN.features, TEST.features, weight, bias)]
    close(found, vim_reference(*arrays, dim=dim or 12), rtol=1e-8, atol=1e-9)
    theirs = pytorch_ood.ViM(None, dim or 12, weight, bias).fit_features(TRAIN.features, TRAIN.labels)
    close(found, theirs.predict_features(TEST.features), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("percentile", [10.0, 90.0, 100.0])
def test_react(percentile: float) -> None:
    cut = float(np.percentile(TRAIN.features.numpy(), percentile, method="lower"))
    theirs = pytorch_ood.ReAct(None, linear, threshold=cut)
    found = fit(ReAct(percentile), TRAIN, head())(TEST)
    close(found, theirs.predict_feature_maps(TEST.features[:, :, None, None]))


@pytest.mark.parametrize("form", ["s", "b", "p"])
@pytest.mark.parametrize("percentile", [0.0, 65.0, 90.0])
def test_ash(form: str, percentile: float) -> None:
    theirs = pytorch_ood.ASH(None, linear, f"ash-{form}", percentile / 100)
    found = fit(ASH(form, percentile), None, head())(TEST)
    close(found, theirs.predict_feature_maps(TEST.features[:, :, None, None].clone()))


@pytest.mark.parametrize(("temperature", "noise"), [(1000.0, 0.0014), (1.0, 0.02)])
def test_odin(temperature: float, noise: float) -> None:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 8, 3), nn.GELU(), nn.Flatten(), nn.Linear(8 * 36, 5))
    model = nn.Sequential(*layers).double().requires_grad_(False)
    pixels = torch.rand(6, 3, 8, 8, dtype=torch.float64)
    score = ODIN(temperature, noise)
    inputs = pixels.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(score.objective(model(inputs)), inputs)
    moved = score.perturb(inputs, gradient)
    assert not moved.requires_grad
    assert float((moved - pixels).abs().sub(noise).abs().max()) < 1e-12
    theirs = pytorch_ood.ODIN(model, eps=noise, temperature=temperature)
    close(score(Outputs(model(moved))) - 1, theirs.predict(pixels))
    before = functional.cross_entropy(model(pixels) / temperature, model(pixels).argmax(1))
    assert functional.cross_entropy(model(moved) / temperature, model(pixels).argmax(1)) < before

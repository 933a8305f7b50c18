"""suite=attacks: rows by hand, stretches, bounds, checks for gradient masking, bad input."""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from attack.nets import blobs, trained
from support import compose_config
from torch import nn

from fourier_robust.attack.apgd import APGD
from fourier_robust.attack.autoattack import AutoAttack
from fourier_robust.attack.band_pgd import BandPGD
from fourier_robust.attack.fgsm import FGSM
from fourier_robust.attack.masking import Checked, judged
from fourier_robust.attack.pgd import PGD
from fourier_robust.cli import build
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.errors import UserError
from fourier_robust.suite.attacks import Attacked, Attacks
from fourier_robust.suite.base import Condition

CPU = torch.device("cpu")
KINDS: dict[str, Any] = {
    "fgsm": FGSM,
    "pgd": partial(PGD, steps=8),
    "pgd_l2": partial(PGD, norm="l2", steps=8),
    "high": partial(BandPGD, band="high", steps=8),
    "apgd": partial(APGD, steps=10),
    "autoattack": AutoAttack,
}


class Blobs:
    """Forty test images in six classes."""

    name, num_classes, val_size, size, mean, std = "blobs", 6, 0, 12, (0.5,) * 3, (0.5,) * 3

    def split(self, name: str, device: torch.device | str = "cpu") -> ResidentSplit:
        images, labels = blobs(40, 5)
        return ResidentSplit(images.mul(255).round().byte().permute(0, 2, 3, 1).contiguous(), labels)


def made(names: list[str], **settings: Any) -> Attacks:
    given = {"eps_255": [8, 4], "eps_l2": [0.3], "images": None, "checks": 0, **settings}
    return Attacks(names, KINDS, **given)


def asked(suite: Attacks, model: nn.Module, batch_size: int = 16) -> dict[Condition, Attacked]:
    """What the front door does with it."""
    found = {}
    for condition in suite.conditions(Blobs()):
        source = suite.source(Blobs(), condition, CPU, batch_size)
        found[condition] = suite.observe(model, source, condition, "fp32")
        assert len(found[condition].label) == source.n
    return found


def values(suite: Attacks, outcomes: dict[Condition, Attacked]) -> dict[tuple[str | None, float | None, str], float]:
    return {(m.condition.attack, m.condition.eps, m.metric): m.estimate.value for m in suite.measure(outcomes)}


def test_rows_worst_case_and_remarks() -> None:
    suite = made(["fgsm", "pgd", "high", "pgd_l2"], stretch=15)
    outcomes = asked(suite, trained())
    found = values(suite, outcomes)
    assert [one.key for one in outcomes][:5] == [
        "blobs",
        *(f"blobs-fgsm_4_255-{part}" for part in range(3)),
        "blobs-fgsm_8_255-0",
    ]
    assert len({one.key for one in outcomes}) == len(outcomes)
    clean = outcomes[Condition("blobs")].wrong
    assert found[None, None, "error"] == clean.mean() > 0

    def under(name: str) -> torch.Tensor:
        return torch.cat([each.wrong for one, each in outcomes.items() if one.corruption == name])

    for name, label, eps in (("fgsm", "4_255", 4 / 255), ("pgd", "8_255", 8 / 255), ("pgd_l2", "0.3", 0.3)):
        wrong = under(f"{name}_{label}")
        assert (wrong >= clean).all()
        assert found[name, eps, "error"] == pytest.approx(float(wrong.mean()))
    worst = torch.stack([under(f"{name}_8_255") for name in ("fgsm", "pgd", "high")]).amax(0)
    assert found["linf", 8 / 255, "worst_case"] == pytest.approx(float(worst.mean()))
    assert found["l2", 0.3, "worst_case"] == found["pgd_l2", 0.3, "error"]
    assert found["pgd", 8 / 255, "error"] > found["pgd", 4 / 255, "error"] > found[None, None, "error"]
    assert 0 < found["high", 8 / 255, "outside_band"] < 0.1
    assert {metric for _, _, metric in found} == set(suite.definitions)
    said = "\n".join(suite.remarks())
    assert "pgd: PGD(norm='linf', steps=8," in said
    assert "40 images, all; eps in [0,1] pixels" in said
    assert suite.files(outcomes, "someone")["attacks.png"].startswith(b"\x89PNG")


def test_wrong_images_are_left_alone_and_sizes_are_kept() -> None:
    suite = made(["pgd", "pgd_l2"], eps_255=[8], images=20)
    outcomes = asked(suite, trained())
    for condition, found in outcomes.items():
        assert len(found.label) == 20
        assert (found.linf[~found.right] == 0).all()
        assert torch.equal(found.right, outcomes[Condition("blobs")].wrong == 0)
        if condition.eps is not None:
            size = found.linf if "l2" not in str(condition.corruption) else found.l2
            assert size.max() == pytest.approx(condition.eps, abs=1e-5)


def test_a_stretch_is_measured_alone_as_among_the_others() -> None:
    suite = made(["pgd"], eps_255=[8], stretch=15)
    outcomes = asked(suite, trained())
    later = made(["pgd"], eps_255=[8], stretch=15)
    condition = later.conditions(Blobs())[2]
    source = later.source(Blobs(), condition, CPU, 16)
    again = later.observe(trained(), source, condition, "fp32")
    assert all(torch.equal(one, other) for one, other in zip(again, outcomes[condition], strict=True))
    assert source.n == 15


def test_every_setting_that_changes_an_attack_changes_what_is_reused() -> None:
    def identities(names: list[str], **settings: Any) -> set[str]:
        suite = made(names, **{"eps_255": [8], "stretch": 40, **settings})
        return {suite.source(Blobs(), one, CPU, 8).identity for one in suite.conditions(Blobs())[1:]}

    (usual,) = identities(["pgd"])
    assert usual in identities(["fgsm", "pgd"], eps_255=[4, 8])
    for settings in ({"eps_255": [4]}, {"seed": 1}, {"stretch": 20}, {"images": 30}):
        assert usual not in identities(["pgd"], **settings)
    assert not identities(["pgd"]) & identities(["fgsm"])
    assert len(identities(["pgd"], stretch=10)) == 4


def test_spectra_are_those_of_the_images_that_an_attack_broke() -> None:
    """The definition by hand, over all images at once; the stretches of the suite are pooled to the same."""
    suite = made(["fgsm", "pgd"], eps_255=[8], stretch=15)
    outcomes = asked(suite, trained())
    found = values(suite, outcomes)
    files = suite.files(outcomes, "someone")
    assert files["spectra.png"].startswith(b"\x89PNG")
    arrays = files["spectra.npz"]
    assert arrays["attack"].tolist() == ["fgsm", "pgd"]
    assert arrays["eps"].tolist() == [8 / 255, 8 / 255]
    images = next(Blobs().split("test").batches(40)).images
    labels = next(Blobs().split("test").batches(40)).labels
    adversarial = FGSM(8 / 255)(trained(), images, labels, torch.Generator())
    with torch.no_grad():
        before, under = (trained()(one).argmax(1) == labels for one in (images, adversarial))
    broken = before & ~under
    assert 5 < int(broken.sum()) < int(before.sum()) == 40 - int(outcomes[Condition("blobs")].wrong.sum())
    plane = torch.fft.fft2((adversarial - images)[broken].double(), norm="ortho").abs()
    centred = torch.fft.fftshift(plane.mean((0, 1))).numpy()
    np.testing.assert_allclose(arrays["amplitude"][0], centred, rtol=1e-5)
    energy = plane.square().sum(1)
    u = torch.fft.fftfreq(12, 1 / 12).round().abs()
    square = (u[:, None] >= 1) & (u >= 1)  # the square of 10 coefficients a side, 27/32 of 12 rounded to what fits
    shares = (energy * square).sum((1, 2)) / energy.sum((1, 2))
    assert found["fgsm", 8 / 255, "hf_fraction"] == pytest.approx(float(shares.mean()), abs=1e-6)
    assert arrays["hf_fraction"][0] == found["fgsm", 8 / 255, "hf_fraction"]
    assert arrays["n"][0] == int(broken.sum())


def test_no_spectrum_where_nothing_was_broken() -> None:
    suite = made(["pgd", "pgd_l2"], eps_255=[0], eps_l2=[0.3])
    outcomes = asked(suite, trained())
    assert ("pgd", 0.0, "hf_fraction") not in values(suite, outcomes)
    assert "no image was broken, so no spectrum: pgd 0/255" in suite.remarks()
    assert suite.files(outcomes, "someone")["spectra.npz"]["attack"].tolist() == ["pgd_l2"]
    nothing = made(["pgd"], eps_255=[0])
    outcomes = asked(nothing, trained())
    nothing.measure(outcomes)
    assert set(nothing.files(outcomes, "someone")) == {"attacks.png"}


def test_in_bf16() -> None:
    suite = made(["fgsm", "pgd", "high"], eps_255=[8], images=20)
    for condition in suite.conditions(Blobs()):
        found = suite.observe(trained(), suite.source(Blobs(), condition, CPU, 16), condition, "bf16")
        assert found.confidence.dtype == torch.float32
        assert found.linf.max() <= 8 / 255 + 1e-6


class Grey(nn.Module):
    """Rounds the pixels, so that the gradient is 0 everywhere."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return trained()(images + ((255 * images).round() / 255 - images).detach() - images + images.detach())


def test_a_masked_gradient_is_noticed_and_a_plain_one_is_not() -> None:
    plain = made(["pgd"], checks=40)
    plain.measure(asked(plain, trained(), 40))
    assert not [said for said in plain.remarks() if "WARNING" in said]
    assert "checked for gradient masking on 40 images: accuracy at eps 0.5; more steps" in plain.remarks()[-1]
    masked = made(["pgd"], checks=40)
    masked.measure(asked(masked, Grey(), 40))
    warnings = "\n".join(said for said in masked.remarks() if said.startswith("WARNING"))
    assert "is left at eps 0.5" in warnings
    assert "the gradient is exactly 0 for" in warnings
    assert "not checked for gradient masking" in _remarks(made(["pgd"]))


def _remarks(suite: Attacks) -> list[str]:
    suite.measure(asked(suite, trained()))
    return suite.remarks()


def test_each_check_has_its_warning() -> None:
    none, every = torch.zeros(50, dtype=torch.float64), torch.ones(50, dtype=torch.float64)
    half = (torch.arange(50) % 2).double()
    good = Checked(every, half, none, none, none, none.bool(), "0.5", "8/255", 20)
    assert len(judged(good)) == 1
    for change, said in (
        ({"far": half}, "accuracy 0.500 is left at eps 0.5"),
        ({"few": every}, "10 steps break more images than 20: error 1.000 against 0.500"),
        ({"one": every}, "one step break more images than 20"),
        ({"transfer": every}, "a transfer attack beats the white-box one: error 1.000 against 0.500"),
        ({"still": half.bool()}, "the gradient is exactly 0 for 0.500 of the images"),
    ):
        (_, warning) = judged(good._replace(**change))
        assert warning.startswith("WARNING: ")
        assert said in warning
    one_image = half.clone()
    one_image[0] = 1
    assert len(judged(good._replace(few=one_image))) == 1  # within chance


class Cheat:
    """Leaves its ball."""

    norm = "linf"

    def __init__(self, eps: float) -> None:
        self.eps = eps

    def __call__(self, model: nn.Module, images: torch.Tensor, *_: Any) -> torch.Tensor:
        return (images + 2 * self.eps).clamp(0, 1)


def test_refused_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for names, settings, said in (
        (["pgdd"], {}, "suite.attacks: 'pgdd' must be one of fgsm, pgd"),
        ([], {}, "at least one"),
        (["pgd", "pgd"], {}, "each once"),
        (["pgd"], {"eps_255": [-1]}, r"suite.eps_255: -1 is no size"),
        (["pgd"], {"eps_255": ["8/255"]}, r"suite.eps_255: '8/255' is no size"),
        (["pgd_l2"], {"eps_l2": [float("nan")]}, "suite.eps_l2: nan is no size"),
        (["pgd_l2"], {"eps_l2": []}, "suite.eps_l2 is empty, but pgd_l2 needs it"),
        (["pgd"], {"images": 0}, "suite.images=0 must be at least 1"),
        (["pgd"], {"stretch": 0}, "suite.stretch=0"),
        (["pgd"], {"checks": -1}, "suite.checks=-1"),
    ):
        with pytest.raises(ValueError, match=said):
            made(names, **settings)
    many = made(["pgd"], images=41)
    with pytest.raises(UserError, match=r"suite\.images=41: the test split has 40"):
        many.source(Blobs(), many.conditions(Blobs())[0], CPU, 8)
    empty = Attacks(["band"], {"band": partial(BandPGD, band=[9, 9])}, [8], [])
    with pytest.raises(UserError, match="band 9 to 9 is empty"):
        empty.conditions(Blobs())
    cheat = Attacks(["cheat"], {"cheat": Cheat}, [8], [], images=8, checks=0)
    with pytest.raises(UserError, match="left its bounds"):
        asked(cheat, trained())
    with pytest.raises(UserError, match=r"the model does not take images of \(3, 12, 12\)"):
        asked(made(["pgd"]), nn.Sequential(nn.Flatten(), nn.Linear(7, 6)))
    monkeypatch.setitem(sys.modules, "pyautoattack", None)
    with pytest.raises(UserError, match=r"autoattack needs pyautoattack: pip install 'fourier-robust\[attacks\]'"):
        made(["pgd", "autoattack"])


def test_every_attack_of_the_yaml_works(tmp_path: Path) -> None:
    config, _ = compose_config("eval", "ckpt=x", "suite=attacks", f"paths.data_dir={tmp_path}")
    names = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "attack").glob("*.yaml"))
    assert names == sorted(config["suite"]["kinds"])
    kinds = build(config, "suite")._attacks.keys() | {"transfer"}
    settings = {"attacks": sorted(kinds), "eps_255": [4], "eps_l2": [0.3], "images": 8, "checks": 0}
    config["suite"] |= settings
    for name in kinds & {"apgd_ce", "apgd_t"}:
        config["suite"]["kinds"][name]["steps"] = 5
    suite = build(config, "suite")
    found = values(suite, asked(suite, trained()))
    assert {name for name, _, metric in found if metric == "error"} == {None, *kinds}

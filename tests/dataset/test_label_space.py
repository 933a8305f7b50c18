"""Label spaces: the published class lists, the two label rules by hand, and what cannot be matched."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from fourier_robust.dataset.imagefolder import ImageFolder
from fourier_robust.dataset.imagenet import _WNIDS_SHA256, ImageNet
from fourier_robust.dataset.label_space import by_groups, by_name, model_classes, need_wnids
from fourier_robust.dataset.wnids import IMAGENET_A, IMAGENET_R, WNIDS, are_wnids
from fourier_robust.errors import UserError

MODEL = ("ant", "bee", "cat", "dog", "eel")


def test_the_published_lists() -> None:
    """SHA-256 of the comma-joined indices as the authors' code, robustness_metrics and timm all have them."""
    assert hashlib.sha256("\n".join(WNIDS).encode()).hexdigest() == _WNIDS_SHA256
    for wnids, total, digest in (
        (IMAGENET_A, 102178, "973e8c3e530bf5dbd49999d046e74084ba5184ab98036b42b111d8dcdecf1015"),
        (IMAGENET_R, 86135, "a1d9a9ace3098120f5db861d97049116efe80683f4e48c65a62f9bd30fc3366a"),
    ):
        indices = [WNIDS.index(wnid) for wnid in wnids]
        assert sum(indices) == total
        assert hashlib.sha256(",".join(map(str, indices)).encode()).hexdigest() == digest
    assert (len(set(IMAGENET_A) & set(IMAGENET_R)), len(set(IMAGENET_A) | set(IMAGENET_R))) == (86, 314)


def test_a_subset_by_both_rules() -> None:
    space = by_name(MODEL, ("dog", "bee"))
    assert space.columns.tolist() == [-1, 1, -1, 0, -1]
    logits = torch.tensor([[0.0, 1, 9, 2, 0], [0, 3, 0, 2, 0], [0, -5, -4, -6, -3]])
    assert space.over_all(logits.argmax(1)).tolist() == [-1, 1, -1]  # cat, bee, eel
    assert space.masked(logits).tolist() == [0, 1, 1]  # dog, bee, bee
    assert not space.whole
    assert (space.lacking, space.places.tolist()) == (0, [0, 1])


def test_all_classes_in_another_order() -> None:
    space = by_name(MODEL, MODEL[::-1])
    logits = torch.eye(5)
    assert space.whole
    assert space.masked(logits).tolist() == space.over_all(logits.argmax(1)).tolist() == [4, 3, 2, 1, 0]


def test_many_to_one_is_the_argmax_of_maxima(generator: torch.Generator) -> None:
    groups = {"insect": ("ant", "bee"), "fish": ("eel",), "pet": ("cat",)}
    space = by_groups(MODEL, groups)
    assert space.columns.tolist() == [0, 0, 2, -1, 1]
    logits = torch.randn(500, 5, generator=generator)
    maxima = torch.stack([logits[:, [0, 1]].max(1).values, logits[:, 4], logits[:, 2]], 1)
    assert torch.equal(space.masked(logits), maxima.argmax(1))
    over_all = space.over_all(logits.argmax(1))
    assert torch.equal(over_all < 0, logits.argmax(1) == 3)
    agree = over_all >= 0
    assert torch.equal(over_all[agree], space.masked(logits)[agree])


def test_partial_leaves_out_what_the_model_lacks() -> None:
    space = by_name(MODEL, ("cow", "eel", "ant", "fox"), partial=True)
    assert space.names == ("eel", "ant")
    assert space.places.tolist() == [-1, 0, 1, -1]
    assert space.lacking == 2
    assert space.columns.tolist() == [1, -1, -1, -1, 0]
    kept = by_groups(MODEL, {"insect": ("ant", "wasp"), "pet": ("cat", "dog")}, partial=True)
    assert kept.columns.tolist() == [0, -1, 1, 1, -1]


@pytest.mark.parametrize(
    ("model", "groups", "partial", "reason"),
    [
        (MODEL, {"ant": ("ant",), "cow": ("cow",)}, False, "1 of the set's 2 classes are none of the model's 5: cow"),
        (MODEL, {"cow": ("cow",), "fox": ("fox",)}, True, "2 of the set's 2 classes are none"),
        (MODEL, {"ant": ("ant",), "cow": ("cow",)}, True, "1 of the set's 2 classes are none"),
        (MODEL, {"ant": ("ant",)}, False, "shares 1 of the model's 5 classes"),
        (MODEL, {"one": ("ant", "bee"), "two": ("bee", "cat")}, False, "bee twice"),
        ((*MODEL, "ant"), {"ant": ("ant",), "bee": ("bee",)}, False, "the model names class ant twice"),
    ],
)
def test_what_cannot_be_matched_is_refused(model, groups, partial, reason) -> None:
    with pytest.raises(UserError, match=reason):
        by_groups(model, groups, partial)


def test_a_name_twice_is_refused() -> None:
    with pytest.raises(UserError, match="the set names class ant twice"):
        by_name(MODEL, ("ant", "bee", "ant"))


def test_identity_tells_spaces_apart() -> None:
    same = by_name(MODEL, ("ant", "bee")).identity
    assert same == by_name(MODEL, ("ant", "bee")).identity
    assert same != by_name(MODEL, ("bee", "ant")).identity
    assert same != by_name(MODEL, ("ant", "cow", "bee"), partial=True).identity


def test_imagenets_classes_are_known_without_its_files(tmp_path: Path) -> None:
    assert model_classes(ImageNet(str(tmp_path))) == WNIDS
    with pytest.raises(UserError, match="not found"):
        model_classes(ImageFolder(str(tmp_path), num_classes=1000))


def test_wnids() -> None:
    assert are_wnids(WNIDS)
    assert not are_wnids(())
    assert not are_wnids(("n01440764", "n144"))
    need_wnids(WNIDS[:2], "x")
    with pytest.raises(UserError, match=r"x has classes by wnid.*airplane"):
        need_wnids(("airplane",), "x")

"""ObjectNet in tiny: the map along its own files, the frame cut off, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from dataset.shift_layouts import Known, tree
from PIL import Image

from fourier_robust.dataset.crops import CentreCrop
from fourier_robust.dataset.imagenet import ImageNet
from fourier_robust.dataset.shift_objectnet import ObjectNet, objectnet_groups
from fourier_robust.dataset.shifted import WHOLE
from fourier_robust.dataset.wnids import WNIDS
from fourier_robust.errors import UserError

GROUPS = sorted(map(sorted, objectnet_groups()))
FOLDERS = [f"thing_{number:03d}" for number in range(313)]


def line_of(index: int) -> int:
    """The numbering of the release's list of names, another than ImageNet's."""
    return (index * 7 + 3) % 1000


@pytest.fixture
def release(tmp_path: Path) -> Path:
    """313 folders of one image; every second of the first 226 is a shared class, in reverse order of the groups."""
    root = tmp_path / "objectnet-1.0"
    tree(root / "images", FOLDERS)
    titles = {folder: folder.replace("_", " ").title() for folder in FOLDERS}
    label = {index: f"name {index}, other name" for index in range(1000)}
    shared = {titles[FOLDERS[2 * place]]: group for place, group in enumerate(reversed(GROUPS))}
    lines = {line_of(index): label[index] for index in range(1000)}
    write(root, "folder_to_objectnet_label.json", json.dumps(titles))
    write(
        root, "objectnet_to_imagenet_1k.json", json.dumps({k: "; ".join(map(label.get, v)) for k, v in shared.items()})
    )
    write(root, "pytorch_to_imagenet_2012_id.json", json.dumps({str(index): line_of(index) for index in range(1000)}))
    write(root, "imagenet_to_label_2012_v2", "\n".join(lines[number] for number in range(1000)) + "\n")
    return tmp_path


def write(root: Path, name: str, text: str) -> None:
    (root / "mappings").mkdir(exist_ok=True)
    (root / "mappings" / name).write_text(text)


def read(root: Path, **settings: int) -> ObjectNet:
    return ObjectNet(str(root), num_workers=0, **settings)


def imagenet(root: Path) -> ImageNet:
    return ImageNet(str(root / "none"))


def test_the_known_groups() -> None:
    assert len(GROUPS) == 113
    assert sum(map(len, GROUPS)) == len({index for group in GROUPS for index in group}) == 125
    assert sorted(len(group) for group in GROUPS)[-9:] == [2] * 6 + [3] * 3


def test_labels_follow_the_map(release: Path) -> None:
    reader = read(release)
    checked = reader.check(imagenet(release))
    assert checked.expected == 18574
    space = checked.space
    assert space is not None
    for place, group in enumerate(reversed(GROUPS)):
        assert (space.columns == place).nonzero()[:, 0].tolist() == group
    assert int((space.columns >= 0).sum()) == 125
    split = reader.split(imagenet(release), WHOLE[0], CentreCrop(20, 20), "cpu")
    assert split.labels.tolist() == list(range(113))
    paths = [bytes(path).decode() for path in reader._listed[0].paths]
    assert paths == [f"{FOLDERS[2 * place]}/0.png" for place in range(113)]


def test_a_model_of_some_of_the_classes(release: Path) -> None:
    checked = read(release).check(Known([WNIDS[409], WNIDS[0], WNIDS[530], WNIDS[412]]))
    assert checked.space is not None
    assert checked.space.columns.tolist() == [1, -1, 1, 0]  # alarm clock twice; groups stand in reverse
    assert "images of 111 of its 113 classes left out" in checked.remarks[0]


def test_the_frame_is_cut_off(release: Path) -> None:
    pixels = np.full((30, 40, 3), (255, 0, 0), np.uint8)
    pixels[2:-2, 2:-2] = (10, 20, 30)
    path = release / "objectnet-1.0" / "images" / FOLDERS[0] / "0.png"
    path.unlink()  # the file is shared by all folders
    Image.fromarray(pixels).save(path)
    framed = {border: read(release, border=border) for border in (0, 2)}
    for reader in framed.values():
        reader.check(imagenet(release))
    crop, first = CentreCrop(26, 26), torch.tensor([0])
    splits = [reader.split(imagenet(release), WHOLE[0], crop, "cpu") for reader in framed.values()]
    assert splits[0].identity != splits[1].identity
    seen = {
        border: next(reader.split(imagenet(release), WHOLE[0], crop, "cpu").batches(1, first)).images
        for border, reader in framed.items()
    }
    assert torch.equal(seen[2], (torch.tensor([10, 20, 30]) / 255).view(1, 3, 1, 1).expand(1, 3, 26, 26))
    assert seen[0][:, 0].max() > 0.5
    with pytest.raises(UserError, match="32x32 pixels, of which 16 per side are cut off"):
        next(read(release, border=16).split(imagenet(release), WHOLE[0], crop, "cpu").batches(2, torch.tensor([5])))
    with pytest.raises(ValueError, match="border=-1"):
        read(release, border=-1)


def test_wrong_releases_are_refused(release: Path) -> None:
    root = release / "objectnet-1.0"

    def refused(reason: str) -> None:
        with pytest.raises(UserError, match=reason) as error:
            read(release).check(imagenet(release))
        assert "\n" not in str(error.value)

    names = json.loads((root / "mappings" / "objectnet_to_imagenet_1k.json").read_text())
    first = next(iter(names))
    write(root, "objectnet_to_imagenet_1k.json", json.dumps({**names, first: "name 0, other name"}))
    refused("does not give the known 113 classes over 125")
    write(root, "objectnet_to_imagenet_1k.json", json.dumps({**names, first: "no such name"}))
    refused("no index for 'no such name'")
    write(root, "objectnet_to_imagenet_1k.json", "{")
    refused("not found or unreadable")
    write(root, "objectnet_to_imagenet_1k.json", "[]")
    refused("holds no mapping")
    write(root, "objectnet_to_imagenet_1k.json", json.dumps(names))
    titles = json.loads((root / "mappings" / "folder_to_objectnet_label.json").read_text())
    write(root, "folder_to_objectnet_label.json", json.dumps({k: v for k, v in titles.items() if k != FOLDERS[4]}))
    refused(f"a folder {FOLDERS[4]}, which .* does not name")
    write(root, "folder_to_objectnet_label.json", json.dumps({**titles, FOLDERS[0]: "Other"}))
    refused("one folder for each of the 113 shared classes")
    write(root, "folder_to_objectnet_label.json", json.dumps(titles))
    (root / "mappings" / "imagenet_to_label_2012_v2").unlink()
    refused("imagenet_to_label_2012_v2 not found")
    tree(root / "images", ["thing_313"])
    refused("holds 314 class folders, not the 313 of ObjectNet")


def test_absent_and_other_classes(release: Path) -> None:
    assert "objectnet-1.0.zip" in str(read(release / "elsewhere").absent())
    assert read(release).absent() is None
    with pytest.raises(UserError, match="classes by wnid"):
        read(release).check(Known(["chair", "tie"]))

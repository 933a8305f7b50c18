"""What the class folders of SI-Score are to a model, and to the lines of the metadata."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from fourier_robust.dataset.locate import text_of
from fourier_robust.dataset.wnids import WNIDS, are_wnids
from fourier_robust.errors import UserError

# The places of the release's 61 classes among ImageNet-1k's (its foreground_classes.csv).
_CLASSES = """
ambulance:407 artichoke:944 backpack:414 bagel:931 banana:954 beaker:438 binoculars:447 broccoli:937 burrito:965
candle:470 canoe:472 cello:486 cucumber:943 dumbbell:543 envelope:549 flowerpot:738 flute:558 goose:99 guacamole:924
hamster:333 hedgehog:334 hippopotamus:344 ipod:605 jeans:608 kite:21 koala:105 lemon:951 lighthouse:437
limousine:627 lipstick:629 magpie:18 miniskirt:655 missile:657 mushroom:947 orange:950 ostrich:9 otter:360 pig:341
pillow:721 pizza:963 pomegranate:957 pretzel:932 printer:742 racket:752 ruler:769 saxophone:776 screwdriver:784
skunk:361 snowmobile:802 sock:806 sombrero:808 starfish:327 strawberry:949 taxi:468 teapot:849 toaster:859 torch:862
vase:883 wok:909 zebra:340 zucchini:939
"""
_KINDS = "foreground_classes_metadata_indices.csv"
IMAGENET_INDEX = {name: int(place) for name, place in (pair.split(":") for pair in _CLASSES.split())}


def label_map(classes: Sequence[str], table: Path | None = None) -> Mapping[str, int]:
    """Class string -> the model's class index: by the model's own names, by wnid, or by a `table`.

    The release's classes are ImageNet's, so they meet a model's by wnid and never by number: a model of 1000 other
    classes has none of them, one of a part of ImageNet has those of its wnids. A table with the release's numbers says
    the same of more class strings; any other one counts the model's classes.

    Args:
        classes: of the model.
        table: ``foreground_classes.csv``, header ``int,label``.

    Returns:
        The map; -1 for a class of ImageNet that a model with classes by wnid lacks.

    Raises:
        UserError: the table is none, points beyond the classes, or contradicts the names or ImageNet's order (which
            ``foreground_classes_metadata_indices.csv`` does: it counts the release's classes from 0).
    """
    own = {name: place for place, name in enumerate(classes)}
    known = {**_by_wnid(own, IMAGENET_INDEX), **own}
    if table is None or not table.is_file():
        return known
    found = class_table(table)
    theirs = {name: place for name, place in found.items() if name in IMAGENET_INDEX}
    if theirs and all(IMAGENET_INDEX[name] == place for name, place in theirs.items()):
        _in_range(table, found, len(WNIDS), "ImageNet")
        return {**_by_wnid(own, found), **own}
    _in_range(table, found, len(classes), "the model")
    for name, place in found.items():
        if known.get(name, place) != place:
            whose = f"{own[name]}" if name in own else f"{IMAGENET_INDEX[name]} of ImageNet"
            raise UserError(f"{table}: {name} is class {whose}, not {place}: another class table")
    return found


def class_table(path: Path) -> dict[str, int]:
    """Class string -> number, of a table with the header ``int,label``.

    Raises:
        UserError: it is no such table.
    """
    try:
        lines = list(csv.reader(io.StringIO(text_of(path))))
        if lines[0] != ["int", "label"]:
            raise ValueError
        return {name: int(place) for place, name in lines[1:]}
    except (ValueError, IndexError, csv.Error):
        raise UserError(f"{path} is no table of classes: its first line is not int,label, or a number fails") from None


def check_folders(folder: Path, metadata: Path, places: Sequence[tuple[str, str]]) -> None:
    """Refuse images in another folder than that of their class: each folder is one class, and each class one folder.

    Which is whose says ``foreground_classes_metadata_indices.csv``, where it lies near; else most of a class's images.

    Args:
        folder: of a factor.
        metadata: of it.
        places: of each image its path below `folder`, and the foreground_class of its line in `metadata`.

    Raises:
        UserError: names an image, and where it should be.
    """
    near = (place / _KINDS for place in (folder, folder.parent, *metadata.parents[:2]))
    table = next((path for path in near if path.is_file()), None)
    homes = {} if table is None else {str(number): name for name, number in class_table(table).items()}
    numbers: dict[str, str] = {}
    for (name, number), _ in Counter((path.split("/")[0], number) for path, number in places).most_common():
        homes.setdefault(number, name)
    for path, number in places:
        name = path.split("/")[0]
        if homes[number] != name:
            raise UserError(f"{folder / path} should lie in {homes[number]}/, by its foreground_class in {metadata}")
        if numbers.setdefault(name, number) != number:
            both = f"foreground_class {numbers[name]} and {number}"
            raise UserError(f"{folder / name} holds images of two classes ({both} in {metadata}), e.g. {path}")


def _by_wnid(own: Mapping[str, int], numbers: Mapping[str, int]) -> dict[str, int]:
    """Class string -> the model's class of ImageNet's class number; -1 for one that is not among the model's wnids."""
    if not are_wnids(own):
        return {}
    return {name: own.get(WNIDS[number], -1) for name, number in numbers.items()}


def _in_range(table: Path, found: Mapping[str, int], count: int, whose: str) -> None:
    for name, place in found.items():
        if not 0 <= place < count:
            raise UserError(f"{table}: {name} is class {place}, {whose} has 0 to {count - 1}")

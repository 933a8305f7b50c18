"""What the class folders of SI-Score are to a model."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

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
IMAGENET_INDEX = {name: int(place) for name, place in (pair.split(":") for pair in _CLASSES.split())}


def label_map(classes: Sequence[str], table: Path | None = None) -> Mapping[str, int]:
    """Class string -> the model's class index: a `table` if there is one, else the model's own names, else ImageNet's.

    Args:
        classes: of the model.
        table: ``foreground_classes.csv``, header ``int,label``.

    Raises:
        UserError: the table is none, points beyond the classes, or counts the release's classes from 0 (which is what
            ``foreground_classes_metadata_indices.csv`` does).
    """
    imagenet = IMAGENET_INDEX if len(classes) == 1000 else {}
    if table is None or not table.is_file():
        return {**imagenet, **{name: place for place, name in enumerate(classes)}}
    with open(table, newline="") as file:
        lines = list(csv.reader(file))
    try:
        if lines[0] != ["int", "label"]:
            raise ValueError
        found = {name: int(place) for place, name in lines[1:]}
    except (ValueError, IndexError):
        raise UserError(f"{table} is no table of classes: its first line is not int,label, or a number fails") from None
    for name, place in found.items():
        if not 0 <= place < len(classes):
            raise UserError(f"{table}: {name} is class {place}, the model has 0 to {len(classes) - 1}")
        if imagenet.get(name, place) != place:
            raise UserError(f"{table}: {name} is class {imagenet[name]} of ImageNet, not {place}: another class table")
    return found

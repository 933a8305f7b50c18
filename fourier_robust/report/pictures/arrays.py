"""Arrays that suites leave beside their rows; a file that can't be read is said, and the rest goes on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fourier_robust.errors import DAMAGED_ARRAYS
from fourier_robust.report.collect import Receipt
from fourier_robust.report.pictures.series import Material


def arrays_of(material: Material, receipt: Receipt, name: str, keys: Mapping[str, int]) -> dict[str, np.ndarray] | None:
    """The arrays `keys` (name -> axes) of an ``.npz`` beside the rows, or None where the file is absent or damaged.

    No pickle is read. What is damaged gets a line in `material.skipped`, once.
    """
    path = receipt.folder / name
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found = {key: file[key] for key in keys}
        for key, axes in keys.items():
            if found[key].ndim != axes or found[key].dtype.kind not in "biufU":
                raise ValueError(f"{key} has the wrong form")
        return found
    except DAMAGED_ARRAYS as error:
        why = (str(error).splitlines() or [type(error).__name__])[0].replace(str(path), name)
        said = f"{receipt.run.shown}/{receipt.folder.name}: {name} is damaged ({why}); not drawn"
        if said not in material.skipped:
            material.skipped.append(said)
        return None

"""The names that pictures use, and what stands behind each."""

from __future__ import annotations

from fourier_robust.report.pictures.series import Material
from fourier_robust.report.section import Numbers, Section


def sections(material: Material) -> list[Section]:
    """One section: every method with its settings and runs; none without methods."""
    if not material.methods:
        return []
    rows = []
    for method in material.methods:
        runs = sorted(run.shown for same in method.runs.values() for run in same)
        more = f" and {len(runs) - 3} more" if len(runs) > 3 else ""
        rows.append(
            (
                material.looks[method].name,
                method.train_dataset,
                method.arch,
                method.aug,
                method.reg,
                method.variant,
                str(len(method.runs)),
                ", ".join(runs[:3]) + more,
            )
        )
    columns = ("name in pictures", "trained on", "arch", "aug", "reg", "settings that differ", "seeds", "runs")
    said = (
        "A method has the same name and colour in every picture below. Methods of one name differ in their settings "
        "and are numbered."
    )
    return [Section("methods", "Methods in the pictures", [said], table=Numbers(columns, rows))]

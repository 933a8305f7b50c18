"""Draw measured Fourier-sensitivity profiles beside the published curves.

    python scripts/profiles_picture.py OUT RUN [RUN...] [--dataset cifar10]

A RUN is a folder in which `fr-eval suite=sensitivity` left sensitivity/results.csv (a run folder's ``eval``, or one of
outputs/reference). Writes OUT/profiles.csv, one line per regularizer and k with published and measured share, and
OUT/profiles.png, a panel per regularizer. The published curves, fourier_robust/report/papers/fourier_sensitivity.csv,
are read off the figure in the authors' repository (ResNet-50); they are of other networks than those measured here.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pandas as pd

from fourier_robust.fourier.profile import white_shares
from fourier_robust.report.figure import png
from fourier_robust.run.atomic import write_bytes, write_text

PUBLISHED = Path(__file__).parents[1] / "fourier_robust" / "report" / "papers" / "fourier_sensitivity.csv"
ORDER = ["none", "lsf", "msf", "asf", "hsf"]
SIZE = 32


def measured(folder: Path) -> pd.DataFrame:
    """Columns name, run, dataset, arch, aug, reg, n, k, value, of one evaluation; its name is that of the folder."""
    path = folder / "sensitivity" / "results.csv"
    if not path.exists():
        sys.exit(f"error: no {path}: run fr-eval ckpt=... suite=sensitivity first")
    found = rings(pd.read_csv(path))
    name = folder.resolve().parent.name if folder.name == "eval" else folder.name
    return found.assign(name=name)[["name", "run", "dataset", "arch", "aug", "reg", "n", "k", "value"]]


def rings(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows of metric p(k), with a column k."""
    found = rows.assign(k=rows.metric.str.extract(r"^p\((\d+)\)$")[0].astype("Int64")).dropna(subset=["k"])
    return found.astype({"k": int})


def compared(published: pd.DataFrame, runs: list[pd.DataFrame], dataset: str) -> pd.DataFrame:
    """One line per run and k: what was measured, what was published for its regularizer, and white noise."""
    curves = published[published.dataset == dataset]
    table = pd.concat(runs).query("dataset == @dataset").rename(columns={"value": "measured"})
    if table.empty:
        sys.exit(f"error: none of the runs was measured on {dataset}")
    theirs = curves.rename(columns={"value": "published", "arch": "published_arch"})
    table = table.merge(theirs[["reg", "k", "published", "published_arch"]], on=["reg", "k"], how="left")
    white = {k: float(share) for k, share in enumerate(white_shares(SIZE, SIZE), start=1)}
    return table.assign(white_noise=table.k.map(white)).sort_values(["reg", "run", "k"], ignore_index=True)


def draw(table: pd.DataFrame, dataset: str) -> bytes:
    """A panel per regularizer: published, measured, white noise."""
    from matplotlib.figure import Figure

    regs = [reg for reg in ORDER if reg in set(table.reg)]
    figure = Figure(figsize=(4.2 * min(2, len(regs)), 2.9 * -(-len(regs) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(regs) // 2), min(2, len(regs)), squeeze=False).ravel()
    for spare in panels[len(regs) :]:
        spare.axis("off")
    for axes, reg in zip(panels, regs, strict=False):
        rows = table[table.reg == reg]
        first = rows[rows.run == rows.run.iloc[0]]
        axes.plot(first.k, first.white_noise, color="0.6", linestyle=":", linewidth=1.2, label="white noise")
        if first.published.notna().any():
            label = f"published ({first.published_arch.dropna().iloc[0]})"
            axes.plot(first.k, first.published, color="black", linestyle="--", linewidth=1.2, label=label)
        for number, (_, run) in enumerate(rows.groupby("run", sort=False)):
            label = f"{run['name'].iloc[0]}: measured ({run.arch.iloc[0]}, n = {run.n.iloc[0]})"
            axes.plot(run.k, run.measured, color=f"C{number}", marker="o", markersize=2.5, linewidth=1.4, label=label)
        for edge in (SIZE // 6 + 0.5, SIZE // 3 + 0.5):
            axes.axvline(edge, color="0.85", linewidth=0.8, zorder=0)
        axes.set_title({"none": "no regularizer"}.get(reg, reg), size=9, loc="left")
        axes.tick_params(labelsize=7)
        axes.set_ylim(0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(fontsize=6.5, frameon=False)
    figure.supxlabel("spatial frequency k (cycles per image)", size=8)
    figure.supylabel("share of power p(k)", size=8)
    figure.suptitle(f"Fourier sensitivity on {dataset}, published (read off a figure) and measured", size=9)
    return png(figure)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for profiles.csv and profiles.png")
    parser.add_argument("runs", type=Path, nargs="+", help="folders that hold sensitivity/results.csv")
    parser.add_argument("--dataset", default="cifar10")
    arguments = parser.parse_args()
    table = compared(rings(pd.read_csv(PUBLISHED)), [measured(folder) for folder in arguments.runs], arguments.dataset)
    write_text(arguments.out / "profiles.csv", table.to_csv(index=False, float_format="%.6f", lineterminator="\n"))
    write_bytes(arguments.out / "profiles.png", draw(table, arguments.dataset))
    print(f"wrote profiles.csv and profiles.png in {arguments.out}")


if __name__ == "__main__":
    main()

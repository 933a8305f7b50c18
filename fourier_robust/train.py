"""``fr-train``: read the config, build the parts, train, leave a run folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError
from fourier_robust.usage import asked_for, usage


def main() -> None:
    """Entry point of ``fr-train``."""
    if asked_for():
        print(usage("train"))
        return
    from fourier_robust.cli import launch

    launch("train", train)


def train(config: dict[str, Any], names: dict[str, str]) -> None:
    """One training run: resumes what an earlier launch left, reports what is already done.

    Args:
        config: resolved and checked.
        names: of dataset, arch, aug and reg, for the run folder and the rows.

    Raises:
        UserError: bad settings, missing data, another process in the folder, or a non-finite loss.
        Interrupted: a signal came; everything is saved.
    """
    from fourier_robust.cli import build, build_dataset, to_yaml
    from fourier_robust.run.folder import RunFolder

    folder = RunFolder.of(Path(config["paths"]["output_dir"]), names, config["seed"], config)
    if config["resume"] and folder.status() == "done":
        print(f"already done: {folder.path}")
        return

    from fourier_robust.arch.normalize import Normalized
    from fourier_robust.engine.interrupt import Interrupted
    from fourier_robust.run.seed import derive
    from fourier_robust.run.train_record import TrainRecord

    import torch  # isort: skip

    device = build(config, "device").prepare()
    trainer, aug, reg, optim = (build(config, key) for key in ("trainer", "aug", "reg", "optim"))
    dataset = build_dataset(config)
    classes = config["arch"]["num_classes"] or dataset.num_classes
    config["arch"]["num_classes"] = classes
    if classes != dataset.num_classes:
        raise UserError(f"arch.num_classes={classes}, but {dataset.name} has {dataset.num_classes} classes")
    torch.manual_seed(derive(config["seed"], "init"))
    model = Normalized(build(config, "arch"), dataset.mean, dataset.std).to(device)
    try:
        splits = dataset.split("train", device), dataset.split("val", device) if dataset.val_size else None
    except ValueError as error:  # e.g. more validation images than there are
        raise UserError(f"dataset: {error}") from error

    with folder.locked():
        record = TrainRecord(folder, config, to_yaml(config), names, dataset.class_names, resume=config["resume"])
        print(f"run {folder.path}\n    {len(splits[0])} training images, {_parameters(model):,} parameters, {device}")
        if record.step:
            print(f"    resuming at step {record.step}")
        record.begin(device, {"train": splits[0].identity, "val": splits[1].identity if splits[1] else None})
        started = time.perf_counter()
        try:
            history = trainer.fit(_job(model, splits, aug, reg, optim, config, device, record), record.state)
        except Interrupted:
            record.end("interrupted", time.perf_counter() - started)
            raise
        except BaseException as error:
            record.end("failed", time.perf_counter() - started, reason=f"{type(error).__name__}: {error}")
            raise
        record.end("done", time.perf_counter() - started, last=history[-1])
    print(f"done: {folder.checkpoint}")


def _parameters(model: Any) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _job(
    model: Any,
    splits: tuple[Any, Any],
    aug: Any,
    reg: Any,
    optim: Any,
    config: dict[str, Any],
    device: Any,
    record: Any,
) -> Any:
    from fourier_robust.engine.job import Job

    return Job(
        model=model,
        train=splits[0],
        val=splits[1],
        aug=aug,
        reg=reg,
        optim=optim,
        seed=config["seed"],
        device=device,
        channels_last=config["device"]["channels_last"],
        compiled=config["device"]["compiled"],
        save=record.save,
        record=record.write_history,
    )

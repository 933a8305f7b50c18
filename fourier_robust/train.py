"""``fr-train``: read the config, build the parts, train, leave a run folder."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError
from fourier_robust.run.sweep import Outcome
from fourier_robust.usage import asked_for, usage


def main() -> None:
    """Entry point of ``fr-train``."""
    if asked_for():
        print(usage("train"))
        return
    from fourier_robust.cli import launch

    launch("train", train)


def train(config: dict[str, Any], names: dict[str, str]) -> Outcome:
    """One training run: resumes what an earlier launch left, reports what is already done.

    A run that is done, but whose checkpoint is gone or damaged, goes on as one that was stopped does.

    Args:
        config: resolved and checked.
        names: of dataset, arch, aug and reg, for the run folder and the rows.

    Returns:
        Whether it was done, or had been done before, and where it lies.

    Raises:
        UserError: bad settings, missing data, another process in the folder, a non-finite loss, or another process of
            the run ended.
        Interrupted: a signal came; everything is saved.
    """
    from fourier_robust.cli import build
    from fourier_robust.run.folder import RunFolder
    from fourier_robust.run.seal import whole

    folder = RunFolder.of(Path(config["paths"]["output_dir"]), names, config["seed"], config)
    if config["resume"] and folder.status() == "done" and whole(folder.checkpoint):
        _check_data(config, folder)
        print(f"already done: {folder.path}")
        return Outcome("skipped", folder.path)

    from fourier_robust.engine.distributed import joined, launched

    processes = build(config, "device").processes
    if processes > 1 and launched()[1] == 1:
        from hydra.core.hydra_config import HydraConfig

        from fourier_robust.engine.team import start

        start("fourier_robust.train", HydraConfig.get().overrides.task, processes)
    else:
        device = build(config, "device").prepare()
        with joined(device) as team:
            _train(config, names, folder, device, team)
    return Outcome("done", folder.path)


def _train(config: dict[str, Any], names: dict[str, str], folder: Any, device: Any, team: Any) -> None:
    """In one of the processes of a run, or its only one."""
    from fourier_robust.arch.normalize import Normalized
    from fourier_robust.cli import build, build_dataset, to_yaml
    from fourier_robust.engine.distributed import Agreed
    from fourier_robust.engine.interrupt import Interrupted, Stopped, stop_on_signals
    from fourier_robust.run.provenance import provenance, restart_peak
    from fourier_robust.run.seed import derive
    from fourier_robust.run.train_record import TrainRecord

    import torch  # isort: skip

    code = provenance(device)  # of the start: the checkout may change while it trains
    restart_peak(device)
    trainer, aug, reg, optim = (build(config, key) for key in ("trainer", "aug", "reg", "optim"))
    dataset = build_dataset(config)
    classes = config["arch"]["num_classes"] or dataset.num_classes
    config["arch"]["num_classes"] = classes
    if classes != dataset.num_classes:
        raise UserError(f"arch.num_classes={classes}, but {dataset.name} has {dataset.num_classes} classes")
    torch.manual_seed(derive(config["seed"], "init"))
    model = Normalized(build(config, "arch"), dataset.mean, dataset.std).to(device)
    if config["device"]["sync_batch_norm"] and team.size > 1:
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)

    def read() -> tuple[Any, Any]:
        return _splits(dataset, device)

    splits = team.first_does(read) or read()  # one after the other: it may have to download
    text, resume = to_yaml(config), config["resume"]
    with contextlib.ExitStack() as stack:

        def take() -> TrainRecord:
            held = stack.enter_context(folder.claimed()).held
            stack.enter_context(folder.noting(held))
            return TrainRecord(folder, config, text, names, dataset.class_names, resume, held)

        record = team.first_does(take) or TrainRecord(folder, config, text, names, dataset.class_names, resume)
        if team.largest(record.step) != -team.largest(-record.step):
            raise Agreed(
                f"the processes see different checkpoints in {folder.path}: it must be on a shared file system"
            )
        for warning in record.warnings:
            print(f"    warning: {warning}")
        where = f"{device}, {team.size} processes" if team.size > 1 else device
        print(f"run {folder.path}\n    {len(splits[0])} training images, {_parameters(model):,} parameters, {where}")
        if record.step:
            print(f"    resuming at step {record.step}")
        job = _job(model, splits, aug, reg, optim, config, device, record, team)
        if not team.first:
            trainer.fit(job, record.state)
            return
        if team.size > 1:  # all are ended when one has failed; what follows is to be noted first
            stack.enter_context(stop_on_signals())
        steps = trainer.epochs * (len(splits[0]) // trainer.batch_size)
        images = {"train": len(splits[0]), "val": len(splits[1]) if splits[1] else 0}
        moved = record.supersede()
        if moved:
            print(f"    what was measured on the model that was here before is in {moved}")
        record.begin(_identities(splits), code, images=images, steps=steps, processes=_processes(config, team))
        started = time.perf_counter()
        try:
            history = trainer.fit(job, record.state)
        except (Interrupted, Stopped):
            record.end("preempted", time.perf_counter() - started, device)
            raise
        except BaseException as error:
            record.end("failed", time.perf_counter() - started, device, reason=f"{type(error).__name__}: {error}")
            raise
        record.end("done", time.perf_counter() - started, device, last=history[-1])
    print(f"done: {folder.checkpoint}")


def _identities(splits: tuple[Any, Any]) -> dict[str, str | None]:
    return {"train": splits[0].identity, "val": splits[1].identity if splits[1] else None}


def _splits(dataset: Any, device: Any) -> tuple[Any, Any]:
    """Training and validation images; None where nothing is held out."""
    try:
        return dataset.split("train", device), dataset.split("val", device) if dataset.val_size else None
    except ValueError as error:  # e.g. more validation images than there are
        raise UserError(f"dataset: {error}") from error


def _check_data(config: dict[str, Any], folder: Any) -> None:
    """Of a run that is done: whether it was trained on these images; they are looked at where another place is given.

    Raises:
        UserError: see `run.train_record.same_data`.
    """
    from omegaconf import OmegaConf

    path = folder.path / "config.yaml"
    stored = OmegaConf.to_container(OmegaConf.load(path)) if path.exists() else {}
    before = stored.get("dataset", {}) if isinstance(stored, dict) else {}
    if before.get("root") != config["dataset"].get("root"):
        from fourier_robust.cli import build_dataset
        from fourier_robust.run.train_record import same_data

        found = _identities(_splits(build_dataset(config), "cpu"))
        same_data(folder, found, folder.read_json("run.json").get("launches", []))


def _processes(config: dict[str, Any], team: Any) -> dict[str, Any]:
    """What the receipt of this launch says of its processes."""
    device = config["device"]
    return {
        "count": team.size,
        "backend": team.backend,
        "batch_per_process": config["trainer"]["batch_size"] // team.size,
        "micro_batch": device["micro_batch"],
        "batch_norm": "all processes" if device["sync_batch_norm"] else "each process",
        "pairs": "whole batch" if team.size == 1 or config["aug"].get("global_pairs") else "each process",
    }


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
    team: Any,
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
        micro_batch=config["device"]["micro_batch"],
        team=team,
    )


if __name__ == "__main__":  # in one of several processes
    main()

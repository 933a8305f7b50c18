"""``fr-eval``: read a checkpoint, ask a suite's question, leave tables and a receipt beside it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fourier_robust.errors import UserError
from fourier_robust.usage import asked_for, usage


def main() -> None:
    """Entry point of ``fr-eval``."""
    if asked_for():
        print(usage("eval"))
        return
    from fourier_robust.cli import launch

    launch("eval", evaluate)


def evaluate(config: dict[str, Any], names: dict[str, str]) -> None:
    """Measure one checkpoint with one suite; without a checkpoint, write the images that the suite saves.

    Args:
        config: resolved and checked.
        names: of dataset and arch, where the command line chose them.

    Raises:
        UserError: no usable checkpoint, missing data, or class counts that disagree; nothing is written then.
    """
    from fourier_robust.cli import build, build_dataset
    from fourier_robust.run.checkpoint import read

    device = build(config, "device").prepare()
    if config["ckpt"] is None:
        _write_alone(config)
        return
    checkpoint = read(Path(config["ckpt"]))
    subject = _subject(config, names, checkpoint)
    dataset = build_dataset({**config, "dataset": subject["dataset"]})
    suite = build(config, "suite")
    model = _model(subject, checkpoint, dataset).to(device)
    conditions = suite.conditions(dataset)  # missing data is known here, before any work
    _write_images(suite)

    from fourier_robust.report.figure import table_png
    from fourier_robust.report.table import table_of
    from fourier_robust.run.eval_record import EvalRecord

    trained = subject["names"]
    own_data = not checkpoint.meta or trained["dataset"] == subject["data"]
    record = EvalRecord(checkpoint, suite.name if own_data else f"{suite.name}.{dataset.name}", device)
    started = time.perf_counter()
    outcomes, data, reused = _outcomes(model, dataset, suite, conditions, config, device, record)
    rows = _rows(suite, suite.measure(outcomes), record.run, subject)
    remarks = [*suite.remarks(), f"precision {config['precision']}"]
    who = f"{trained['dataset']}/{trained['arch']}/{trained['aug']}-{trained['reg']}"
    table = table_of(rows, who, remarks)
    receipt = {
        "config": config,
        "subject": trained,
        "conditions_wanted": len(conditions),
        "conditions_measured": len(outcomes),
        "conditions_reused": reused,  # measured by an earlier launch; not in the wall time
        "rows": len(rows),
        "remarks": remarks,
        "definitions": dict(suite.definitions),
        "data": data,
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    files = {"table.png": table_png(table), **(suite.files(outcomes, who) if hasattr(suite, "files") else {})}
    record.finish(rows, table.records(), files, receipt)
    written = ", ".join(["results.csv", "table.csv", *files, "eval.json"])
    print(f"\n{table.text()}\n\nwrote {written} in {record.folder}")


def _write_alone(config: Mapping[str, Any]) -> None:
    """What ``fr-eval dataset=... suite.save=DIR`` does."""
    from fourier_robust.cli import build, build_dataset

    if "_target_" not in config.get("dataset", {}) or config["suite"].get("save") is None:
        raise UserError("ckpt is required: give ckpt=..., or dataset=... and suite.save=... to write images alone")
    dataset, suite = build_dataset(config), build(config, "suite")
    suite.conditions(dataset)
    _write_images(suite)


def _write_images(suite: Any) -> None:
    """Write the images that the suite wants to read from disk, if it does."""
    release = suite.to_write() if hasattr(suite, "to_write") else None
    if release is not None:
        from fourier_robust.run.release import write

        print(write(release, suite.workers))


def _rows(suite: Any, measurements: Any, run: str, subject: Mapping[str, Any]) -> list[Any]:
    """Measurements as rows: who was measured is added here."""
    from fourier_robust.run.results import Row

    trained = subject["names"]
    return [
        Row(
            run=run,
            suite=suite.name,
            dataset=item.condition.dataset,
            corruption=item.condition.corruption,
            severity=item.condition.severity,
            attack=None,
            eps=item.condition.eps,
            score=None,
            metric=item.metric,
            value=item.estimate.value,
            ci_low=item.estimate.low,
            ci_high=item.estimate.high,
            n=item.estimate.n,
            higher_is_better=item.higher_is_better,
            train_dataset=trained["dataset"],
            arch=trained["arch"],
            aug=trained["aug"],
            reg=trained["reg"],
            seed=subject["seed"],
        )
        for item in measurements
    ]


def _subject(config: Mapping[str, Any], names: Mapping[str, str], checkpoint: Any) -> dict[str, Any]:
    """Configs of model and data: the checkpoint's own, or the command line's for somebody else's file."""
    from fourier_robust.cli import data_name

    own = checkpoint.meta.get("config", {})
    trained = dict(checkpoint.meta.get("names", {}))
    if own and "arch" in names and names["arch"] != trained["arch"]:
        raise UserError(f"{checkpoint.path} holds {trained['arch']}, not arch={names['arch']}")
    if not own and not {"arch", "dataset"} <= names.keys():
        raise UserError(f"{checkpoint.path} does not say what it holds: give arch=... and dataset=...")
    chosen = config.get("dataset", {})
    whole = "_target_" in chosen  # else at most another corruption of the training run's data
    dataset = dict(chosen) if whole else {**own["dataset"], **chosen}
    if not whole and dataset.get("root") == own["paths"]["data_dir"]:  # the data folder of now, not of training time
        dataset["root"] = config["paths"]["data_dir"]
    unknown = {"dataset": "unknown", "arch": names.get("arch", ""), "aug": "unknown", "reg": "unknown"}
    return {
        "arch": own.get("arch") or config.get("arch"),
        "dataset": dataset,
        "data": names["dataset"] if whole else data_name(trained["dataset"].split("+")[0], dataset),
        "names": trained or unknown,
        "seed": own.get("seed"),
        "classes": len(checkpoint.meta.get("class_names", ())) or None,
    }


def _model(subject: Mapping[str, Any], checkpoint: Any, dataset: Any) -> Any:
    """The model with the checkpoint's weights; a mismatch in classes or architecture is one line."""
    from fourier_robust.arch.normalize import Normalized
    from fourier_robust.cli import build

    arch = {**subject["arch"], "num_classes": subject["arch"].get("num_classes") or dataset.num_classes}
    classes = subject["classes"] or arch["num_classes"]
    if classes != dataset.num_classes:
        raise UserError(f"{checkpoint.path} knows {classes} classes, but {dataset.name} has {dataset.num_classes}")
    if "pretrained" in arch:  # the checkpoint brings the weights
        arch["pretrained"] = False
    model = Normalized(build({"arch": arch}, "arch"), dataset.mean, dataset.std)
    target = model if checkpoint.meta else model.net  # somebody else's weights come without our first layer
    try:
        target.load_state_dict(checkpoint.weights)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{checkpoint.path} does not fit the architecture: {reason}") from error
    return model.eval()


def _outcomes(
    model: Any, dataset: Any, suite: Any, conditions: Any, config: Mapping[str, Any], device: Any, record: Any
) -> tuple[dict[Any, Any], dict[str, str], int]:
    """Per-image outcomes of each condition: those an earlier launch left, then the rest."""
    import torch
    from tqdm import tqdm

    from fourier_robust.engine.predict import memory_format
    from fourier_robust.metric.outcome import Outcome

    model.to(memory_format=memory_format(device, config["precision"]))
    on_gpu = 250 if hasattr(suite, "gradient") else 1000  # what a backward pass needs stays in memory
    batch_size = config["batch_size"] or (on_gpu if device.type == "cuda" else 128)
    outcomes, data, reused = {}, {}, 0
    with tqdm(conditions, unit="condition", disable=None) as bar:
        for condition in bar:
            bar.set_description(condition.key)
            source = suite.source(dataset, condition, device, batch_size)
            data[condition.key] = source.identity
            identity = record.identity(source.identity, config["precision"])
            stored = record.store.load(condition.key, identity) if config["resume"] else None
            if stored is None:
                found = _observe(model, suite, source.batches, config["precision"])
                arrays = {key: value.numpy() for key, value in found._asdict().items()}
                record.store.save(condition.key, identity, arrays)
            else:
                reused += 1
                kind = getattr(suite, "observation", Outcome)
                found = kind(**{key: torch.from_numpy(value) for key, value in stored.items()})
            if len(found.label) != source.n:
                raise UserError(f"{condition.key}: {source.n} images wanted, {len(found.label)} read")
            outcomes[condition] = found
    return outcomes, data, reused


def _observe(model: Any, suite: Any, batches: Any, precision: Any) -> Any:
    """The pass that the suite asks for: input gradients, handed to it batch by batch, or logits."""
    if hasattr(suite, "gradient"):
        from fourier_robust.engine.gradient import input_gradients

        return suite.observe(input_gradients(model, batches, suite.gradient, precision))
    from fourier_robust.engine.predict import predict
    from fourier_robust.metric.outcome import outcome

    return outcome(*predict(model, batches, precision)[:2])

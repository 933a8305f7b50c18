"""``fr-eval``: read a checkpoint, ask a suite's question, leave tables and a receipt beside it.

Above 300 lines: one suite and all of them, alone and in several processes, with what each way can meet.
"""

from __future__ import annotations

import contextlib
import os
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fourier_robust.errors import Busy, UserError
from fourier_robust.run.sweep import Outcome
from fourier_robust.usage import asked_for, usage

if TYPE_CHECKING:
    from fourier_robust.engine.distributed import Team
    from fourier_robust.subject import Subject

COUNTS = ("conditions_wanted", "conditions_measured", "conditions_reused", "images")  # of a receipt
LONGEST = timedelta(days=30)  # a process waits for another one's condition; one that died is noticed at once


class Setting(NamedTuple):
    """What all suites of one command share.

    Attributes:
        model: on the device, for images of the data set.
        subject: who is measured.
        dataset: on whose images.
        config: resolved and checked; of one suite.
        device: where.
        team: the processes that share the conditions.
        about: code and machine at the start of the command.
    """

    model: Any
    subject: Subject
    dataset: Any
    config: Mapping[str, Any]
    device: Any
    team: Team
    about: Mapping[str, Any]


def main() -> None:
    """Entry point of ``fr-eval``."""
    if asked_for():
        print(usage("eval"))
        return
    from fourier_robust.cli import launch

    launch("eval", evaluate)


def evaluate(config: dict[str, Any], names: dict[str, str]) -> Outcome | None:
    """Measure one model with one suite; without a checkpoint, write the images that the suite saves.

    Args:
        config: resolved and checked.
        names: of dataset and arch, where the command line chose them.

    Returns:
        Where the results are, and whether there was anything to measure; None where other processes did it.

    Raises:
        UserError: no usable checkpoint, missing data, or class counts that disagree; nothing is written then.
    """
    from fourier_robust.subject import subject_of

    if config["ckpt"] is None:
        _write_alone(config)
        return None

    from fourier_robust.cli import build
    from fourier_robust.engine.distributed import joined, launched

    device = build(config, "device")
    if device.processes > 1 and launched()[1] == 1:
        from hydra.core.hydra_config import HydraConfig

        from fourier_robust.engine.team import start

        start("fourier_robust.evaluate", HydraConfig.get().overrides.task, device.processes)
        return None
    with joined(device.prepare(), LONGEST) as team:
        return measure(lambda: subject_of(config, names), config, team)


def measure(who: Callable[[], Subject], config: Mapping[str, Any], team: Team | None = None) -> Outcome:
    """Ask the suite of `config` of a model; leaves tables, pictures and a receipt in the folder it returns.

    Args:
        who: gives the model; called once the device is ready.
        config: resolved and checked.
        team: processes that share the conditions, each of which calls this; the first writes. None: this one alone.

    Raises:
        UserError: see `evaluate`.
    """
    from fourier_robust.cli import build, build_dataset
    from fourier_robust.engine.distributed import ALONE
    from fourier_robust.run.provenance import provenance, restart_peak

    device = build(config, "device").prepare()
    about = provenance(device)  # of the start: the checkout may change while it measures
    restart_peak(device)
    subject = who()
    dataset = build_dataset({**config, "dataset": subject.dataset})
    suite = build(config, "suite")
    at = Setting(subject.model(dataset, device), subject, dataset, config, device, team or ALONE, about)
    found = _ask_all(at, suite) if hasattr(suite, "parts") else _ask(at, suite)
    return Outcome("done" if found.new else "skipped", found.folder)


class Answer(NamedTuple):
    """Of a suite: its folder; in the first process also its rows, the receipt, and whether no launch left the same."""

    folder: Path
    rows: Sequence[Any] = ()
    receipt: Mapping[str, Any] = {}
    new: bool = True


def _ask(at: Setting, suite: Any) -> Answer:
    """One suite."""
    conditions = suite.conditions(at.dataset)  # missing data is known here, before any work
    record = _record(at, suite)
    with contextlib.ExitStack() as stack:
        at.team.first_does(lambda: stack.enter_context(record.claimed()))
        at.team.first_does(lambda: _write_images(suite))
        return _measured(at, suite, conditions, record)


def _measured(at: Setting, suite: Any, conditions: Sequence[Any], record: Any) -> Answer:
    """The conditions' answer, which the first process, that holds the folder, writes."""
    from fourier_robust.report.figure import table_png
    from fourier_robust.report.table import table_of

    subject, trained, started = at.subject, at.subject.names, time.perf_counter()
    outcomes, data, reused = _outcomes(at, suite, conditions, record)
    if not at.team.first:
        return Answer(record.folder)
    rows = _rows(suite, suite.measure(outcomes), record.run, subject)
    remarks = [*suite.remarks(), *subject.remarks(), f"precision {at.config['precision']}"]
    title = f"{trained['dataset']}/{trained['arch']}/{trained['aug']}-{trained['reg']}" if subject.ours else record.run
    table = table_of(rows, title, remarks)
    receipt = {
        "config": at.config,
        "subject": trained,
        "preprocessing": subject.preprocessing,
        "conditions_wanted": len(conditions),
        "conditions_measured": len(outcomes),
        "conditions_reused": reused,  # measured by an earlier launch; not in the wall time
        "images": sum(len(found.label) for found in outcomes.values()),  # of all conditions, each once
        "processes": at.team.size,
        "rows": len(rows),
        "remarks": remarks,
        "definitions": dict(suite.definitions),
        "data": data,
        "wall_seconds": round(time.perf_counter() - started, 1),
    }
    files = {"table.png": table_png(table), **(suite.files(outcomes, title) if hasattr(suite, "files") else {})}
    new = record.finish(rows, table.records(), files, receipt)
    written = ", ".join(["results.csv", "table.csv", *files, "eval.json"])
    print(f"\n{table.text()}\n\nwrote {written} in {record.folder}")
    return Answer(record.folder, rows, receipt, new)


def _ask_all(at: Setting, suite: Any) -> Answer:
    """Each part in turn, as if it had been asked for alone; then all rows in one table, and what was not measured.

    One that fails costs no other, whatever its error; among several processes a `UserError` alone is known to all.

    Raises:
        UserError: parts failed; no part has its data.
        OSError: the same, where one of them failed otherwise than by the user's mistake.
        Busy: other processes measure parts.
    """
    answers, missing, failed, elsewhere, started = {}, {}, {}, {}, time.perf_counter()
    kind: type[Exception] = UserError  # OSError: a fault, which a sweep tries again
    for name, part in suite.parts.items():
        try:
            part.conditions(at.dataset)
        except UserError as error:
            missing[name] = str(error)
        except Exception:  # said when its turn comes
            continue
    for name, part in suite.parts.items():
        if name in missing:
            continue
        print(f"\n== suite={name}")
        try:
            config = {**at.config, "suite": at.config["suite"]["parts"][name]}
            answers[name] = _ask(at._replace(config=config), part)
        except Busy as error:
            elsewhere[name] = str(error)
            print(f"left out: {error}")
        except UserError as error:
            failed[name] = str(error)
            print(f"not measured: {error}")
        except Exception as error:
            if at.team.size > 1:
                raise
            kind, failed[name] = OSError, _fault(error)
            print(f"not measured: {failed[name]}")

    rows = [row for one in answers.values() for row in one.rows]
    not_measured, record = {**missing, **failed, **elsewhere}, _record(at, suite)
    receipt = {
        "config": at.config,
        "subject": at.subject.names,
        "preprocessing": at.subject.preprocessing,
        "measured": list(answers),
        "not_measured": not_measured,
        **{key: sum(one.receipt.get(key, 0) for one in answers.values()) for key in COUNTS},
        "processes": at.team.size,
        "rows": len(rows),
        "definitions": suite.definitions,
        "data": {name: one.receipt.get("data", {}) for name, one in answers.items()},
        "wall_seconds": round(time.perf_counter() - started, 1),
    }

    def write() -> None:
        of_all = f"of {len(suite.parts)} suites"
        stopped = f"{len(failed)} {of_all} stopped: {', '.join(failed)}"
        try:
            if rows and not ((failed or elsewhere) and record.has_rows()):
                _write_all(suite, rows, record, receipt)
            elif rows:
                print(f"\nleft as it was, for it may have more rows: {record.folder}")
        except Busy as error:
            if failed:
                raise kind(f"{stopped}; and {error}") from error
            raise
        if missing and not (rows or failed or elsewhere):
            raise UserError(f"no suite has its data: {next(iter(missing.values()))}")
        if failed:
            raise kind(f"{stopped}; see above")
        if elsewhere:
            raise Busy(f"another process measures {len(elsewhere)} {of_all}: {', '.join(elsewhere)}; see above")

    at.team.first_does(write)
    return Answer(record.folder, rows, receipt, any(one.new for one in answers.values()))


def _fault(error: Exception) -> str:
    """In one line; its trace is shown, unless it is the system's word."""
    system = isinstance(error, OSError)
    if not system or os.environ.get("FR_DEBUG") == "1":
        traceback.print_exception(error)
    return " ".join((str(error) if system else f"{type(error).__name__}: {error}").split())


def _write_all(suite: Any, rows: Sequence[Any], record: Any, receipt: Mapping[str, Any]) -> None:
    """What ``suite=all`` leaves beside the folders of its parts."""
    from fourier_robust.report.table import Table

    left_out = [f"{name}: {reason}" for name, reason in receipt["not_measured"].items()]
    columns, lines = suite.summary(rows)
    summary = Table(suite.name, columns, lines, False, tuple(left_out))
    with record.claimed():
        record.finish(rows, summary.records(), {}, receipt)
    said = "\n".join(["", "not measured:", *left_out] if left_out else ["", "all suites measured"])
    print(f"{said}\n\nwrote results.csv, table.csv, eval.json in {record.folder}")


def _record(at: Setting, suite: Any) -> Any:
    """Where the results of a suite go."""
    from fourier_robust.run.eval_record import EvalRecord
    from fourier_robust.run.folder import experiment_hash

    own_data = at.subject.ours and at.subject.names["dataset"] == at.subject.data
    folder = suite.name if own_data else f"{suite.name}.{at.dataset.name}"
    if at.config["name"] is not None:
        folder += f".{at.config['name']}"
    job = os.environ.get("FR_SWEEP_JOB", "")
    job += f"@{experiment_hash(at.config)}" if job else ""
    return EvalRecord(at.subject.checkpoint, folder, at.device, at.subject.preprocessing, at.about, job)


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


def _rows(suite: Any, measurements: Any, run: str, subject: Subject) -> list[Any]:
    """Measurements as rows: who was measured is added here."""
    from fourier_robust.run.results import Row

    trained = subject.names
    return [
        Row(
            run=run,
            suite=suite.name,
            dataset=item.condition.dataset,
            corruption=item.condition.corruption,
            severity=item.condition.severity,
            attack=item.condition.attack,
            eps=item.condition.eps,
            score=item.condition.score,
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
            seed=subject.seed,
        )
        for item in measurements
    ]


def _outcomes(
    at: Setting, suite: Any, conditions: Sequence[Any], record: Any
) -> tuple[dict[Any, Any], dict[str, str], int]:
    """What is kept of each condition (in the first process), what it is of, and how many took no pass this time."""
    from fourier_robust.engine.predict import memory_format
    from fourier_robust.engine.survey import Survey

    precision, resume = at.config["precision"], at.config["resume"]
    at.model.to(memory_format=memory_format(at.device, precision))
    room = 250 if hasattr(suite, "observe") else 1000  # gradients and features need more than logits
    survey = Survey(
        model=at.model,
        dataset=at.dataset,
        suite=suite,
        device=at.device,
        batch_size=at.config["batch_size"] or (room if at.device.type == "cuda" else 128),
        precision=precision,
        resume=resume,
        record=record,
        known=record.predictions(round(at.config["predictions_gib"] * 2**30) if resume else 0, precision),
        team=at.team,
    )
    outcomes = survey.of(conditions)
    return outcomes, survey.data, len(conditions) - survey.measured


if __name__ == "__main__":  # in one of several processes
    main()

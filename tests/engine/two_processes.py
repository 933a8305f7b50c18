"""What each of the processes does that `test_distributed` starts: ``torchrun --nproc-per-node=2 two_processes.py ...``.

Without torchrun the same, as one process.
"""

from __future__ import annotations

import copy
import json
import os
import signal
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from support import compose_config
from torch import nn

from fourier_robust.aug.apr_p import APRP
from fourier_robust.aug.apr_s import APRS
from fourier_robust.aug.chain import Chain
from fourier_robust.aug.standard import CropFlip
from fourier_robust.aug.views import Params
from fourier_robust.dataset.base import ResidentSplit
from fourier_robust.engine.distributed import Team, joined
from fourier_robust.engine.fit import Trainer
from fourier_robust.engine.interrupt import Interrupted
from fourier_robust.engine.job import Job
from fourier_robust.engine.survey import Survey
from fourier_robust.errors import UserError
from fourier_robust.evaluate import measure
from fourier_robust.reg.none import NoRegularizer
from fourier_robust.reg.step import Step
from fourier_robust.subject import subject_of
from fourier_robust.suite.base import Source

CPU = torch.device("cpu")


class Number(NamedTuple):
    """A condition."""

    number: int

    @property
    def key(self) -> str:
        """Of its outcome."""
        return str(self.number)


class Kept(NamedTuple):
    """What is kept of one."""

    label: torch.Tensor


SETTINGS = Trainer(epochs=4, batch_size=8, precision="fp32")  # 4 x 5 steps


class PlainSGD:
    """Momentum SGD at a constant rate."""

    def build(self, model: nn.Module, *_: Any) -> tuple[torch.optim.Optimizer, Callable[[int], float]]:
        groups = [{"params": list(model.parameters()), "lr": 0.05, "base_lr": 0.05}]
        return torch.optim.SGD(groups, momentum=0.9), lambda step: 1.0


class SquaredLogits:
    """A penalty that is a mean over images, added by a backward pass of its own."""

    def shares_pass(self, number: int) -> bool:
        return False

    def add_gradient(self, step: Step) -> dict[str, torch.Tensor]:
        penalty = step.model(step.images).square().mean()
        (0.1 * penalty).backward()
        return {"size": penalty.detach()}


class Stop:
    """A step that changes nothing; at its n-th draw the process `rank` gets a signal, or fails."""

    def __init__(self, at: int, team: Team, rank: int, fails: bool = False) -> None:
        self.left, self.here, self.fails = at, team.rank == rank, fails

    def sample(self, shape: tuple[int, int, int, int], generator: torch.Generator) -> Params:
        self.left -= 1
        if self.here and self.left == 0 and self.fails:
            raise UserError("an image is damaged")
        if self.here and self.left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return {}

    def apply(self, images: torch.Tensor, params: Params) -> torch.Tensor:
        return images


def network(norm: bool = False) -> nn.Module:
    """A small one, the same every time."""
    torch.manual_seed(1)
    middle = [nn.BatchNorm2d(6)] if norm else []
    return nn.Sequential(nn.Conv2d(3, 6, 3), *middle, nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4))


def split(n: int, seed: int) -> ResidentSplit:
    """`n` random images of 8 pixels with random labels of 4 classes."""
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (n, 8, 8, 3), generator=generator, dtype=torch.uint8)
    return ResidentSplit(images, torch.randint(0, 4, (n,), generator=generator))


class Run:
    """A job, and what it saved."""

    def __init__(self, team: Team, aug: Chain | None = None, norm: bool = False, **more: Any) -> None:
        self.states: list[dict[str, Any]] = []
        self.job = Job(
            **{
                "model": network(norm),
                "train": split(40, 0),
                "val": split(25, 1),
                "aug": aug or Chain(),
                "reg": NoRegularizer(),
                "optim": PlainSGD(),
                "seed": 3,
                "device": CPU,
                "channels_last": True,
                "compiled": False,
                "save": self.save,
                "record": lambda _: None,
                "team": team,
                **more,
            }
        )

    def save(self, step: int, weights: Mapping[str, torch.Tensor], state: Mapping[str, Any]) -> None:
        """Keep it as a checkpoint would be."""
        self.states.append(copy.deepcopy({"model": dict(weights), "saved_step": step, **state}))


def scenarios() -> dict[str, Callable[[Team], tuple[Trainer, Run]]]:
    """By name: what is trained, and how."""
    crop, single = CropFlip(padding=1), APRS()
    return {
        "none": lambda team: (SETTINGS, Run(team)),
        "standard": lambda team: (SETTINGS, Run(team, Chain(crop=crop))),
        "apr_sp": lambda team: (SETTINGS, Run(team, Chain(APRP(0.6), True, single=single, crop=crop))),
        "apr_sp_local": lambda team: (SETTINGS, Run(team, Chain(APRP(0.6), single=single, crop=crop))),
        "reg": lambda team: (SETTINGS, Run(team, reg=SquaredLogits())),
        "micro": lambda team: (SETTINGS, Run(team, Chain(APRP(0.6), True, crop=crop), micro_batch=3)),
        "average": lambda team: (Trainer(4, 8, "fp32", ema_decay=0.9), Run(team)),
        "norm": lambda team: (SETTINGS, Run(team, Chain(crop=crop), norm=True)),
    }


def train_all(team: Team, folder: Path) -> dict[str, Any]:
    """Weights, history and last checkpoint of every scenario; then a run that a signal to the last process stops."""
    found = {}
    for name, made in scenarios().items():
        settings, run = made(team)
        history = settings.fit(run.job)
        saved = run.states[-1]["model"] if run.states else None
        found[name] = {"weights": run.job.model.state_dict(), "history": history, "saved": saved}
    cut = Run(team, Chain(stop=Stop(7, team, team.size - 1)), norm=True)
    path = folder / f"state-{team.size}.pt"
    try:
        SETTINGS.fit(cut.job)
    except Interrupted as stop:
        found["stopped"] = {"signum": stop.signum, "saved": [state["saved_step"] for state in cut.states]}
        if team.first:
            torch.save(cut.states[-1], path)
    team.barrier()
    rest = Run(team, norm=True)
    history = SETTINGS.fit(rest.job, torch.load(path))
    found["resumed"] = {"weights": rest.job.model.state_dict(), "history": history}
    whole = Run(team, norm=True)
    history = SETTINGS.fit(whole.job)
    found["whole"] = {"weights": whole.job.model.state_dict(), "history": history}
    return found


class Numbers:
    """A suite of six conditions, 0 to 5; what is kept of each is its number. It fails where it is told to."""

    observation = Kept

    def __init__(self, fails_at: int | None = None) -> None:
        self.fails_at = fails_at

    def source(self, dataset: Any, condition: Number, *_: Any) -> Source:
        return Source(split(3, condition.number).batches(3), 3, f"identity {condition.number}")

    def observe(self, model: nn.Module, source: Source, condition: Number, precision: str) -> Kept:
        if condition.number == self.fails_at:
            raise UserError(f"{condition.number} is odd")
        return Kept(torch.tensor([condition.number, 0, 0]))


class Sums(Numbers):
    """The same from logits, which the first process alone looks at."""

    observe = property()  # type: ignore[assignment]  # hasattr says no

    def summarise(self, logits: torch.Tensor, labels: torch.Tensor, condition: Number, earlier: Any) -> Kept:
        if condition.number == self.fails_at:
            raise UserError(f"{condition.number} does not sum up")
        return Kept(torch.tensor([len(earlier), 0, 0]))


class Store:
    """Record, store of outcomes and shared logits, in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Any] = {}
        self.store = self

    def identity(self, data: str, precision: str) -> str:
        return data

    def load(self, key: str, *_: Any) -> Any:
        return self.kept.get(key)

    def save(self, key: str, *rest: Any) -> None:
        if len(rest) == 2:
            self.kept[key] = rest[1]


def survey_all(team: Team) -> dict[str, Any]:
    """Three surveys that fail, in the second process, in the first and after the pass; one that works; it again."""
    conditions, found = [Number(number) for number in range(6)], {"errors": []}

    def survey(suite: Any, record: Store) -> Survey:
        return Survey(network(), None, suite, CPU, 3, "fp32", True, record, Store(), team)

    for suite in (Numbers(3), Numbers(2), Sums(4)):
        try:
            survey(suite, Store()).of(conditions)
        except UserError as error:
            found["errors"].append(str(error))
    record = Store()
    for suffix in ("", "_again"):
        one = survey(Numbers(), record)
        kept = one.of(conditions)
        found["kept" if not suffix else "again"] = {key.number: value.label.tolist() for key, value in kept.items()}
        found[f"measured{suffix}"] = one.measured
        if not suffix:
            found["stored"] = sorted(int(key) for key in record.kept)
        if not team.first:  # as if on a file system that all read
            record.kept = {str(n): {"label": torch.tensor([n, 0, 0]).numpy()} for n in range(6)}
    return found


def main(what: str, folder: Path, *arguments: str) -> None:
    """Train all scenarios and evaluate as the arguments say, or have one process fail."""
    torch.set_num_threads(1)
    with joined(CPU) as team:
        if what == "fails":
            SETTINGS.fit(Run(team, Chain(stop=Stop(7, team, 1, fails=True))).job)
        torch.save(
            {**train_all(team, folder), "surveys": survey_all(team)}, folder / f"trained-{team.size}-{team.rank}.pt"
        )
        for settings in json.loads(arguments[0]):
            config, names = compose_config("eval", *settings)
            measure(partial(subject_of, config, names), config, team)


if __name__ == "__main__":
    try:
        main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)

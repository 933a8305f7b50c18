"""The columns of a report that nobody asked for are numbers that suites measure."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

import pytest
from support import compose_config

from fourier_robust.cli import build
from fourier_robust.config import conf_dir
from fourier_robust.report.selection import Selector

COLUMNS = compose_config("report", "runs=x")[0]["columns"]
SUITES = sorted(path.stem for path in (conf_dir() / "suite").glob("*.yaml") if path.stem != "all")


@pytest.fixture(scope="module")
def defined() -> dict[str, list[str]]:
    """Suite -> its metrics as globs."""
    suites = [build(compose_config("eval", "ckpt=x", f"suite={name}")[0], "suite") for name in SUITES]
    return {suite.name: [re.sub("<[a-z]+>", "*", name) for name in suite.definitions] for suite in suites}


@pytest.mark.parametrize("text", COLUMNS)
def test_a_default_column_is_a_metric_of_its_suite(text: str, defined: dict[str, list[str]]) -> None:
    asked = Selector.of(text)
    metrics = [name for suite, names in defined.items() if fnmatchcase(suite, asked.suite) for name in names]
    assert any(fnmatchcase(name, asked.metric) or fnmatchcase(asked.metric, name) for name in metrics), metrics


def test_the_defaults_have_a_column_of_every_suite_but_the_layers(defined: dict[str, list[str]]) -> None:
    shown = {name for name in defined for text in COLUMNS if fnmatchcase(name, Selector.of(text).suite)}
    assert set(defined) - shown == {"heatmap_layers"}

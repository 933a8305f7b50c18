"""A report of small runs, opened from its file in headless Chromium; any complaint or request of it fails a test."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from report.synthetic import row, run
from support import compose_config

from fourier_robust.reporting import report

NAMES = ("chromium", "chromium-browser", "google-chrome")
MARKUP = "<b onclick='x()'>&_%"


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report: on cifar10 three methods, one without nll; on shapes two, the best flagged."""
    place = tmp_path_factory.mktemp("report")
    runs = place / "runs"
    run(runs / "standard", [row(value=0.1), row("nll", 0.5)])
    for seed, value in enumerate((0.08, 0.1)):
        run(runs / f"apr{seed}", [row(value=value, seed=seed, aug="apr_sp"), row("nll", 0.25, seed=seed, aug="apr_sp")])
    run(runs / "markup", [row(value=0.2, aug=MARKUP)])
    for aug, values in (("standard", (0.5, 0.51)), ("apr_sp", (0.3, 0.302))):
        for seed, value in enumerate(values):
            rows = [row(value=value, seed=seed, aug=aug, dataset="shapes", train_dataset="shapes")]
            run(runs / f"shapes_{aug}{seed}", rows, conditions_measured=int(aug == "standard"))
    of = {"suite": "corruptions", "dataset": "cifar10_c_generated"}
    for name, aug in (("standard", "standard"), ("apr0", "apr_sp")):
        rows = [row(value=0.1 * level, severity=level, aug=aug, corruption="fog", **of) for level in (1, 2)]
        means = [row("mean_error", 0.25, aug=aug, corruption="common15", **of)] if aug == "standard" else []
        run(runs / name, rows + means, suite="corruptions")
    report(*compose_config("report", f"runs={runs}", f"out={place}/out"))
    return place / "out"


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium from the system."""
    api = pytest.importorskip("playwright.sync_api", reason="no playwright here (pip install '.[browser]')")
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        pytest.skip("no Chromium here (apt-get install chromium)")
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture
def opened(browser: Any, made: Path) -> Iterator[Callable[..., Any]]:
    """Opens the page: at a fragment, after a script, with a message that it may print, and options of the context."""
    contexts, said = [], []

    def open_(
        fragment: str = "", script: str = "", path: Path = made / "index.html", expected: str = "(?!)", **options: Any
    ) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda message: None if re.match(expected, message.text) else said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
        if script:
            page.add_init_script(script)
        page.goto(path.as_uri() + fragment)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert said == []

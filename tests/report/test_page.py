"""The front door: files, the same bytes twice, links, flags, refusals."""

from __future__ import annotations

import base64
import builtins
import csv
import hashlib
import io
import re
import shutil
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from report.synthetic import edit, row, run
from support import compose_config

from fourier_robust.errors import UserError
from fourier_robust.report.markdown import Report
from fourier_robust.report.page import page, template
from fourier_robust.report.receipts import Receipts
from fourier_robust.report.section import Numbers, Picture, Section
from fourier_robust.reporting import report

REFERENCE = Path(__file__).parents[2] / "outputs" / "reference"
FILES = {"index.html", "rows.csv", "tables.csv", "tables.md", "tables.tex"}


def make(out: Path, *overrides: str) -> dict[str, str]:
    report(*compose_config("report", f"out={out}", *overrides))
    return {path.name: path.read_text() for path in out.iterdir()}


class Page(HTMLParser):
    """Anchors, links, tags that load something, and the text of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [str(given["id"])] if "id" in given else []
        self.links += [str(given[name]) for name in ("href", "src") if name in given]
        if tag not in ("meta", "br", "wbr", "input"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if self.open[-1:] == [tag]:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_reference_twice_gives_the_same_bytes_and_whole_pages(tmp_path: Path) -> None:
    first, second = (make(tmp_path / name, f"runs={REFERENCE}") for name in "ab")
    assert first.keys() == FILES
    assert first == second
    page = Page(first["index.html"])
    assert page.open == []
    assert len(page.ids) == len(set(page.ids))
    assert {link.removeprefix("#") for link in page.links if link.startswith("#")} <= set(page.ids)
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in page.links)
    assert not {"link", "img", "iframe"} & set(page.tags)
    (script,) = re.findall(r"<script>(.*?)</script>", first["index.html"], re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; script-src 'sha256-{digest}';" in first["index.html"]
    assert "url(" not in first["index.html"].replace("url(#", "")
    assert len(first["index.html"]) < 5 * 2**20
    found = [path for path in REFERENCE.rglob("results.csv") if (path.parent / "eval.json").exists()]
    files = [path for path in found if path.parent.name.split(".")[0] != "all"]  # those repeat what lies beside them
    assert len(re.findall(r'class="receipt" id="r\d+"', first["index.html"])) == len(files)
    assert len(first["rows.csv"].splitlines()) == 1 + sum(len(path.read_text().splitlines()) - 1 for path in files)


def test_a_known_number_of_the_reference_and_its_receipt(tmp_path: Path) -> None:
    folder = REFERENCE / "cifar10_speednet_cpu"
    page = make(tmp_path, f"runs={folder}")["index.html"]
    (line,) = re.findall(r'<a href="#(r\d+)">11.14</a>', page)
    receipt = page.split(f'id="{line}"')[1].split("</div>")[0]
    for text in ("apr_sp · clean", "seed 0", "12bc55ddf1db", "bf16", "cifar10 b82a370e0c070f0e", "fr-eval", "trained"):
        assert text in receipt


def test_mean_spread_and_links_of_each_seed(tmp_path: Path) -> None:
    for seed, value in enumerate((0.1, 0.2)):
        run(tmp_path / f"runs/s{seed}", [row(value=value, seed=seed)])
    files = make(tmp_path / "out", f"runs={tmp_path}/runs")
    assert "15.00 ± 7.07" in files["index.html"]
    assert '<a href="#r2" title="seed 1: 20.00">1</a>' in files["index.html"]
    assert "| standard | none | speednet | 15.00 ± 7.07 (2) |" in files["tables.md"]
    assert r"standard & none & speednet & 15.00 $\pm$ 7.07 (2) \\" in files["tables.tex"]
    (cell,) = csv.DictReader(io.StringIO(files["tables.csv"]))
    assert (cell["value"], cell["std"], cell["seeds"]) == ("0.150000", "0.070711", "2")
    assert cell["folders"] == "s0/clean s1/clean"


def test_empty_cells_are_empty_everywhere(tmp_path: Path) -> None:
    run(tmp_path / "runs/a", [row(value=0.25)])
    run(tmp_path / "runs/b", [row("nll", 0.5, aug="apr_sp")])
    files = make(tmp_path / "out", f"runs={tmp_path}/runs")
    assert "| standard | none | speednet | 25.00 (1) |  |" in files["tables.md"]
    assert "| apr\\_sp | none | speednet |  | 0.5000 (1) |" in files["tables.md"]
    assert r"apr\_sp & none & speednet &  & 0.5000 (1) \\" in files["tables.tex"]
    assert (
        files["index.html"].count('<td class="number"></td>')
        + files["index.html"].count('<td class="number first"></td>')
        == 2
    )
    assert len(list(csv.DictReader(io.StringIO(files["tables.csv"])))) == 2


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"git": {"commit": "d" * 40, "dirty": True}}, "1 of 2 evaluations from dirty commits: r2"),
        ({"git": {"commit": None, "dirty": None}}, "1 of 2 evaluations from unknown commits: r2"),
        ({"remarks": ["PARTIAL SET: 2 of the 15"]}, "1 of 2 evaluations of partial sets: r2"),
        ({"conditions_measured": 0}, "1 of 2 evaluations of partial sets: r2"),
        ({"fourier_robust": "0.2.0"}, "mixed versions of fourier_robust: 0.1.0 (1), 0.2.0 (1)"),
        ({"config": {"precision": "bf16"}}, "trained on cifar10, measured in bf16 and fp32: clean: error"),
        (
            {"definitions": {"error": "other"}},
            "equal names, different definitions, settings or data, apart: clean: error",
        ),
    ],
)
def test_flags(tmp_path: Path, changes: Mapping[str, Any], said: str) -> None:
    run(tmp_path / "runs/a", [row()])
    run(tmp_path / "runs/b", [row(aug="apr_sp")])
    clean = make(tmp_path / "before", f"runs={tmp_path}/runs")["index.html"]
    assert 'class="warnings"' not in clean
    edit(tmp_path / "runs/b/eval/clean/eval.json", **changes)
    page = make(tmp_path / "after", f"runs={tmp_path}/runs")["index.html"]
    assert f"<li>{said}</li>" in page
    assert ("†</span>" in page) == ("evaluations" in said)


def test_a_training_from_a_dirty_commit_is_flagged(tmp_path: Path) -> None:
    run(tmp_path / "runs/a", [row()])
    (tmp_path / "runs/a/run.json").write_text('{"launches": [{"git": {"commit": "abc", "dirty": true}}]}')
    assert "trained from a dirty commit" in make(tmp_path / "out", f"runs={tmp_path}/runs")["index.html"]


def test_what_was_left_out_stands_on_the_page(tmp_path: Path) -> None:
    run(tmp_path / "runs/a", [row()])
    (run(tmp_path / "runs/b", [row()]) / "eval.json").write_text("{")
    assert "b/eval/clean: eval.json is damaged" in make(tmp_path / "out", f"runs={tmp_path}/runs")["index.html"]


def test_no_text_of_a_run_is_markup(tmp_path: Path) -> None:
    text = "<b>&_%|\\"
    run(tmp_path / "runs/a", [row(arch=text)], command=["fr-eval", text])
    files = make(tmp_path / "out", f"runs={tmp_path}/runs")
    assert Page(files["index.html"]).open == []
    assert "<b>" not in files["index.html"]
    assert r"\textless{}b\textgreater{}\&\_\%\textbar{}\textbackslash{}" in files["tables.tex"]
    assert r"\<b\>&\_%\|\\" in files["tables.md"]


def test_pictures_stand_below_the_tables_with_their_numbers(tmp_path: Path) -> None:
    of = {"suite": "corruptions", "dataset": "cifar10_c_generated", "corruption": "fog"}
    run(
        tmp_path / "runs/a",
        [row(value=0.25, severity=1, **of), row(value=0.375, severity=2, **of)],
        suite="corruptions",
    )
    files = make(tmp_path / "out", f"runs={tmp_path}/runs")
    section = files["index.html"].split('<section id="severity-')[1].split("</section>")[0]
    assert section.count("<svg ") == 2
    assert 'role="img" aria-label="Mean error in percent' in section
    assert section.count("<details><summary>Numbers</summary>") == 1  # both pictures have the same
    assert '<th scope="row">standard</th><td>fog</td><td>25.00</td><td>37.50</td>' in section
    assert "| standard | fog | 25.00 | 37.50 |" in files["tables.md"]
    assert "<svg" not in make(tmp_path / "none", f"runs={tmp_path}/runs", "drawn=0")["index.html"]


def test_what_can_not_be_drawn_stands_among_the_warnings(tmp_path: Path) -> None:
    run(tmp_path / "runs/a", [row()])
    (tmp_path / "runs/a/train.csv").write_text("epoch,train_loss\n1,much\n")
    page = make(tmp_path / "out", f"runs={tmp_path}/runs")["index.html"]
    assert "<li>a: train.csv is damaged (could not convert string to float: &#39;much&#39;); not drawn</li>" in page


def test_two_sets_and_a_paper(tmp_path: Path) -> None:
    for name, value in (("a", 0.1), ("b", 0.2)):
        run(tmp_path / name, [row(value=value)], checkpoint={"sha256": name})
    page = make(tmp_path / "out", f"runs={tmp_path}/a", f"runs_b={tmp_path}/b", "paper=apr")["index.html"]
    assert '<section id="changes">' in page
    assert '<section id="published-apr">' in page
    assert len(Page(page).ids) == len(set(Page(page).ids))


def test_ids_of_drawings_do_not_meet() -> None:
    drawing = '<svg><defs><clipPath id="p"/></defs><g clip-path="url(#p)"/><use href="#p"/><text> id="p"</text></svg>'
    sections = [Section(key, key, pictures=[Picture("", drawing, "", Numbers((), ()))]) for key in ("a", "b")]
    made = page(Report("", 0.05, [], Receipts((), {}, {}), [], sections), template())
    for key in ("a", "b"):
        inside = made.split(f'<section id="{key}">')[1].split("</section>")[0]
        assert f'<clipPath id="{key}-picture1-p"/>' in inside
        assert f'<g clip-path="url(#{key}-picture1-p)"/><use href="#{key}-picture1-p"/><text> id="p"</text>' in inside


def test_columns_choose(tmp_path: Path) -> None:
    run(tmp_path / "runs/a", [row(), row("nll", 0.5)])
    page = make(tmp_path / "one", f"runs={tmp_path}/runs", "columns=[clean:nll]")
    assert "clean: nll" in page["tables.md"]
    assert "clean: error" not in page["tables.md"]
    nothing = make(tmp_path / "none", f"runs={tmp_path}/runs", "columns=[ood:auroc]")
    assert "no row fits columns=[ood:auroc]" in nothing["index.html"]
    assert nothing["tables.csv"] == "\n"


def test_the_place_of_the_runs_does_not_matter(tmp_path: Path) -> None:
    run(tmp_path / "here/a", [row()], epochs=None, checkpoint={"sha256": "one"})
    shutil.copytree(tmp_path / "here", tmp_path / "there/deep")
    assert make(tmp_path / "x", f"runs={tmp_path}/here") == make(tmp_path / "y", f"runs={tmp_path}/there/deep")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("runs=nowhere", "there is nothing at nowhere"),
        ("runs=[]", "must be one text or a list of texts"),
        ("columns=[error]", "is no suite:metric"),
        ("alpha=2", "alpha=2: must lie between 0 and 1"),
        ("width=0", "width=0: must be an integer"),
        ("drawn=-1", "drawn=-1: must be an integer"),
        ("paper=nothing", "paper=nothing: no published numbers"),
        ("population=no*", "population: no* fits no run; there are a"),
        ("population=1", "population=1: must be one text or a list of texts"),
        ("runs_b=nowhere", "runs_b: there is nothing at nowhere"),
        ("out={}/runs/a/config.yaml", "out="),
    ],
)
def test_mistakes_write_nothing(tmp_path: Path, override: str, said: str) -> None:
    run(tmp_path / "runs/a", [row()])
    override = override.format(tmp_path)
    overrides = [override] if override.startswith("runs=") else [f"runs={tmp_path}/runs", override]
    with pytest.raises(UserError, match=re.escape(said)):
        make(tmp_path / "out", *overrides)
    assert not (tmp_path / "out").exists()


def test_without_jinja2_one_line_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole: Callable[..., Any] = builtins.__import__

    def without(name: str, *rest: Any, **named: Any) -> Any:
        if name == "jinja2":
            raise ModuleNotFoundError(name)
        return whole(name, *rest, **named)

    run(tmp_path / "runs/a", [row()])
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(UserError, match=r"fr-report needs jinja2: pip install 'fourier-robust\[report\]'"):
        make(tmp_path / "out", f"runs={tmp_path}/runs")

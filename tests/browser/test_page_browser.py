"""The page of ``fr-report`` in a browser: what its script does, by mouse, keyboard and address, wide and on a phone."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from browser.conftest import MARKUP
from support import compose_config

from fourier_robust.reporting import report

pytestmark = pytest.mark.browser
Open = Callable[..., Any]
PHONE = {"viewport": {"width": 400, "height": 800}, "is_mobile": True, "has_touch": True}
# Stands in for the clipboard, which a test machine shares with everything else.
KEEPS = "Object.defineProperty(navigator, 'clipboard', {value: {writeText: async (text) => { window.kept = text; }}});"
REFUSES = "Object.defineProperty(navigator, 'clipboard', {value: undefined});"
# Texts of less contrast with their ground than 4.5 (WCAG 2.2, 1.4.3), from the formula given there.
FAINT = r"""() => {
  const parts = (text) => text.match(/[\d.]+/g).map(Number);
  const linear = (part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
  const light = (color) => [0.2126, 0.7152, 0.0722].reduce((sum, by, at) => sum + by * linear(color[at] / 255), 0);
  function ground(part) {
    const color = parts(getComputedStyle(part).backgroundColor);
    return color[3] === 0 ? ground(part.parentElement) : color;
  }
  function contrast(part) {
    const [more, less] = [parts(getComputedStyle(part).color), ground(part)].map(light).sort((a, b) => b - a);
    return (more + 0.05) / (less + 0.05);
  }
  const own = (part) => [...part.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const texts = [...document.querySelectorAll('body *:not(script, option, svg *)')].filter(own);
  return texts.filter((part) => contrast(part) < 4.5).map((part) => part.outerHTML.slice(0, 80));
}"""
ONE_COLUMN = r"""% \usepackage{booktabs}
% 2 of 3 rows, 4 of 6 columns
% clean: nll: nats. n = 100, fp32. none marked: no predictions of the same images at hand, and only one seed.
\begin{table}
\caption{Trained on cifar10. LEGEND}
\begin{tabular}{lllr}
\toprule
 &  &  & \multicolumn{1}{c}{clean} \\
\cmidrule(lr){4-4}
aug & reg & arch & nll \\
 &  &  & lower is better \\
\midrule
apr\_sp & none & speednet & 0.2500 $\pm$ 0.0000 (2) \\
standard & none & speednet & 0.5000 (1) \\
\bottomrule
\end{tabular}
\end{table}
"""


def augs(page: Any) -> list[str]:
    """First cells of the first table's rows, as seen."""
    return list(page.locator("#table1 tbody tr:visible th").all_inner_texts())


def field(page: Any, name: str) -> Any:
    return page.locator("#view").get_by_label(name, exact=name in ("Method", "Metric"))


def status(page: Any) -> str:
    return str(page.get_by_role("status").inner_text())


def fragment(page: Any) -> str:
    return str(page.evaluate("location.hash"))


def sort(page: Any, column: str) -> Any:
    return page.locator("#table1").get_by_role("button", name=column)


def latex(page: Any, number: int = 1) -> str:
    page.locator(f"#table{number}").get_by_role("button", name="Copy as LaTeX").click()
    page.wait_for_function("window.kept !== undefined")
    return str(page.evaluate("window.kept"))


def overflow(page: Any) -> int:
    """Pixels by which the page is wider than its window."""
    return int(page.evaluate("document.documentElement.scrollWidth - innerWidth"))


def test_filter_by_method(opened: Open) -> None:
    page = opened()
    assert augs(page) == ["standard", MARKUP, "apr_sp"]
    assert status(page) == "5 of 5 rows in 2 of 2 tables of results"
    field(page, "Method").fill("APR none")
    assert augs(page) == ["apr_sp"]
    assert status(page) == "2 of 5 rows in 2 of 2 tables of results"
    assert page.locator("figure tbody tr:not([hidden]) th").all_text_contents() == ["apr_sp"]
    field(page, "Method").fill("standard, onclick")
    assert augs(page) == ["standard", MARKUP]
    field(page, "Method").fill("nothing of that name")
    assert status(page) == "No table of results fits"
    assert page.locator("#table1").is_hidden()
    page.get_by_role("button", name="Show all").click()
    assert augs(page) == ["standard", MARKUP, "apr_sp"]
    assert fragment(page) == ""


def test_filter_by_data_set(opened: Open) -> None:
    page = opened()
    field(page, "Trained on").select_option("shapes")
    titles = page.locator("main > section:visible h2").all_text_contents()
    assert [title for title in titles if "rained on" in title] == ["Trained on shapes: clean"]
    assert page.locator("nav li:visible a[href='#table1']").count() == 0
    assert page.locator("nav li:visible a[href='#table2']").count() == 1


def test_filter_by_suite_and_metric(opened: Open) -> None:
    page = opened()
    groups = page.locator("#table1 thead tr").first.locator("th:visible")
    names = page.locator("#table1 thead a:visible")
    field(page, "Suite").select_option("corruptions")
    assert groups.all_inner_texts() == ["corruptions"]
    assert names.all_text_contents() == ["mean_error cifar10_c_generated common15"]
    assert page.locator("#table2").is_hidden()
    field(page, "Suite").select_option("")
    field(page, "Metric").fill("clean nll")
    assert groups.all_inner_texts() == ["clean"]
    assert names.all_text_contents() == ["nll"]
    assert groups.first.evaluate("cell => cell.colSpan") == 1
    assert page.locator("#table1 tbody td.number:visible").count() == 3


def test_sort_the_best_first_then_the_other_way_then_as_it_was(opened: Open) -> None:
    page = opened()
    header = page.locator("#table1 thead th:has(a[href='#d1-1'])")
    for way, order in (
        ("ascending", ["apr_sp", "standard", MARKUP]),
        ("descending", ["standard", "apr_sp", MARKUP]),  # empty cells last, both ways
        (None, ["standard", MARKUP, "apr_sp"]),
    ):
        sort(page, "clean: nll").click()
        assert augs(page) == order
        assert header.get_attribute("aria-sort") == way
    sort(page, "aug").click()
    assert augs(page) == [MARKUP, "apr_sp", "standard"]
    assert page.locator("#table1 [aria-sort]").count() == 1
    assert status(page).endswith("; sorted by aug, ascending")


def test_numbers_sort_as_numbers_below_pictures(opened: Open) -> None:
    page = opened()
    page.locator("figure summary", has_text="Numbers").first.click()
    table = page.locator("figure table").first
    before = table.locator("tbody th").all_text_contents()
    assert before == ["standard", "apr_sp"]
    table.get_by_role("button", name="method, error (%)").click()
    assert table.locator("tbody th").all_text_contents() == ["apr_sp", "standard"]


@pytest.mark.parametrize(
    ("values", "order"),
    [
        (["9.00", "", "10.00 ± 1.00 (2)", "−1.5"], ["−1.5", "9.00", "10.00 ± 1.00 (2)", ""]),
        (["1,000", "20", "1e-3"], ["1e-3", "20", "1,000"]),
        (["b10", "", "b9", "1"], ["1", "b9", "b10", ""]),
    ],
)
def test_order_of_cells(opened: Open, made: Path, tmp_path: Path, values: list[str], order: list[str]) -> None:
    text = (made / "index.html").read_text()
    rows = "".join(f'<tr><th scope="row">{at}</th><td>{value}</td></tr>' for at, value in enumerate(values))
    table = (
        '<section id="more"><h2>more</h2><div><table><caption>more</caption><thead><tr><th>at</th><th>value</th></tr>'
        f"</thead><tbody>{rows}</tbody></table></div></section>"
    )
    (tmp_path / "index.html").write_text(text.replace("</main>", f"{table}</main>"))
    page = opened(path=tmp_path / "index.html")
    page.locator("#more").get_by_role("button", name="value").click()
    assert page.locator("#more td").all_text_contents() == order


def test_columns_are_chosen(opened: Open) -> None:
    page = opened()
    page.locator("#table1 summary", has_text="Columns").click()
    page.get_by_role("checkbox", name="clean: error").uncheck()
    assert page.locator("#table1 thead a:visible").all_text_contents()[0] == "nll"
    assert fragment(page) == "#view?hide.table1=3"
    page.get_by_role("checkbox", name="clean: nll").uncheck()
    assert page.locator("#table1 thead tr").first.locator("th:visible").all_inner_texts() == ["corruptions"]
    page.get_by_role("checkbox", name="clean: error").check()
    assert page.locator("#table1 thead a:visible").all_text_contents()[0] == "error"


def test_a_copied_table_is_what_is_seen(opened: Open) -> None:
    page = opened(script=KEEPS)
    field(page, "Method").fill("apr, standard")
    field(page, "Metric").fill("nll")
    sort(page, "clean: nll").click()
    legend = page.locator("#legend").inner_text()
    for plain, escaped in (("±", r"$\pm$"), ("†", r"$\dagger$"), ("<", r"\textless{}")):
        legend = legend.replace(plain, escaped)
    assert latex(page) == ONE_COLUMN.replace("LEGEND", legend)
    assert status(page) == "Copied: the table as LaTeX"


@pytest.mark.parametrize("number", [1, 2])
def test_a_whole_copied_table_is_that_of_the_file(opened: Open, made: Path, number: int) -> None:
    inside = re.compile(r"\\toprule\n.*\\bottomrule", re.DOTALL)
    written = inside.findall((made / "tables.tex").read_text().replace(r"\end{tabular}}", ""))
    tables = [text for part in written for text in re.findall(r"\\toprule\n.*?\\bottomrule", part, re.DOTALL)]
    (copied,) = inside.findall(latex(opened(script=KEEPS), number))
    assert copied == tables[number - 1]
    assert (r"\textbf{30.10} $\pm$ 0.14 (2)$^\dagger$" in copied) == (number == 2)


def test_a_refused_clipboard_leaves_the_text_selected(opened: Open) -> None:
    page = opened(script=REFUSES)
    button = page.locator("#table2").get_by_role("button", name="Copy as LaTeX")
    button.click()
    area = page.locator("#table2 textarea")
    area.wait_for()
    chosen = area.evaluate("area => area.value.slice(area.selectionStart, area.selectionEnd)")
    assert chosen.startswith("% \\usepackage{booktabs}")
    assert chosen.endswith("\\end{table}\n")
    assert area.evaluate("area => area === document.activeElement")
    page.keyboard.press("Escape")
    assert area.count() == 0
    assert button.evaluate("button => button === document.activeElement")


def test_a_view_is_restored_from_its_address(opened: Open) -> None:
    first = opened(script=KEEPS)
    field(first, "Method").fill("apr, standard")
    field(first, "Trained on").select_option("cifar10")
    sort(first, "clean: error").click()
    sort(first, "clean: error").click()
    first.locator("#table1 summary", has_text="Columns").click()
    first.get_by_role("checkbox", name="arch").uncheck()
    first.get_by_role("button", name="Copy link").click()
    link = first.evaluate("window.kept")
    assert link == first.url
    second = opened(link.removeprefix(first.url.split("#")[0]))
    assert augs(second) == ["standard", "apr_sp"]
    cells = "[...document.querySelectorAll('#table1 :is(th, td):not([hidden])')].map((cell) => cell.textContent)"
    assert second.evaluate(cells) == first.evaluate(cells)
    assert second.locator("#table2").is_hidden()
    assert field(second, "Method").input_value() == "apr, standard"
    second.locator("#table1 summary", has_text="Columns").click()
    assert not second.get_by_role("checkbox", name="arch").is_checked()


@pytest.mark.parametrize(
    "address",
    [
        "#view?sort.table1=99d&hide.table1=0.77.x&data=nowhere&suite=%3Cb%3E",
        "#view?",
        "#view?sort.table9=1a",
        "#%",
        "#r1",
    ],
)
def test_an_address_that_fits_nothing_shows_all(opened: Open, address: str) -> None:
    assert status(opened(address)) == "5 of 5 rows in 2 of 2 tables of results"


def test_back_and_forth(opened: Open) -> None:
    page = opened()
    field(page, "Method").press_sequentially("apr")
    field(page, "Suite").select_option("clean")
    page.locator("#table1 tbody a:visible").first.click()
    assert fragment(page).startswith("#r")
    assert augs(page) == ["apr_sp"]
    page.go_back()
    assert fragment(page) == "#view?method=apr&suite=clean"
    page.go_back()
    assert (field(page, "Suite").input_value(), augs(page)) == ("", ["apr_sp"])
    page.go_back()  # all letters of a word were one step
    assert (field(page, "Method").input_value(), fragment(page), len(augs(page))) == ("", "", 3)
    page.go_forward()
    assert augs(page) == ["apr_sp"]


def test_a_link_into_a_hidden_part_shows_it(opened: Open) -> None:
    page = opened("#view?data=shapes")
    page.evaluate("location.hash = '#table1'")
    page.locator("#table1").wait_for()
    assert field(page, "Trained on").input_value() == ""


def test_keyboard_alone(opened: Open) -> None:
    page = opened(script=KEEPS)
    active = "document.activeElement.getAttribute('aria-label') ?? document.activeElement.name ?? ''"
    field(page, "Method").focus()
    page.keyboard.type("a")
    seen = []
    for _ in range(12):
        page.keyboard.press("Tab")
        seen.append(page.evaluate(active) or page.evaluate("document.activeElement.textContent.trim()"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", seen
    wanted = ["data", "suite", "metric", "Show all", "Copy link", "Columns of Trained on cifar10",
              "Copy as LaTeX: Trained on cifar10", "Trained on cifar10: clean, corruptions", "aug", "reg", "arch",
              "error"]  # fmt: skip
    assert [text or "" for text in seen] == wanted
    page.keyboard.press("Tab")
    assert page.evaluate(active) == "Sort by clean: error"
    page.keyboard.press("Enter")
    assert page.locator("#table1 [aria-sort=ascending]").count() == 1
    page.keyboard.press("Space")
    assert page.locator("#table1 [aria-sort=descending]").count() == 1
    assert page.evaluate(active) == "Sort by clean: error"
    page.locator("#table1 summary", has_text="Columns").focus()
    page.keyboard.press("Enter")
    page.locator("#table1 fieldset").wait_for()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    assert fragment(page).endswith("hide.table1=1")


def test_markup_in_a_name_stays_text(opened: Open) -> None:
    page = opened("#view?method=onclick&metric=%3Cb%3E", script=KEEPS)
    assert page.locator("[onclick], main b").count() == 0
    field(page, "Metric").fill("")
    assert augs(page) == [MARKUP]
    assert r"\textless{}b onclick='x()'\textgreater{}\&\_\% & none & speednet & 20.00 (1) &  &  \\" in latex(page)


def test_every_control_and_table_has_a_name(opened: Open) -> None:
    page = opened()
    page.locator("#table1 summary", has_text="Columns").click()
    nameless = """[...document.querySelectorAll('table')].filter((table) => !table.caption?.textContent.trim()).length
      + document.querySelectorAll('thead th:not([scope=col], [scope=colgroup]), tbody th:not([scope=row])').length"""
    assert page.evaluate(nameless) == 0
    nodes = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "searchbox", "combobox", "checkbox", "textbox", "table", "DisclosureTriangle"}
    named = [
        (node["role"]["value"], node["name"]["value"]) for node in nodes if node.get("role", {}).get("value") in roles
    ]
    assert {role for role, _ in named} >= {"button", "searchbox", "combobox", "checkbox", "table"}
    assert [role for role, name in named if not name.strip()] == []
    assert page.get_by_role("status").get_attribute("aria-live") in (None, "polite")


def test_nothing_is_wider_than_a_phone(opened: Open, tmp_path: Path) -> None:
    page = opened(**PHONE)
    assert overflow(page) == 0
    page.evaluate("for (const part of document.querySelectorAll('details')) part.open = true")
    page.locator("#table2 fieldset").wait_for()
    page.evaluate("for (const part of document.querySelectorAll('*')) part.style.contentVisibility = 'visible'")
    assert overflow(page) == 0
    wider = "box => box.scrollWidth > box.clientWidth && getComputedStyle(box).overflowX === 'auto'"
    assert page.locator("#table1 .scroll").evaluate(wider)
    page.screenshot(path=tmp_path / "phone.png", full_page=True)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(opened: Open, tmp_path: Path, scheme: str) -> None:
    page = opened("#view?sort.table1=3a", color_scheme=scheme)
    assert page.evaluate(FAINT) == []
    page.screenshot(path=tmp_path / f"{scheme}.png")


def test_without_scripts_the_page_is_whole_and_has_no_dead_controls(opened: Open) -> None:
    page = opened(java_script_enabled=False)
    assert augs(page) == ["standard", MARKUP, "apr_sp"]
    assert page.locator("#view").is_hidden()
    assert page.locator("button:visible, input:visible, select:visible").count() == 0


def test_no_script_but_its_own_runs(opened: Open, made: Path, tmp_path: Path) -> None:
    text = (made / "index.html").read_text()
    (tmp_path / "index.html").write_text(text.replace("<main>", "<main><script>window.foreign = 1</script>"))
    page = opened(path=tmp_path / "index.html", expected=r"Executing inline script violates")
    assert page.evaluate("window.foreign") is None
    assert status(page) == "5 of 5 rows in 2 of 2 tables of results"


@pytest.mark.slow
def test_fifty_runs_open_in_less_than_a_second(browser: Any, tmp_path: Path) -> None:
    """CPU seconds of the main thread until the first picture after the script: a busy machine's clock says little."""
    make = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "bench" / "report.py"))["make"]
    make(tmp_path / "runs", 50, 5)
    report(*compose_config("report", f"runs={tmp_path}/runs", f"out={tmp_path}/out"))
    with browser.new_context() as context:
        page = context.new_page()
        session = context.new_cdp_session(page)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        page.goto((tmp_path / "out" / "index.html").as_uri())
        page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        metrics = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
        assert page.evaluate("performance.getEntriesByName('ready').length") == 1
        assert re.fullmatch(r"(\d+) of \1 rows in (\d+) of \2 tables of results", status(page))
    assert 0 < metrics["ScriptDuration"] < metrics["TaskDuration"] < 1

r"""The tables as LaTeX (``booktabs``, ``graphicx``); definitions under each table."""

from __future__ import annotations

from fourier_robust.report.markdown import Report, flagged, method_head, method_names, notes
from fourier_robust.report.method_table import Cell, Column, direction, shown

SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    **{character: "\\" + character for character in "&%$#_{}"},
}


def latex(report: Report) -> str:
    r"""All tables, to be ``\input``; each fits the width of the line."""
    parts = [r"% \usepackage{booktabs,graphicx}"]
    for table in report.tables:
        head = method_head(table)
        groups: dict[str, int] = {}
        for column in table.columns:
            groups[column.suite] = groups.get(column.suite, 0) + 1
        above = [rf"\multicolumn{{{count}}}{{c}}{{{escape(suite)}}}" for suite, count in groups.items()]
        rules, at = [], len(head) + 1
        for count in groups.values():
            rules.append(rf"\cmidrule(lr){{{at}-{at + count - 1}}}")
            at += count
        parts += [
            r"\begin{table}",
            rf"\caption{{Trained on {escape(table.train_dataset)}. {escape(report.legend)}}}",
            rf"\resizebox{{\linewidth}}{{!}}{{\begin{{tabular}}{{{'l' * len(head)}{'r' * len(table.columns)}}}",
            r"\toprule",
            " & ".join([*[""] * len(head), *above]) + r" \\",
            "".join(rules),
            " & ".join([*head, *(escape(column.name) for column in table.columns)]) + r" \\",
            " & ".join([*[""] * len(head), *(escape(direction(column)) for column in table.columns)]) + r" \\",
            r"\midrule",
        ]
        for method, cells in zip(table.methods, table.cells, strict=True):
            numbers = [_cell(cell, column) for cell, column in zip(cells, table.columns, strict=True)]
            parts.append(" & ".join([*map(escape, method_names(table, method)), *numbers]) + r" \\")
        parts += [r"\bottomrule", r"\end{tabular}}", r"\par\smallskip\footnotesize\raggedright"]
        parts += [rf"\textbf{{{escape(f'{suite}: {name}')}}} {escape(text)}\par" for suite, name, text in notes(table)]
        parts += [r"\end{table}", ""]
    return "\n".join(parts)


def escape(text: str) -> str:
    """`text` with LaTeX's special characters as text."""
    return "".join(SPECIAL.get(character, character) for character in text.replace("\n", " "))


def _cell(cell: Cell | None, column: Column) -> str:
    if cell is None:
        return ""
    mean = shown(cell.mean, column.percent)
    spread = "" if cell.std is None else rf" $\pm$ {shown(cell.std, column.percent)}"
    text = (rf"\textbf{{{mean}}}" if cell.best else mean) + f"{spread} ({len(cell.values)})"
    return text + (r"$^\dagger$" if flagged(cell) else "")

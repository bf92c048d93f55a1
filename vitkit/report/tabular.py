"""Tables as files: CSV to compute with, LaTeX to print."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vitkit.files import replacing
from vitkit.report.cells import Cell
from vitkit.report.scale import SPACE

_SIGNS = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", SPACE: "~", "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{EN DASH}": "--", "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "κ": r"$\kappa$", "Δ": r"$\Delta$",
}  # fmt: skip


def escaped(text: str) -> str:
    r"""Text that LaTeX prints as it is.

    >>> escaped("95 % of a_b")
    '95 \\% of a\\_b'
    """
    return "".join(_SIGNS.get(sign, sign) for sign in text)


def latex(headings: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> str:
    r"""A table for a paper, in the style of the package booktabs; what stands in small print follows in brackets.

    Numbers stand to the right. The file is one ``table`` environment, to be ``\input``.
    """
    if not rows:
        return f"% {caption}: nothing was measured\n"
    numbers = [any(row[index].value is not None for row in rows) for index in range(len(headings))]
    lines = [
        r"% needs \usepackage{booktabs}", r"\begin{table}", r"\centering", rf"\caption{{{escaped(caption)}}}",
        rf"\begin{{tabular}}{{{''.join('r' if number else 'l' for number in numbers)}}}", r"\toprule",
        " & ".join(map(escaped, headings)) + r" \\", r"\midrule",
    ]  # fmt: skip
    for row in rows:
        cells = (escaped(cell.text) + (rf" {{\scriptsize [{escaped(cell.small)}]}}" if cell.small else "") for cell in row)
        lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def write_tables(folder: Path, name: str, headings: Sequence[str], rows: Sequence[Sequence[Cell]], caption: str) -> None:
    """Write ``NAME.tex`` and ``NAME.csv``; in the latter what stands in small print has a column of its own."""
    with replacing(folder / f"{name}.tex") as path:
        path.write_text(latex(headings, rows, caption), encoding="utf-8")
    double = [any(row[index].small for row in rows) for index in range(len(headings))]
    with replacing(folder / f"{name}.csv") as path, path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(
            [text for h, two in zip(headings, double, strict=True) for text in ([h, f"{h}: small print"] if two else [h])]
        )
        for row in rows:
            cells = zip(row, double, strict=True)
            writer.writerow([_plain(t) for cell, two in cells for t in ([cell.text, cell.small] if two else [cell.text])])


def _plain(text: str) -> str:
    return text.replace(SPACE, " ").replace("\N{MINUS SIGN}", "-")

"""The page, tables and figures of a comparison of runs."""

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from vitkit.evaluation.comparison import Difference, Run, RunComparison
from vitkit.evaluation.results import Interval, Results
from vitkit.files import replacing
from vitkit.report.cells import Cell
from vitkit.report.figures import drawing
from vitkit.report.overlay import describe_runs, draw_runs
from vitkit.report.page import environment
from vitkit.report.save import save_figure
from vitkit.report.scale import SPACE, decimal, minus
from vitkit.report.svg import inline_svg
from vitkit.report.tabular import write_tables
from vitkit.report.track import Track, titles, tracks
from vitkit.report.words import LEVEL, points, samples

SIGNIFICANT = 0.05


def write_comparison(comparison: RunComparison, results: Sequence[Results], out: Path | str) -> Path:
    """Write ``comparison.json`` and ``.csv``, ``tables/``, ``figures/*.png`` and ``.pdf``, and ``comparison.html``.

    Args:
        comparison: What :func:`vitkit.evaluation.compare` found.
        results: Of its runs, in their order.
        out: Folder, which may hold other things.

    Returns:
        The path of the page: one file, which needs nothing else.
    """
    out = Path(out)
    comparison.save(out)
    labels = [run.label for run in comparison.runs]
    baseline = labels.index(comparison.baseline)
    sections = []
    with drawing():
        for index, (key, shared) in enumerate(_shared(results, comparison).items()):
            points = [[d for d in _points(comparison, label) if (d.suite, d.condition) == key] for label in labels]
            title = shared[baseline].title
            figure = draw_runs(labels, shared, baseline, points)
            description = describe_runs(labels, shared)
            svg = inline_svg(figure, f"figure-{index}", f"{title}: accuracy over severity", description)
            save_figure(figure, out / "figures", ".".join(key), title)
            sections.append({"title": title, "suite": key[0], "figure": svg, "sentences": _sentences(comparison, key)})
    areas, every, clean = _area_table(comparison, results), _point_table(comparison, results), _clean_row(comparison)
    write_tables(out / "tables", "areas", *areas, f"Area under accuracy over severity, and differences to {comparison.baseline}")
    write_tables(out / "tables", "severities", *every, f"Accuracy at every severity, and differences to {comparison.baseline}")
    page = environment().get_template("comparison.html").render(
        comparison=comparison,
        samples=samples(results[baseline]),
        data=f"{comparison.data.name} {comparison.data.split}".strip(),
        answers=[(run.label, _answer(comparison, run), clean[run.label]) for run in comparison.others],
        sections=sections,
        areas=areas,
        every=every,
        matrices=_matrices(comparison),
        level=SIGNIFICANT,
    )  # fmt: skip
    with replacing(out / "comparison.html") as path:
        path.write_text(page, encoding="utf-8")
    return out / "comparison.html"


def comparison_table(comparison: RunComparison, results: Sequence[Results]) -> Table:
    """One row for each curve: the baseline's area, and what the others have more, with intervals; a star where p < .05."""
    headings, rows = _area_table(comparison, results)
    caption = f"{comparison.data.n:,} samples; differences in points, 95 % intervals; * p < {SIGNIFICANT} after Holm's correction"
    title = Text(f"Area under the curve, against {comparison.baseline}")
    shown = Table(title=title, caption=Text(caption, justify="left"), caption_justify="left", box=box.SIMPLE_HEAD)
    kept = [index for index, heading in enumerate(headings) if not heading.endswith("p (Holm)")]
    for index in kept:
        shown.add_column(Text(headings[index]))
    for row in rows:
        shown.add_row(*(Text(row[i].text + (f" [{row[i].small}]" if row[i].small and i else "")) for i in kept))
    return shown


def _shared(results: Sequence[Results], comparison: RunComparison) -> dict[tuple[str, str], list[Track]]:
    """The curves that every run has, by suite and condition."""
    compared = {(d.suite, d.condition) for d in comparison.differences if d.metric == "auc"}
    found: dict[tuple[str, str], list[Track]] = {}
    for result in results:
        for track in tracks(result):
            found.setdefault((track.curve.suite, track.curve.condition), []).append(track)
    return {key: shared for key, shared in found.items() if key in compared and len(shared) == len(results)}


def _points(comparison: RunComparison, label: str) -> list[Difference]:
    return [d for d in comparison.differences if d.run == label and d.family == "points"]


def _areas(comparison: RunComparison, label: str) -> dict[tuple[str, str], Difference]:
    return {(d.suite, d.condition): d for d in comparison.differences if d.run == label and d.family == "areas"}


def _answer(comparison: RunComparison, run: Run) -> str:
    found = [d for key, d in _areas(comparison, run.label).items() if key[0] != "clean"]
    if not found:
        return "No curve could be compared."
    sure = [d for d in found if d.p_holm < SIGNIFICANT]
    above = sum((d.difference.value or 0.0) > 0 for d in sure)
    if not sure:
        return f"Over severity it cannot be told apart from {comparison.baseline} in any of {len(found)} curves."
    words = [f"Over severity it is better than {comparison.baseline} in {above} of {len(found)} curves"]
    words.append(f"worse in {len(sure) - above}")
    return ", ".join(words) + f", and cannot be told apart in {len(found) - len(sure)}."


def _clean_row(comparison: RunComparison) -> dict[str, str]:
    return {
        run.label: _sentence(_areas(comparison, run.label)["clean", "clean"], "On the untouched images")
        for run in comparison.others
    }


def _sentences(comparison: RunComparison, key: tuple[str, str]) -> list[str]:
    return [
        f"{run.label}: " + _sentence(_areas(comparison, run.label)[key], "on average over the tested range", False)
        for run in comparison.others
    ]


def _sentence(found: Difference, opening: str, capital: bool = True) -> str:
    value = found.difference.value or 0.0
    if not any((value, found.difference.ci_low, found.difference.ci_high)):
        return f"{opening}{'' if capital else ','} accuracy is the same, in every resample."
    way = "higher" if value >= 0 else "lower"
    ends = f"{points(found.difference.ci_low or 0.0)} to {points(found.difference.ci_high or 0.0)}{SPACE}points"
    comma = "" if capital else ","
    return (
        f"{opening}{comma} accuracy is {decimal(abs(value))}{SPACE}points {way} ({LEVEL} interval {ends}; "
        f"{_p(found.p_holm, 'adjusted p')})."
    )


def _p(value: float, name: str = "") -> str:
    text = "<" if value < 0.001 else "="
    shown = "0.001" if value < 0.001 else f"{value:.3f}"
    return f"{name}{SPACE}{text}{SPACE}{shown}" if name else ("<" if value < 0.001 else "") + shown


def _signed(interval: Interval, star: bool) -> Cell:
    value, low, high = interval.value or 0.0, interval.ci_low or 0.0, interval.ci_high or 0.0
    return Cell(points(value) + ("*" if star else ""), f"{points(low)} to {points(high)}", value)


def _area_table(comparison: RunComparison, results: Sequence[Results]) -> tuple[list[str], list[list[Cell]]]:
    headings = ["Condition", f"{comparison.baseline} (%)"]
    for run in comparison.others:
        headings += [f"{run.label} (points)", f"{run.label}: p (Holm)"]
    named = titles(results[0])
    found = {run.label: _areas(comparison, run.label) for run in comparison.others}
    rows = []
    for key, first in next(iter(found.values())).items():
        row = [Cell(named[key], key[0]), Cell(decimal(first.baseline), "", first.baseline)]
        for run in comparison.others:
            difference = found[run.label][key]
            row += [
                _signed(difference.difference, difference.p_holm < SIGNIFICANT),
                Cell(_p(difference.p_holm), "", difference.p_holm),
            ]
        rows.append(row)
    return headings, rows


def _point_table(comparison: RunComparison, results: Sequence[Results]) -> tuple[list[str], list[list[Cell]]]:
    headings = [
        "Condition",
        "Severity",
        "Run",
        "Baseline (%)",
        "Run (%)",
        "Difference (points)",
        "All at once (points)",
        "p",
        "p (Holm)",
    ]
    named, units = titles(results[0]), {(c.suite, c.condition): c.unit for c in results[0].conditions}
    rows = []
    for d in (d for d in comparison.differences if d.family == "points"):
        key = d.suite, d.condition
        rows.append(
            [
                Cell(named[key], d.suite),
                Cell(minus(f"{d.severity:g}"), units[key], d.severity),
                Cell(d.run),
                Cell(decimal(d.baseline), "", d.baseline),
                Cell(decimal(d.value), "", d.value),
                _signed(d.difference, d.p_holm < SIGNIFICANT),
                Cell(f"{points(d.simultaneous.ci_low or 0.0)} to {points(d.simultaneous.ci_high or 0.0)}"),
                Cell(_p(d.p), "", d.p),
                Cell(_p(d.p_holm), "", d.p_holm),
            ]
        )
    return headings, rows


def _matrices(comparison: RunComparison) -> list[dict[str, Any]]:
    """Error consistency on the clean images, and its mean over all that was done to them."""
    labels = [run.label for run in comparison.runs]
    found: dict[tuple[str, str, bool], list[Interval]] = {}
    for each in comparison.consistency:
        clean = each.condition == "clean/0"
        for pair in ((each.first, each.second), (each.second, each.first)):
            found.setdefault((*pair, clean), []).append(each.kappa)
    matrices = []
    for clean, title in ((True, "On the untouched images"), (False, "Mean over every condition and severity")):
        rows = [[Cell(label)] for label in labels]
        for row, column in product(range(len(labels)), repeat=2):
            kappas = [kappa for kappa in found.get((labels[row], labels[column], clean), []) if kappa.value is not None]
            rows[row].append(Cell("1" if row == column else "–") if row == column or not kappas else _kappa(kappas))
        if any(key[2] is clean for key in found):
            matrices.append({"title": title, "headings": ["κ", *labels], "rows": rows})
    return matrices


def _kappa(kappas: Sequence[Interval]) -> Cell:
    mean = sum(kappa.value or 0.0 for kappa in kappas) / len(kappas)
    low, high = kappas[0].ci_low, kappas[0].ci_high
    small = f"{low:.2f} to {high:.2f}" if len(kappas) == 1 and low is not None and high is not None else ""
    return Cell(minus(f"{mean:.2f}"), minus(small), mean)
